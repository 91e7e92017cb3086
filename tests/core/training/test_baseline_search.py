"""The search for the weight decay of student and baseline, against runs with each weight decay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.planning.describe import describe
from nfkd.protocol import events
from nfkd.protocol.records import Ending
from nfkd.runs.errors import RunError
from nfkd.runs.log import read_log
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.diagnosis import DivergedError
from nfkd.training.job import execute_run
from nfkd.training.loop import Trainer
from tests.core.tiny import moons
from tests.core.training.runs import TrainedRun, assert_same, progress_at_every_step, stop_run

STEPS = 10
"""Steps of a trial; the search makes three."""
TRAINING: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 0.05, "teacher_steps": 6, "student_steps": STEPS}
SEARCH = moons(training=TRAINING | {"weight_decay": 1.0, "baseline_search": True}, seeds={"count": 2})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A run of two seeds with a search, and its events."""
    seen: list[events.RunEvent] = []
    with progress_at_every_step():
        record = nfkd.run(SEARCH, tmp_path_factory.mktemp("searched") / "run", on_event=seen.append)
    return TrainedRun(record, seen)


@pytest.fixture(scope="module")
def unsearched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same experiment without the search."""
    config = SEARCH.replace(training={"baseline_search": False})
    return nfkd.run(config, tmp_path_factory.mktemp("unsearched") / "run").path


def trials(run: Path) -> dict[float, float]:
    found = json.loads((run / "baseline_search.json").read_text())
    return {trial["weight_decay"]: trial["validation"] for trial in found["trials"]}


def test_student_and_baseline_use_the_best_weight_decay_on_validation(searched: TrainedRun, tmp_path: Path) -> None:
    run, found = searched.record.path, trials(searched.record.path)
    teacher = str(run / "seed-1" / "teacher.safetensors")
    plain: dict[float, nfkd.runs.reader.RunRecord] = {}  # type: ignore[name-defined]
    for decay in (0.0, 0.1, 0.5):
        config = SEARCH.replace(training={"baseline_search": False, "weight_decay": decay, "teacher_weights": teacher})
        plain[decay] = nfkd.run(config, tmp_path / f"{decay}")
    curves = {decay: record.curves["baseline"]["validation/nll"].values for decay, record in plain.items()}
    assert found == {decay: values.min() for decay, values in curves.items()}
    assert len(set(found.values())) == 3
    best = min(found, key=lambda decay: found[decay])
    for seed in (1, 2):
        for name in ("student", "baseline"):
            expected, made = (
                load_file(path / f"seed-{seed}" / f"{name}.safetensors") for path in (plain[best].path, run)
            )
            assert all(torch.equal(made[key], value) for key, value in expected.items())
    log = [line.text for line in read_log(run)]
    assert any(f"Student and baseline use the best on validation data: weight decay {best:g}," in line for line in log)
    assert sum(line.startswith("Search: weight decay") for line in log) == 3


def test_the_teacher_keeps_its_weight_decay(searched: TrainedRun, unsearched: Path) -> None:
    expected = load_file(unsearched / "seed-1" / "teacher.safetensors")
    found = load_file(searched.record.path / "seed-1" / "teacher.safetensors")
    assert all(torch.equal(found[key], value) for key, value in expected.items())


ALONE = moons(training=TRAINING | {"weight_decay": 1.0, "student_steps": 3, "early_stop": 0})


@pytest.fixture(scope="module")
def same_optimizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose teacher has the optimizer of the student."""
    return nfkd.run(ALONE, tmp_path_factory.mktemp("shared") / "run").path


@pytest.mark.parametrize(
    ("teacher", "equal"),
    [
        ({"teacher_optimizer": "adam", "teacher_learning_rate": 0.02}, {"optimizer": "adam", "learning_rate": 0.02}),
        ({"teacher_optimizer": "same", "teacher_learning_rate": 0.02}, {"learning_rate": 0.02}),
        ({"teacher_optimizer": "adamax"}, {"optimizer": "adamax"}),
    ],
)
def test_only_the_teacher_has_its_own_optimizer(
    teacher: dict[str, Any], equal: dict[str, Any], same_optimizer: Path, tmp_path: Path
) -> None:
    runs = [
        nfkd.run(ALONE.replace(training=training), tmp_path / name).path
        for name, training in (("own", teacher), ("equal", equal))
    ]
    own, like, shared = (
        {stage: load_file(run / f"{stage}.safetensors") for stage in ("teacher", "baseline")}
        for run in (*runs, same_optimizer)
    )
    assert all(torch.equal(own["teacher"][key], value) for key, value in like["teacher"].items())
    assert any(not torch.equal(own["teacher"][key], value) for key, value in shared["teacher"].items())
    assert all(torch.equal(own["baseline"][key], value) for key, value in shared["baseline"].items())


def test_the_progress_counts_the_search(searched: TrainedRun) -> None:
    seen = [event for event in searched.events if isinstance(event, events.Progress)]
    fractions = [event.fraction for event in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert [(event.search, event.step, event.steps) for event in seen[: 3 * STEPS]] == [
        (True, step, 3 * STEPS) for step in range(1, 3 * STEPS + 1)
    ]
    assert seen[3 * STEPS].stage == "teacher"
    assert not any(event.search for event in seen[3 * STEPS :])
    teacher = [event.fraction for event in seen if event.stage == "teacher" and not event.search]
    assert 0 < fractions[3 * STEPS - 1] < teacher[-1]  # a slow search can hold it for some steps: it never falls


@pytest.mark.parametrize("step", [4, 12, 3 * STEPS])
def test_a_run_that_is_stopped_in_its_search_is_resumed_exactly(step: int, searched: TrainedRun, tmp_path) -> None:
    run = tmp_path / "stopped"
    stop_run(run, SEARCH, "baseline", step)
    assert len(trials(run)) == step // STEPS if step >= STEPS else not (run / "baseline_search.json").exists()
    nfkd.run(SEARCH, run, resume=True)
    assert_same(run, searched.record.path, SEARCH)


def end_search(run: Path, step: int) -> None:
    """End the trial at a step of the search, and then stop the run in its student's stage."""
    control = Control()

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.Progress):
            if event.search and event.step == step:
                control.stop("stage")
            if event.stage == "student" and event.step == 5:
                control.stop("run")

    with progress_at_every_step():
        assert execute_run(prepare(SEARCH, run), SEARCH, watch, control) == "stopped"


@pytest.mark.parametrize("step", [2, 11])
def test_a_search_that_the_user_ends_keeps_the_weight_decay_also_when_resumed(
    step: int, unsearched: Path, tmp_path: Path
) -> None:
    end_search(tmp_path / "ended", step)
    record = nfkd.run(SEARCH, tmp_path / "ended", resume=True)
    assert len(trials(record.path)) == step // STEPS  # only whole trials are kept
    log = [line for line in read_log(record.path) if line.level == "warning" and "was ended early" in line.text]
    assert log
    assert log[0].text.endswith("use training.weight_decay, 1")
    for stage in ("student", "baseline"):
        found, expected = (load_file(path / f"seed-2/{stage}.safetensors") for path in (record.path, unsearched))
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_search_in_which_every_trial_diverges_keeps_the_weight_decay(tmp_path: Path, monkeypatch) -> None:
    class Diverging(Trainer):
        def train(self) -> Ending:
            raise DivergedError(events.ErrorInfo(title="Diverged", cause="", action=""))

    monkeypatch.setattr("nfkd.training.baseline_search.Trainer", Diverging)
    record = nfkd.run(SEARCH.replace(seeds={"count": 1}), tmp_path / "run")
    assert set(trials(record.path).values()) == {None}
    assert any("diverged with every weight decay" in line.text for line in read_log(record.path))


def test_trials_of_other_data_are_repeated(searched: TrainedRun, tmp_path: Path) -> None:
    run = tmp_path / "stopped"
    stop_run(run, SEARCH, "baseline", 12)
    path = run / "baseline_search.json"
    other = {"data": "0" * 64, "trials": [{"weight_decay": 0.5, "validation": -100.0}]}
    path.write_text(json.dumps(other))
    nfkd.run(SEARCH, run, resume=True)
    assert_same(run, searched.record.path, SEARCH)


def test_a_trial_that_diverges_is_not_chosen(searched: TrainedRun, tmp_path: Path, monkeypatch) -> None:
    found = trials(searched.record.path)
    best = min(found, key=lambda decay: found[decay])

    class Diverging(Trainer):
        def train(self) -> Ending:
            if self._state.optimizer.param_groups[0]["weight_decay"] == best:
                raise DivergedError(events.ErrorInfo(title="Diverged", cause="", action=""))
            return super().train()

    monkeypatch.setattr("nfkd.training.baseline_search.Trainer", Diverging)
    record = nfkd.run(SEARCH.replace(seeds={"count": 1}), tmp_path / "run")
    assert trials(record.path) == found | {best: None}
    second = min(found.keys() - {best}, key=lambda decay: found[decay])
    log = "\n".join(line.text for line in read_log(record.path))
    assert f"Search: weight decay {best:g}, diverged" in log
    assert f"Student and baseline use the best on validation data: weight decay {second:g}," in log


def test_a_damaged_file_of_the_search_is_refused_and_left(tmp_path: Path) -> None:
    stop_run(tmp_path / "run", SEARCH, "baseline", 12)
    (tmp_path / "run" / "baseline_search.json").write_text("[{")
    with pytest.raises(RunError, match="search for the weight decay cannot be read"):
        nfkd.run(SEARCH, tmp_path / "run", resume=True)


@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_an_optimizer_without_weight_decay_is_refused(optimizer: str) -> None:
    def problems(config: ExperimentConfig) -> dict[str, str]:
        return {problem.path: problem.message for problem in describe(config).problems}

    message = f"{optimizer} has no weight decay to search: set training.optimizer to adamw, or switch this off"
    assert problems(moons(training={"optimizer": optimizer, "baseline_search": True})) == {
        "training.baseline_search": message
    }
    assert problems(moons(training={"optimizer": "adamw", "baseline_search": True})) == {}
