"""Searches: budget, objective, pruning, and the same suggestions after an interruption."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pytest

from nfkd.sweeps import Start, Sweep
from nfkd.sweeps.records import read_sweep_state, write_sweep_state
from tests.core.sweeps.sweeping import execute, states, sweep_of

SPACE = {"student.hidden": {"low": 4, "high": 64, "log": True}, "training.learning_rate": {"low": 1e-4, "high": 1e-2}}


def search_of(space: dict[str, Any] = SPACE, **settings: Any) -> dict[str, Any]:
    return {"search": {"space": space, "prune": False} | settings}


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps whose runs end at once: the objective of a run is (hidden − 20)² + its learning rate."""

    def finish(sweep: Sweep, run: Any) -> None:
        del sweep
        run.state = "finished"
        run.objective = (run.values["student.hidden"] - 20.0) ** 2 + run.values.get("training.learning_rate", 0.0)

    monkeypatch.setattr(Sweep, "_finish", finish)


def ask(sweep: Sweep) -> Start:
    start = sweep.ask()
    assert start is not None
    return start


def run_scored(sweep: Sweep, most: int = 1000) -> None:
    sweep.begin()
    for _ in range(most):
        if (start := sweep.ask()) is None:
            return
        sweep.tell(start.run.number, "finished")


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_search_has_its_budget_of_different_runs_in_its_space(method: str, tmp_path: Path) -> None:
    sweep = Sweep(sweep_of(search_of(method=method, runs=15)), tmp_path / "sweep")
    run_scored(sweep)
    assert states(sweep) == ["finished"] * 15
    values = [tuple(run.values.values()) for run in sweep.runs]
    assert len(set(values)) == 15
    assert all(4 <= hidden <= 64 and isinstance(hidden, int) and 1e-4 <= rate <= 1e-2 for hidden, rate in values)
    assert [config.student.model_dump()["hidden"] for config in sweep.configs] == [hidden for hidden, _ in values]


@pytest.mark.usefixtures("scored")
def test_tpe_comes_closer_than_its_random_start(tmp_path: Path) -> None:
    space = {"student.hidden": {"low": 4, "high": 1024}}
    sweep = Sweep(sweep_of(search_of(space, runs=40)), tmp_path / "sweep")
    run_scored(sweep)
    misses = [abs(run.values["student.hidden"] - 20) for run in sweep.runs]
    assert median(misses[-10:]) < 0.2 * median(misses[:10])


@pytest.mark.usefixtures("scored")
def test_an_interrupted_search_continues_as_if_it_had_not_been(tmp_path: Path) -> None:
    config = sweep_of(search_of(runs=16))
    whole, first = Sweep(config, tmp_path / "whole"), Sweep(config, tmp_path / "parts")
    run_scored(whole)
    run_scored(first, most=12)
    ask(first)  # killed during the next run, which has no checkpoint yet
    second = Sweep(config, tmp_path / "parts")
    write_rows(second, "finished")
    run_scored(second)
    assert [run.values for run in second.runs] == [run.values for run in whole.runs]


def write_rows(sweep: Sweep, state: str) -> None:
    """Write the state that the runs would have, had they been executed: all but the last have ended."""
    import msgspec

    from nfkd.runs.state import read_row, write_row

    for run in sweep.runs:
        path = sweep.path(run)
        last = run is sweep.runs[-1]
        write_row(path, msgspec.structs.replace(read_row(path), state="stopped" if last else state))


@pytest.mark.usefixtures("scored")
def test_a_search_ends_when_its_space_has_no_other_values(tmp_path: Path) -> None:
    space = {"student.hidden": {"choices": [4, 6, 8]}}
    sweep = Sweep(sweep_of(search_of(space, runs=10)), tmp_path / "sweep")
    run_scored(sweep)
    assert sorted(run.values["student.hidden"] for run in sweep.runs) == [4, 6, 8]


@pytest.mark.usefixtures("scored")
def test_a_search_ends_after_its_hours(tmp_path: Path) -> None:
    config = sweep_of(search_of(runs=10, hours=1.0))
    run_scored(Sweep(config, tmp_path / "sweep"), most=2)
    state = read_sweep_state(tmp_path / "sweep")
    assert state is not None
    assert len(state.runs) == 2
    state.seconds = 3601.0
    write_sweep_state(tmp_path / "sweep", state)
    sweep = Sweep(config, tmp_path / "sweep")
    write_rows(sweep, "finished")
    sweep.begin()
    assert sweep.ask() is None
    longer = Sweep(sweep_of(search_of(runs=10, hours=2.0)), tmp_path / "sweep")
    longer.begin()
    assert longer.ask() is not None


@pytest.mark.usefixtures("scored")
def test_tables_can_be_choices(tmp_path: Path) -> None:
    tables = [{"kind": "glow1d", "steps": 1, "hidden": 4}, {"kind": "nsf", "steps": 1}]
    space = {"student": {"choices": tables}, "student.hidden": {"choices": [4, 6]}}
    sweep = Sweep(sweep_of(search_of(space, runs=4)), tmp_path / "sweep")
    run_scored(sweep)
    assert {config.student.kind for config in sweep.configs} == {"glow1d", "nsf"}


@pytest.mark.usefixtures("scored")
def test_a_hopeless_run_is_pruned_as_optuna_prunes_it(tmp_path: Path) -> None:
    sweep = Sweep(sweep_of(search_of(runs=8, prune=True)), tmp_path / "sweep")
    sweep.begin()
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(5, 5))
    for likelihood in (1.0, 1.1, 1.2, 1.3, 1.4, 1.25):
        start, trial = ask(sweep), study.ask()
        for step in (5, 10, 15, 20):
            value = likelihood + 1 / step
            trial.report(value, step)
            assert sweep.report(start.run.number, step, value) is bool(trial.should_prune())
            if trial.should_prune():
                break
        pruned = trial.should_prune()
        study.tell(trial, None if pruned else likelihood, optuna.trial.TrialState.PRUNED if pruned else None)
        run = sweep.tell(start.run.number, "stopped" if pruned else "finished")
    assert (run.number, run.state) == (5, "pruned")
    assert "step 5" in run.cause


def test_a_pruned_run_stays_pruned_and_a_finished_one_keeps_its_curve(tmp_path: Path) -> None:
    config = sweep_of(search_of(runs=3, prune=True))
    sweep = Sweep(config, tmp_path / "sweep")
    sweep.begin()
    start = ask(sweep)
    sweep.tell(0, execute(start))
    again = Sweep(config, tmp_path / "sweep")
    again.begin()
    assert states(again) == ["finished"]
    assert again.runs[0].objective == sweep.runs[0].objective
    assert ask(again).run.number == 1
