"""A given teacher, from a weights file or an earlier run, is not trained but evaluated and copied into the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nfkd
from nfkd.cli import main
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.flows.architectures import build_flow
from nfkd.planning.describe import describe
from nfkd.protocol import events
from nfkd.protocol.requests import Description
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.runs.weights import flow_meta, save_weights
from nfkd.training.api import prepare
from tests.core.tiny import moons
from tests.core.training.runs import TrainedRun, stop_run


@pytest.fixture
def earlier(trained: Callable[[ExperimentConfig], TrainedRun]) -> Path:
    """A run that trained its teacher."""
    return trained(moons()).record.path


@pytest.fixture
def weights(earlier: Path) -> str:
    return str(earlier / "teacher.safetensors")


def using(weights: str, **changes: Any) -> ExperimentConfig:
    training = changes.pop("training", {})
    return moons(training={"teacher_weights": weights} | training, **changes)


def test_the_student_of_a_given_teacher_is_that_of_the_earlier_run(earlier: Path, weights: str, tmp_path: Path) -> None:
    seen: list[events.RunEvent] = []
    record = nfkd.run(using(weights), tmp_path / "run", on_event=seen.append)
    before = open_run(earlier)
    for name in ("teacher", "student", "baseline"):
        found, expected = (load_file(run / f"{name}.safetensors") for run in (record.path, earlier))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
    summaries = {summary.stage: summary for summary in record.summary}
    original = {summary.stage: summary for summary in before.summary}
    assert (summaries["teacher"].steps, summaries["teacher"].best_step) == (0, 0)
    for name in ("parameters", "multiply_adds", "validation", "test", "c2st"):
        assert getattr(summaries["teacher"], name) == getattr(original["teacher"], name)
    assert all(not len(curve.steps) for curve in record.curves["teacher"].values())
    np.testing.assert_array_equal(record.samples["teacher"], before.samples["teacher"])
    drawn = [event for event in seen if isinstance(event, events.SamplesDrawn) and event.stage == "teacher"]
    assert [event.step for event in drawn] == [0]
    fractions = [event.fraction for event in seen if isinstance(event, events.Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert record.load_teacher().scaled.initialized


def test_all_seeds_share_the_given_teacher(weights: str, tmp_path: Path) -> None:
    config = using(weights, seeds={"count": 3, "first": 4}, training={"student_steps": 5})
    record = nfkd.run(config, tmp_path / "group")
    assert [summary.seed for summary in record.summary if summary.stage == "teacher"] == [4]
    assert record.verdict is not None
    assert record.verdict.seeds == [4, 5, 6]
    assert "one teacher for all seeds" in record.verdict.summary
    state = record.load_teacher(6).scaled.state_dict()
    assert torch.equal(state["layers.0.mixing.lower"], load_file(weights)["layers.0.mixing.lower"])


def test_a_stopped_run_is_resumed_without_the_file(weights: str, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(Path(weights).read_bytes())
    config = using(str(own))
    stop_run(tmp_path / "stopped", config, "student", 3)
    whole = nfkd.run(config, tmp_path / "whole")
    own.unlink()
    record = nfkd.run(config, tmp_path / "stopped", resume=True)
    assert [summary.stage for summary in record.summary] == ["teacher", "student", "baseline"]
    np.testing.assert_array_equal(record.samples["teacher"], whole.samples["teacher"])
    np.testing.assert_array_equal(
        record.curves["student"]["train/total"].values, whole.curves["student"]["train/total"].values
    )
    with pytest.raises(ConfigError, match="teacher_weights"):
        nfkd.run(config, tmp_path / "new")


def test_the_command_line_accepts_and_shows_a_given_teacher(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moons(training={"student_steps": 4, "baseline": False}).save(tmp_path / "experiment.toml")
    (tmp_path / "mine.safetensors").write_bytes(Path(weights).read_bytes())
    monkeypatch.chdir(tmp_path)
    option = "training.teacher_weights=mine.safetensors"
    assert main(["run", "experiment.toml", "--out", "run", "--set", option]) == 0
    assert open_run(tmp_path / "run").config.training.teacher_weights == str(tmp_path / "mine.safetensors")
    capsys.readouterr()
    assert main(["show", "run"]) == 0
    teacher = next(summary for summary in open_run(tmp_path / "run").summary if summary.stage == "teacher")
    assert f"{teacher.test:.4f}" in capsys.readouterr().out


def test_relative_paths_in_a_file_start_at_its_folder_and_others_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    text = moons().to_toml().replace('teacher_weights = ""', 'teacher_weights = "mine.safetensors"')
    (tmp_path / "there" / "experiment.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    loaded = ExperimentConfig.load("there/experiment.toml")
    assert loaded.training.teacher_weights == str(tmp_path / "there" / "mine.safetensors")
    typed = ExperimentConfig.load("there/experiment.toml", ["training.teacher_weights=mine.safetensors"])
    assert typed.training.teacher_weights == str(tmp_path / "mine.safetensors")
    assert moons(training={"teacher_weights": "mine.safetensors"}).training.teacher_weights == str(
        tmp_path / "mine.safetensors"
    )


def test_a_given_teacher_needs_no_memory_for_training(weights: str) -> None:
    sizes = [describe(config).teacher for config in (moons(), using(weights))]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[1].parameters == sizes[0].parameters
    assert sizes[1].memory == 4 * sizes[1].parameters < sizes[0].memory


def test_an_earlier_run_gives_the_teacher_of_its_first_seed(earlier: Path, tmp_path: Path) -> None:
    record = nfkd.run(using(str(earlier)), tmp_path / "run")
    assert record.config.training.teacher_weights == str(earlier)
    found, expected = (load_file(run / "teacher.safetensors") for run in (record.path, earlier))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    group = nfkd.run(
        moons(seeds={"count": 2, "first": 7, "retrain_teacher": True}, training={"student_steps": 4}),
        tmp_path / "group",
    )
    taken = nfkd.run(using(str(group.path), training={"student_steps": 4}), tmp_path / "taken")
    first, second = (load_file(group.path / f"seed-{seed}" / "teacher.safetensors") for seed in (7, 8))
    own = load_file(taken.path / "teacher.safetensors")
    name = "layers.0.mixing.lower"
    assert torch.equal(own[name], first[name])
    assert not torch.equal(own[name], second[name])


OTHER_SETTINGS = (
    "the teacher was trained with other settings of the data: {}; its training examples may be among this experiment's "
    "test examples"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"kind": "circles"}, ["the teacher was trained on other data (two_moons, not circles)"]),
        ({"validation_fraction": 0.3, "split_seed": 4}, [OTHER_SETTINGS.format("validation_fraction, split_seed")]),
        ({}, []),
    ],
)
def test_a_teacher_trained_on_other_data_gives_a_warning(
    data: dict[str, Any], expected: list[str], weights: str, earlier: Path, tmp_path: Path
) -> None:
    for source in (weights, str(earlier)):
        description = describe(using(source, data=data))
        assert [
            problem.message for problem in description.warnings if problem.path == "training.teacher_weights"
        ] == expected
        assert not description.problems
    few = {"student_steps": 2, "baseline": False}
    record = nfkd.run(using(weights, data=data, training=few), tmp_path / "run")
    logged = [line.text for line in record.snapshot().log if line.level == "warning"]
    assert [line for line in logged if "the teacher was" in line] == [
        f"training.teacher_weights: {message}" for message in expected
    ]


@pytest.mark.parametrize("experiment", [None, "", "steps = 2"])
def test_a_file_without_an_experiment_gives_no_warning(experiment: str | None, weights: str, tmp_path: Path) -> None:
    with safe_open(weights, framework="pt") as file:
        meta = file.metadata()
    del meta["config"]
    path = tmp_path / "mine.safetensors"
    save_file(load_file(weights), path, meta if experiment is None else meta | {"config": experiment})
    description = describe(using(str(path), data={"kind": "circles"}))
    assert not description.problems
    assert not [problem for problem in description.warnings if problem.path == "training.teacher_weights"]


# --- refused ----------------------------------------------------------------------------------------------------------


def problems(description: Description) -> dict[str, str]:
    return {problem.path: problem.message for problem in description.problems}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"teacher": {"steps": 4}}, ["its steps is 3, not 4; set teacher.steps = 3"]),
        (
            {"teacher": {"hidden": 9, "depth": 1}},
            ["its hidden is 8, not 9", "its depth is 2, not 1; set teacher.hidden = 8, teacher.depth = 2"],
        ),
        ({"teacher": {"kind": "maf", "steps": 2}}, ['its kind is glow1d, not maf; set teacher.kind = "glow1d"']),
    ],
)
def test_another_flow_is_refused_with_its_differences(
    changes: dict[str, Any], parts: list[str], weights: str, tmp_path: Path
) -> None:
    config = using(weights, **changes)
    message = problems(describe(config))["training.teacher_weights"]
    assert all(part in message for part in parts)
    with pytest.raises(ConfigError, match="teacher_weights"):
        nfkd.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def written(path: Path, shape: tuple[int, ...], features: int) -> str:
    config = moons().teacher
    flow = build_flow(config, shape, context_features=features)
    save_weights(path, flow.state_dict(), "", flow_meta(config, flow))
    return str(path)


def test_another_shape_or_context_is_refused(tmp_path: Path) -> None:
    message = problems(describe(using(written(tmp_path / "a.safetensors", (5,), 0))))["training.teacher_weights"]
    assert "for examples of 5, and the data has 2" in message
    message = problems(describe(using(written(tmp_path / "b.safetensors", (2,), 3))))["training.teacher_weights"]
    assert "a context of 3 features, and the data has 0" in message


def test_missing_damaged_and_foreign_files_are_refused(weights: str, tmp_path: Path) -> None:
    content = Path(weights).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    del header["__metadata__"]
    bare = json.dumps(header).encode()
    cases: dict[str, bytes | None] = {
        "missing": None,
        "cut off": content[:-4],
        "torn": content[: size // 2],
        "no weights": b"levels = 2",
        "of another program": len(bare).to_bytes(8, "little") + bare + content[8 + size :],
    }
    for name, data in cases.items():
        path = tmp_path / f"{name}.safetensors"
        if data is not None:
            path.write_bytes(data)
        message = problems(describe(using(str(path))))["training.teacher_weights"]
        assert str(path) in message, name
    assert "training.teacher_weights" in problems(describe(using(str(tmp_path))))
    missing = tmp_path / "missing.safetensors"
    assert problems(describe(using(str(missing)))) == {"training.teacher_weights": f"{missing}: there is no such file."}


def test_a_teacher_for_each_seed_cannot_be_given(weights: str) -> None:
    assert "seeds.retrain_teacher" in problems(describe(using(weights, seeds={"count": 3, "retrain_teacher": True})))


def changed_file(weights: str, path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Write the weights with some tensors changed and the same metadata."""
    tensors = load_file(weights)
    with safe_open(weights, framework="pt") as file:
        meta = file.metadata()
    change(tensors)
    save_file(tensors, path, meta)
    return str(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensors: tensors.pop("layers.1.mixing.upper"), "lacks layers.1.mixing.upper."),
        (
            lambda tensors: [tensors.pop(f"layers.{layer}.mixing.upper") for layer in (0, 1, 2)],
            "lacks layers.0.mixing.upper and 2 more.",
        ),
        (lambda tensors: tensors.update({"layers.9.bias": torch.zeros(2)}), "has the unknown layers.9.bias."),
        (
            lambda tensors: tensors.update({"layers.1.mixing.upper": torch.zeros(())}),
            "has layers.1.mixing.upper in another shape: one number, not 2×2.",
        ),
        (
            lambda tensors: tensors.update({"layers.1.mixing.upper": torch.zeros(3, 3)}),
            "has layers.1.mixing.upper in another shape: 3×3, not 2×2.",
        ),
    ],
)
def test_missing_extra_and_misshapen_tensors_are_named(
    change: Callable[[dict[str, Any]], object], expected: str, weights: str, tmp_path: Path
) -> None:
    path = changed_file(weights, tmp_path / "changed.safetensors", change)
    config = using(path)
    message = problems(describe(config))["training.teacher_weights"]
    assert expected in message
    assert path in message
    with pytest.raises(ConfigError, match="teacher_weights"):
        nfkd.run(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_features", "-3"),
        ("context_features", "9" * 30),
        ("event_shape", "[0]"),
        ("event_shape", "[-2]"),
        ("event_shape", "[]"),
        ("event_shape", "2"),
        ("event_shape", "[Infinity]"),
        ("event_shape", f"[{10**15}]"),
        ("event_shape", "[2, 2, 2, 2]"),
        ("event_shape", "[" * 100_000),
        ("flow", "{}"),
    ],
)
def test_invalid_sizes_are_refused_with_one_message(name: str, value: str, weights: str, tmp_path: Path) -> None:
    with safe_open(weights, framework="pt") as file:
        meta = file.metadata()
    path = tmp_path / "tampered.safetensors"
    save_file(load_file(weights), path, meta | {name: value})
    message = problems(describe(using(str(path))))["training.teacher_weights"]
    assert message == f"{path} does not describe its flow. Use a file that NFKD has written."


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(value: float, earlier: Path, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        for name in ("layers.2.mixing.upper", "layers.1.mixing.upper"):
            tensors[name] = tensors[name].double()
            tensors[name][0, 1] = value

    run = tmp_path / "earlier"
    shutil.copytree(earlier, run)
    path = changed_file(str(earlier / "teacher.safetensors"), run / "teacher.safetensors", spoil)
    for weights in (path, str(run)):
        with pytest.raises(ConfigError) as error:
            nfkd.run(using(weights), tmp_path / "run")
        (problem,) = error.value.problems
        assert problem.path == "training.teacher_weights"
        assert problem.message.startswith(f"{path} has numbers in layers.1.mixing.upper that are not finite")
        assert not (tmp_path / "run").exists()


def test_a_run_whose_teacher_was_stopped_is_refused_until_it_is_resumed(tmp_path: Path) -> None:
    config = moons(seeds={"count": 2, "first": 3}, training={"student_steps": 4})
    run = tmp_path / "a run"
    stop_run(run, config, "teacher", 2)
    own = run / "seed-3" / "teacher.safetensors"
    message = problems(describe(using(str(run))))["training.teacher_weights"]
    assert message == (
        f"The run {run} has a teacher whose training has not ended. Resume that run (nfkd run "
        f"'{run}/experiment.toml' --out '{run}' --resume), or choose its file {own} to use its weights as they are."
    )
    with pytest.raises(ConfigError, match="training has not ended"):
        nfkd.run(using(str(run)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not describe(using(str(own))).problems
    nfkd.run(config, run, resume=True)
    assert not describe(using(str(run))).problems


def test_a_run_whose_teacher_diverged_is_refused(tmp_path: Path) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    config = moons(training=wild | {"teacher_steps": 2000}, teacher={"steps": 12, "hidden": 64})
    with pytest.raises(RunError, match="The teacher diverged"):
        nfkd.run(config, tmp_path / "diverged")
    assert (tmp_path / "diverged" / "teacher.safetensors").exists()
    message = problems(describe(using(str(tmp_path / "diverged"))))["training.teacher_weights"]
    assert "has a teacher whose training has not ended" in message


def test_a_run_stopped_after_its_teacher_can_give_it(weights: str, tmp_path: Path) -> None:
    config = using(weights, training={"student_steps": 30})
    for name, experiment in (("trained", moons()), ("given", config)):
        stop_run(tmp_path / name, experiment, "student", 2)
        assert not describe(using(str(tmp_path / name))).problems


def test_a_run_without_its_teacher_must_be_resumed(earlier: Path, tmp_path: Path) -> None:
    run = tmp_path / "earlier"
    shutil.copytree(earlier, run)
    (run / "teacher.safetensors").unlink()
    message = problems(describe(using(str(run))))["training.teacher_weights"]
    assert message.startswith(f"The run {run} has no teacher yet. Resume that run (nfkd run ")


def test_folders_without_a_run_or_a_teacher_are_refused(earlier: Path, tmp_path: Path) -> None:
    message = problems(describe(using(str(tmp_path))))["training.teacher_weights"]
    assert (
        message
        == f"The directory {tmp_path} is not a run. Choose the directory of a run or a .safetensors file of NFKD."
    )
    bare = prepare(moons(), tmp_path / "bare")
    assert f"{bare} has no teacher yet. Wait until" in problems(describe(using(str(bare))))["training.teacher_weights"]
    odd = tmp_path / "odd"
    shutil.copytree(earlier, odd)
    (odd / "experiment.toml").write_text("steps = 2")
    message = problems(describe(using(str(odd))))["training.teacher_weights"]
    assert str(odd / "experiment.toml") in message
    assert "steps: there is no such field here" in message
    other = problems(describe(using(str(earlier), teacher={"steps": 5})))["training.teacher_weights"]
    assert "its steps is 3, not 5" in other
