"""Processes that are killed while a run begins: after each one, a retry begins the run or --resume continues it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.protocol.events import Progress, RunEvent
from nfkd.runs.errors import RunError
from nfkd.runs.layout import create_run, create_run_at, is_run, list_runs, read_config
from nfkd.training.api import require_resumable
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import moons

ROOT = Path(__file__).parents[3]
COPY_EVERY_STATE = """
import os, shutil, signal, sys
from pathlib import Path
import nfkd
from nfkd.config import ExperimentConfig
from nfkd.runs.layout import create_run_at
folder, copies, config = Path(sys.argv[1]), Path(sys.argv[2]), ExperimentConfig.from_toml(sys.argv[3])
seen, copying = [], False
def copy():
    global copying
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    if not copying and names not in seen:
        copying = True
        seen.append(names)
        shutil.copytree(folder, copies / f"{len(seen):02}")
        copying = False
def watched(function):
    def call(*arguments, **rest):
        copy()
        result = function(*arguments, **rest)
        copy()
        if not copying and str(arguments[-1]).endswith("checkpoint.safetensors"):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
for name in ("mkdir", "rename", "replace", "unlink"):
    setattr(os, name, watched(getattr(os, name)))
if (folder / "run").exists():  # only the creation differs then
    create_run_at(folder / "run", config, teacher="", student="")
    os.kill(os.getpid(), signal.SIGKILL)
nfkd.run(config, folder / "run")
"""


def tiny(seeds: int = 2) -> ExperimentConfig:
    steps = {"teacher_steps": 2, "student_steps": 2, "checkpoint_every": 1, "baseline": False}
    small = {"steps": 1, "hidden": 4}
    return moons(training=steps, seeds={"count": seeds}, teacher=small, student=small)


def make(path: Path, config: ExperimentConfig | None = None) -> Path:
    return create_run_at(path, config or tiny(), teacher="", student="")


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("existing", [False, True], ids=["no directory", "an empty directory"])
def test_after_a_kill_at_any_time_a_run_begins_again_or_resumes(existing: bool, tmp_path: Path) -> None:
    folder, copies, config = tmp_path / "folder", tmp_path / "copies", tiny()
    (folder / "run" if existing else folder).mkdir(parents=True)
    command = [sys.executable, "-c", COPY_EVERY_STATE, str(folder), str(copies), config.to_toml()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    states = sorted(copies.iterdir())
    files = set[str]().union(*(names_in(state) for state in states))
    created = {
        "experiment.toml.tmp",
        "experiment.toml",
        "group.toml",
        "seed-1",
        "seed-2",
        "state.json.tmp",
        "state.json",
    }
    later = {".lock", "seed-1/run.h5.tmp", "seed-1/run.h5", "seed-1/checkpoint.safetensors"}
    prefix = "run/" if existing else ".nfkd-new-"
    assert all(any(file.startswith(prefix) and file.endswith(name) for file in files) for name in created), files
    assert existing or {f"run/{name}" for name in later} <= files
    for state in states:
        run = state / "run"
        assert {row.run for row in list_runs(state)[0]} == ({str(run)} if is_run(run) else set())
        if is_run(run):
            with pytest.raises(RunError, match="Give --resume"):
                make(run, config)
        else:
            retried = shutil.copytree(state, tmp_path / f"retried {state.name}") / "run"
            assert read_config(make(retried, config)) == config
            assert names_in(retried) == created - {"experiment.toml.tmp", "state.json.tmp"}
            assert [path.name for path in retried.parent.iterdir()] == ["run"]
    for state in states:
        assert existing or not is_run(state / "run") or steps_of_a_resume(state / "run", config) > 0


def steps_of_a_resume(run: Path, config: ExperimentConfig) -> int:
    """Resume a run, stop it at its first step, and return its number of steps."""
    control, steps = Control(), list[int]()

    def stop(event: RunEvent) -> None:
        if isinstance(event, Progress) and event.step:  # the first event says that the stage begins
            steps.append(event.step)
            control.stop("run")

    require_resumable(config, run)
    assert execute_run(run, config, stop, control, resume=True) == "stopped"
    return steps[-1]


def test_resume_starts_a_run_that_never_began_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny(seeds=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.toml").write_text(config.to_toml())
    (tmp_path / "own.toml").write_text(config.to_toml())
    assert main(["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert "has no run to resume: a new run starts" in capsys.readouterr().err


def own_experiment(run: Path) -> None:
    (run / "experiment.toml").write_text("# my notes\n" + tiny().to_toml())


def another_experiment(run: Path) -> None:
    (run / "experiment.toml").write_text(tiny(seeds=3).to_toml())


def notes(run: Path) -> None:
    (run / "notes.txt").write_text("mine")


def results(run: Path) -> None:
    (run / "seed-1").mkdir()
    (run / "seed-1" / "curve.csv").write_text("1")


def link(run: Path) -> None:
    (run / "seed-1").symlink_to(run.parent)


def fifo(run: Path) -> None:
    os.mkfifo(run / "state.json.tmp")


@pytest.mark.parametrize("put", [own_experiment, another_experiment, notes, results, link, fifo])
def test_a_directory_with_other_files_is_refused_and_left_alone(put: Callable[[Path], None], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    put(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}, names_in(run)
    with pytest.raises(RunError, match=f"{run} is not empty") as refused:
        make(run)
    assert "another" in refused.value.action
    assert ({path: path.read_bytes() for path in run.rglob("*") if path.is_file()}, names_in(run)) == before


def test_an_empty_directory_is_filled_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o750)
    before = (tmp_path / "run").stat()
    after = make(tmp_path / "run").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_leftovers_of_ended_processes_are_removed_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    running, dead, other = (
        tmp_path / f".nfkd-new-{rest}"
        for rest in (f"{os.getppid()}-{_started(os.getppid())}-0", f"{ended.pid}-1.00-0", "mine")
    )
    for path in (running, dead, other):
        shutil.copytree(make(tmp_path / "whole" / path.name), path)
    assert list_runs(tmp_path) == ([], [])
    create_run(tmp_path, tiny(), teacher="", student="")
    assert {path.name for path in tmp_path.glob(".*")} == {running.name, other.name}
    assert [row.name for row in list_runs(tmp_path)[0]] == ["tiny moons"]


def _started(pid: int) -> str:
    import psutil

    return f"{psutil.Process(pid).create_time():.2f}"


def test_a_run_that_cannot_be_created_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *rest: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "replace", refuse)
    for attempt in (lambda: make(tmp_path / "run"), lambda: create_run(tmp_path, tiny(), teacher="", student="")):
        with pytest.raises(RunError, match="Free some space"):
            attempt()
        assert list(tmp_path.iterdir()) == []
