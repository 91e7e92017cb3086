"""The loop that executes a sweep: runs that are ended early, and processes that die."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest

from nfkd.protocol.events import RunEvent, StageFinished
from nfkd.runs.state import read_row
from nfkd.sweeps import Sweep, SweepLoop, SweptRun
from nfkd.sweeps.search import Search
from tests.core.sweeps.sweeping import states, sweep_of

LONG = {"student_steps": 1_000_000, "checkpoint_every": 1_000_000}


def test_a_pruned_run_is_stopped_and_keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "report", lambda *arguments: arguments[2] >= 10)
    search = {"runs": 1, "space": {"student.hidden": {"choices": [4, 6]}}}
    sweep = Sweep(sweep_of({"search": search}, training=LONG), tmp_path / "sweep")
    sweep.begin()
    SweepLoop(sweep).execute()
    (run,) = sweep.runs
    assert (run.state, run.objective) == ("pruned", None)
    assert run.cause == "ended after step 10 of the student: worse than the median"
    assert read_row(sweep.path(run)).state == "stopped"
    again = Sweep(sweep_of({"search": search}, training=LONG), tmp_path / "sweep")
    again.begin()
    assert again.ask() is None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_that_dies_fails_its_run_only(tmp_path: Path) -> None:
    lists = [{"student.hidden": 4, "training.student_steps": 1_000_000}, {"student.hidden": 6}]
    sweep = Sweep(sweep_of({"list": lists}), tmp_path / "sweep", parallel=True)
    sweep.begin()
    killed: list[int] = []

    def kill(run: SweptRun, event: RunEvent) -> None:
        if run.number == 0 and isinstance(event, StageFinished) and not killed:  # its teacher; no other run is active
            for child in multiprocessing.active_children():
                killed.append(child.pid or 0)
                child.kill()

    SweepLoop(sweep, 2, on_event=kill).execute()
    assert len(killed) == 1
    assert states(sweep) == ["failed", "finished"]
    assert "signal 9" in sweep.runs[0].cause
    assert (tmp_path / "sweep" / "failed" / sweep.runs[0].name / "teacher.safetensors").is_file()
