"""Runs with assistants: who learns from whom, and what the run records."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.engine.explore import Explorer
from nfkd.flows.architectures import build_flow
from nfkd.protocol import events
from nfkd.protocol.inspection import Origin, ReadLayers
from nfkd.protocol.requests import Sample
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.export import export_csv
from nfkd.runs.figures import export_figures
from nfkd.runs.reader import RunRecord, open_run
from nfkd.training.generators import named_generator
from tests.core.runs.written import opened
from tests.core.tiny import digits, moons
from tests.core.training.runs import TrainedRun, only

FIRST, SECOND = {"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}
Trained = Callable[[ExperimentConfig], TrainedRun]
STAGES: list[Role] = ["teacher", "assistant-1", "assistant-2", "student", "baseline"]


def with_assistants(*assistants: dict[str, Any], **changes: Any) -> ExperimentConfig:
    """Return two moons with assistants, by default two."""
    steps = {"assistant_steps": 15} | changes.pop("training", {})
    return moons(assistants=assistants or (FIRST, SECOND), training=steps, **changes)


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(trained: Trained) -> RunRecord:
    return trained(with_assistants()).record


def test_each_flow_has_a_stage_with_its_steps_and_weights(run: RunRecord) -> None:
    assert [(summary.stage, summary.steps) for summary in run.summary] == list(
        zip(STAGES, (30, 15, 15, 20, 20), strict=True)
    )
    assert run.row.teacher == "Glow-1D 3 → Glow-1D 3 → Glow-1D 2"
    for number, config in enumerate(run.config.assistants, start=1):
        flow = run.load_assistant(number).scaled
        fresh = build_flow(config, (2,))
        assert flow.state_dict().keys() == fresh.state_dict().keys()
        assert flow.initialized
        [result] = [summary for summary in run.summary if summary.stage == f"assistant-{number}"]
        assert result.parameters == sum(parameter.numel() for parameter in fresh.parameters())
        assert math.isfinite(result.test)
    for number in (0, 3):
        with pytest.raises(RunError, match="There is no such assistant"):
            run.load_assistant(number)


def test_the_file_has_what_each_stage_records(run: RunRecord) -> None:
    view = RunView.from_snapshot(run.snapshot())
    assert view.roles() == STAGES
    with opened(run.path / "run.h5") as file:
        assert file.attrs["format"] == 2
        for stage in STAGES:
            learns = stage not in {"teacher", "baseline"}
            assert ("train/lkd" in file[f"{stage}/curves"]) == learns
            assert ("matching" in file[stage]) == learns
            assert bool(view.pairs(1, stage)) == learns
    summaries = [view.pairs(1, stage)[0].summary for stage in ("assistant-1", "assistant-2", "student")]
    assert summaries == [
        "assistant 1 step 1 ↔ teacher step 1",
        "assistant 2 step 1 ↔ assistant 1 step 2",
        "student step 1 ↔ assistant 2 step 1",
    ]
    measured: dict[Role, list[int]] = {"assistant-1": [1, 10, 15], "student": [1, 10, 20]}
    for stage, steps in measured.items():
        assert run.matching_of(stage).steps.tolist() == steps
        assert np.isfinite(run.matching_of(stage).values).all()
    assert run.matching_of("assistant-1").values.shape[1] == 3
    np.testing.assert_array_equal(run.matching.values, run.matching_of("student").values)
    assert run.samples.keys() == set(STAGES)
    assert {f"share/{name}" for name in ("nll", "lkd", "ilkd", "skd")} <= run.curves["assistant-2"].keys()


def test_progress_goes_from_zero_to_one(trained: Trained) -> None:
    seen = trained(with_assistants()).events
    fractions = [event.fraction for event in seen if isinstance(event, events.Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    measured = [event.stage for event in seen if isinstance(event, events.MatchingMeasured)]
    assert list(dict.fromkeys(measured)) == ["assistant-1", "assistant-2", "student"]


def test_commands_show_export_and_inspect_the_assistants(run: RunRecord, tmp_path: Path, capsys: Any) -> None:
    assert main(["show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert all(role in shown for role in ("assistant 1", "assistant 2", "student"))
    assert {path.stem for path in export_figures(run, tmp_path / "figures")} == {
        "curves", "samples", "interpolation", "matching", "matching-assistant-1", "matching-assistant-2",
    }  # fmt: skip
    files = {path.name for path in export_csv(run, tmp_path / "csv")}
    assert {f"seed-1-{stage}-curves.csv" for stage in STAGES} <= files
    with (tmp_path / "csv" / "seed-1-assistant-2-matching.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["student layer"], row["teacher layer"]) for row in rows} == {("step1", "step2"), ("step2", "step3")}
    assert main(["inspect", str(run.path)]) == 0
    inspected = capsys.readouterr().out
    assert all(f"{role}: Glow-1D" in inspected for role in ("teacher", "assistant 1", "assistant 2", "student"))


def test_an_experiment_is_inspected_with_its_assistants(tmp_path: Path, capsys: Any) -> None:
    with_assistants().save(tmp_path / "experiment.toml")
    assert main(["inspect", str(tmp_path / "experiment.toml")]) == 0
    assert "assistant 2: Glow-1D 2" in capsys.readouterr().out


def test_every_flow_can_be_sampled_and_traced(run: RunRecord) -> None:
    explorer = Explorer()
    assert list(explorer.answer(Sample(str(run.path), 1, 4, 1.0)).samples) == STAGES
    traced = explorer.answer(ReadLayers(run=str(run.path), seed=1, origin=Origin("validation", 0))).flows["assistant-1"]
    assert len([layer for layer in traced.layers if layer.name.startswith("step")]) == 3


# --- which flow learns from which -------------------------------------------------------------------------------------


def test_the_first_lkd_of_each_flow_is_to_the_flow_before_it(tmp_path: Path) -> None:
    steps = {"teacher_steps": 4, "assistant_steps": 1, "student_steps": 1, "batch_size": 280, "baseline": False}
    config = with_assistants(distillation=only("lkd"), training=steps)  # one batch has all examples, in any order
    record = nfkd.run(config, tmp_path / "run")
    flows = [record.load_teacher().scaled, *(record.load_assistant(number).scaled for number in (1, 2))]
    x = torch.from_numpy(np.array(load_dataset(config.data).train.values[:]))
    for stage, learns, teacher in zip(STAGES[1:4], (*config.assistants, config.student), flows, strict=True):
        learner = build_flow(learns, (2,), generator=named_generator(1, stage, "initialisation"))
        learner.initialize(x)
        with torch.no_grad():
            expected = (learner.encode(x).flat() - teacher.encode(x).flat()).square().mean().item()
        assert record.curves[stage]["train/lkd"].values[0] == pytest.approx(expected, rel=1e-4)


def test_teacher_and_baseline_are_the_same_without_assistants(run: RunRecord, trained: Trained) -> None:
    plain = trained(moons()).record
    for role in ("teacher", "baseline"):
        found, expected = (load_file(record.path / f"{role}.safetensors") for record in (run, plain))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    assert run.curves["student"]["train/lkd"].values[0] != plain.curves["student"]["train/lkd"].values[0]
    with opened(plain.path / "run.h5") as file:
        assert file.attrs["format"] == 1  # as before there were assistants
        assert set(file) == {"teacher", "student", "baseline", "summary"}


@pytest.mark.parametrize("retrain", [False, True])
def test_all_seeds_share_the_assistants_unless_the_teacher_is_retrained(retrain: bool, tmp_path: Path) -> None:
    seeds = {"count": 3, "first": 4, "retrain_teacher": retrain}
    config = with_assistants(
        FIRST, seeds=seeds, training={"teacher_steps": 3, "assistant_steps": 3, "student_steps": 3}
    )
    record = nfkd.run(config, tmp_path / "group")
    for role in ("teacher", "assistant-1"):
        assert [one.seed for one in record.summary if one.stage == role] == ([4, 5, 6] if retrain else [4])
    assert record.load_assistant(1, 6).scaled.initialized
    assert (tmp_path / "group" / "seed-6" / "assistant-1.safetensors").exists() == retrain
    expected = "a teacher and 1 assistant for each seed" if retrain else "one teacher and 1 assistant for all seeds"
    assert record.verdict is not None
    assert expected in record.verdict.summary
    drawn = Explorer().answer(Sample(str(record.path), 6, 4, 1.0))
    assert list(drawn.samples) == ["teacher", "assistant-1", "student", "baseline"]


def test_each_flow_inherits_the_permutation_of_the_one_before(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-30, "schedule": "constant", "assistant_steps": 2, "student_steps": 2}
    config = digits(
        teacher={"steps": 4},
        assistants=[{"kind": "glow", "levels": 2, "steps": 2, "hidden": 5}],
        training=still | {"teacher_steps": 2, "baseline": False},
        distillation={"inherit": "mixing"},
    )
    record = nfkd.run(config, tmp_path / "run")
    flows = {
        "teacher": record.load_teacher().scaled,
        "assistant": record.load_assistant(1).scaled,
        "student": record.load_student().scaled,
    }
    for level in (1, 2):
        products = {}
        for role, flow in flows.items():
            mixings = [
                layer.mixing.mixing_matrix().double()  # type: ignore[operator, union-attr]
                for info, layer in zip(flow.layer_info(), flow.layers, strict=True)
                if info.name.startswith(f"level{level}.step")
            ]
            products[role] = torch.linalg.multi_dot(mixings[::-1]) if len(mixings) > 1 else mixings[0]
        for role in ("assistant", "student"):
            torch.testing.assert_close(products[role], products["teacher"], rtol=1e-4, atol=1e-5)


def test_a_teacher_of_another_library_teaches_the_first_assistant(tmp_path: Path) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    teacher = nfkd.wrap_teacher(zuko.flows.MAF(2, transforms=3, hidden_features=(16, 16)))
    few = {"student_steps": 3, "assistant_steps": 3, "baseline": False}
    record = nfkd.run(with_assistants(FIRST, training=few), tmp_path / "run", teacher=teacher)
    assert record.row.state == "finished"
    assert record.row.teacher == "zuko MAF → Glow-1D 3"
    assert record.matching_of("assistant-1").values.shape[1] == 3
    assert record.load_assistant(1).scaled.initialized
    with pytest.raises(RunError, match="zuko MAF"):
        record.load_teacher()


def test_a_teacher_of_an_earlier_run_teaches_an_assistant(run: RunRecord, tmp_path: Path) -> None:
    config = with_assistants(
        FIRST, training={"teacher_weights": str(run.path), "student_steps": 3, "assistant_steps": 3}
    )
    record = nfkd.run(config, tmp_path / "again")
    steps = {summary.stage: summary.steps for summary in record.summary}
    assert steps == {"teacher": 0, "assistant-1": 3, "student": 3, "baseline": 3}


# --- files ------------------------------------------------------------------------------------------------------------


def test_invalid_assistants_are_reported_with_their_path() -> None:
    with pytest.raises(nfkd.ConfigError) as refused:
        moons(assistants=[FIRST, FIRST | {"hidden": 0}, {"kind": "nice"}])
    assert {problem.path for problem in refused.value.problems} == {"assistants.1.hidden", "assistants.2.kind"}
    with pytest.raises(nfkd.ConfigError, match="assistants"):
        moons(assistants=[FIRST] * 4)
    with pytest.raises(nfkd.ConfigError) as missing:
        moons(assistants=[{"steps": 2}])
    assert {problem.path for problem in missing.value.problems} == {"assistants.0.kind"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_file_keeps_the_assistants(count: int, tmp_path: Path) -> None:
    config = moons(assistants=[FIRST, SECOND, FIRST][:count])
    config.save(tmp_path / "file.toml")
    assert ExperimentConfig.load(tmp_path / "file.toml") == config
    assert len(config.assistants) == count
    table = '{kind = "glow1d", steps = 2, hidden = 5}'
    assert len(ExperimentConfig.load(tmp_path / "file.toml", [f"assistants=[{table}]"]).assistants) == 1


def test_a_run_from_before_there_were_assistants_is_read(tmp_path: Path) -> None:
    record = nfkd.run(moons(training={"teacher_steps": 2, "student_steps": 2, "baseline": False}), tmp_path / "run")
    text = (tmp_path / "run" / "experiment.toml").read_text()
    old = "\n".join(line for line in text.splitlines() if not line.startswith(("assistants", "assistant_steps")))
    (tmp_path / "run" / "experiment.toml").write_text(old)
    again = open_run(tmp_path / "run")
    assert again.config == record.config
    assert again.config.assistants == ()
