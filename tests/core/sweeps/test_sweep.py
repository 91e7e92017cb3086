"""A sweep in its folder: ask and tell, kills, failures, changes of its file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nfkd.config import ConfigError
from nfkd.protocol.events import SamplesDrawn
from nfkd.runs.errors import RunError
from nfkd.runs.layout import list_runs
from nfkd.runs.reader import open_run
from nfkd.sweeps import Start, Sweep
from tests.core.sweeps.sweeping import GRID, execute, run_all, states, sweep_of

ROOT = Path(__file__).resolve().parents[3]
BROKEN = {"grid": {"student": [{"kind": "glow1d", "steps": 1, "hidden": 4}, {"kind": "glow", "levels": 2}]}}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of four runs."""
    folder = tmp_path_factory.mktemp("sweeps") / "done"
    run_all(Sweep(sweep_of(GRID), folder))
    return folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(done, tmp_path / "sweep"))


def objectives(folder: Path) -> dict[str, float]:
    return {run["name"]: run["objective"] for run in json.loads((folder / "sweep.json").read_text())["runs"]}


def test_every_combination_has_an_ordinary_run(done: Path) -> None:
    rows, unreadable = list_runs(done)
    assert unreadable == []
    names = {f"hidden-{hidden}_learning_rate-{rate}" for hidden in (4, 6) for rate in (0.001, 0.003)}
    assert {row.name for row in rows if row.state == "finished"} == names
    for name in names:
        config = open_run(done / name).config
        hidden, rate = name.removeprefix("hidden-").split("_learning_rate-")
        assert (config.student.model_dump()["hidden"], config.training.learning_rate) == (int(hidden), float(rate))


def test_the_objective_is_the_validation_likelihood_of_the_student(done: Path) -> None:
    for name, objective in objectives(done).items():
        (student,) = [summary for summary in open_run(done / name).summary if summary.stage == "student"]
        assert objective == student.validation
    ranking = Sweep(sweep_of(GRID), done).ranking()
    assert [run.objective for run in ranking] == sorted(objectives(done).values())


def test_a_finished_sweep_has_nothing_to_do(folder: Path) -> None:
    sweep = Sweep(sweep_of(GRID), folder)
    sweep.begin()
    assert sweep.ask() is None


KILLED = """
import os, signal, sys
from pathlib import Path
from nfkd.protocol.events import SamplesDrawn
from nfkd.sweeps import Sweep
from tests.core.sweeps.sweeping import GRID, execute, sweep_of

def kill(event):
    if sweep.active[0].number == 1 and isinstance(event, SamplesDrawn) and (event.stage, event.step) == ("student", 10):
        os.kill(os.getpid(), signal.SIGKILL)

sweep = Sweep(sweep_of(GRID), Path(sys.argv[1]))
sweep.begin()
while (start := sweep.ask()) is not None:
    sweep.tell(start.run.number, execute(start, kill))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_sweep_continues_from_the_checkpoint(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "core")])
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], check=False, env=os.environ | {"PYTHONPATH": paths}
    )
    assert child.returncode == -signal.SIGKILL
    sweep = Sweep(sweep_of(GRID), folder)
    sweep.begin()
    assert states(sweep) == ["finished", "waiting", "waiting", "waiting"]
    before = (folder / sweep.runs[0].name / "run.h5").stat().st_mtime_ns
    steps: list[int] = []
    while (start := sweep.ask()) is not None:
        first = start.run.number == 1

        def note(event: object, *, first: bool = first) -> None:
            if first and isinstance(event, SamplesDrawn) and event.stage == "student" and not event.final:
                steps.append(event.step)

        assert start.resume is first
        sweep.tell(start.run.number, execute(start, note))
    assert steps == [10, 20]  # from the checkpoint of step 8; a run draws its first pictures after step 1
    assert states(sweep) == ["finished"] * 4
    assert (folder / sweep.runs[0].name / "run.h5").stat().st_mtime_ns == before
    assert objectives(folder) == objectives(done)


def test_a_run_that_fails_is_moved_apart_and_named(tmp_path: Path) -> None:
    sweep = Sweep(sweep_of(BROKEN), tmp_path / "sweep")
    run_all(sweep)
    good, bad = sweep.runs
    assert (good.state, bad.state) == ("finished", "failed")
    assert "student" in bad.cause
    found = {row.name: (Path(row.run).parent, row.state) for row in list_runs(tmp_path / "sweep")[0]}
    folder = tmp_path / "sweep"
    assert found == {good.name: (folder, "finished"), bad.name: (folder / "failed", "failed")}
    (row,) = list_runs(tmp_path / "sweep" / "failed")[0]
    assert (row.name, row.state) == (bad.name, "failed")


def test_failed_runs_are_run_again_on_request_only(tmp_path: Path) -> None:
    run_all(Sweep(sweep_of(BROKEN), tmp_path / "sweep"))
    again = Sweep(sweep_of(BROKEN), tmp_path / "sweep")
    again.begin()
    assert again.ask() is None
    retried = Sweep(sweep_of(BROKEN), tmp_path / "sweep", retry=True)
    retried.begin()
    start = retried.ask()
    assert start is not None
    assert start.run.number == 1
    retried.tell(1, execute(start))
    assert states(retried) == ["finished", "failed"]


def test_a_damaged_run_is_moved_apart_and_the_others_stay(folder: Path) -> None:
    name = "hidden-6_learning_rate-0.001"
    (folder / name / "state.json").write_text("{")
    sweep = Sweep(sweep_of(GRID), folder)
    run_all(sweep)
    assert states(sweep) == ["finished", "finished", "failed", "finished"]
    assert str(folder / name / "state.json") in sweep.runs[2].cause
    assert (folder / "failed" / name / "run.h5").is_file()


def test_a_removed_run_runs_again_with_the_same_result(folder: Path) -> None:
    before = objectives(folder)
    shutil.rmtree(folder / "hidden-4_learning_rate-0.001")  # the run that trained the teacher
    run_all(Sweep(sweep_of(GRID), folder))
    assert objectives(folder) == before


def test_the_state_is_found_again_without_its_file(folder: Path) -> None:
    before = objectives(folder)
    (folder / "sweep.json").unlink()
    sweep = Sweep(sweep_of(GRID), folder)
    sweep.begin()
    assert sweep.ask() is None
    assert objectives(folder) == before


def test_runs_can_be_added(folder: Path) -> None:
    more = {"grid": {"training.learning_rate": [0.003, 0.01, 0.001], "student.hidden": [6, 4]}}
    sweep = Sweep(sweep_of(more), folder)
    sweep.begin()
    assert states(sweep) == ["finished"] * 4 + ["waiting"] * 2
    assert [run.values["training.learning_rate"] for run in sweep.runs[4:]] == [0.01, 0.01]


@pytest.mark.parametrize(
    ("changed", "training"),
    [
        ({"grid": {"student.hidden": [4, 6]}}, {}),
        (GRID, {"student_steps": 21}),
        (GRID | {"metric": "samples_per_second"}, {}),
        ({"search": {"space": {"student.hidden": {"choices": [4, 6]}}}}, {}),
    ],
)
def test_another_sweep_is_refused_in_the_folder(done: Path, changed: dict[str, object], training: object) -> None:
    before = sorted(path.stat().st_mtime_ns for path in done.rglob("*"))
    with pytest.raises(ConfigError, match="give a new folder"):
        Sweep(sweep_of(changed, training=training), done)
    assert sorted(path.stat().st_mtime_ns for path in done.rglob("*")) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is not empty and has no sweep\.toml"):
        Sweep(sweep_of(GRID), tmp_path)
    with pytest.raises(RunError, match="is not a directory"):
        Sweep(sweep_of(GRID), tmp_path / "notes.txt")


def test_a_damaged_state_is_named(folder: Path) -> None:
    (folder / "sweep.json").write_text('{"runs": [{"number": "one"}]}')
    with pytest.raises(RunError, match=r"sweep\.json is damaged"):
        Sweep(sweep_of(GRID), folder)


def test_others_wait_while_their_teacher_is_in_training(tmp_path: Path) -> None:
    mixed = {"list": [{"student.hidden": 4}, {"student.hidden": 6}, {"student.hidden": 4, "teacher.hidden": 6}]}
    sweep = Sweep(sweep_of(mixed), tmp_path / "sweep")
    sweep.begin()

    def asked() -> int | None:
        start: Start | None = sweep.ask()
        return None if start is None else start.run.number

    assert [asked(), asked(), asked()] == [0, 2, None]
    sweep.teacher_trained(0)
    assert asked() == 1
    assert len(sweep.active) == 3


def test_a_run_that_was_stopped_waits_again(tmp_path: Path) -> None:
    sweep = Sweep(sweep_of(GRID), tmp_path / "sweep")
    sweep.begin()
    start = sweep.ask()
    assert start is not None
    assert sweep.tell(start.run.number, "stopped").state == "waiting"
