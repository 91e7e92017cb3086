"""Repeated scans of a folder of runs, and to which process a run belongs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil

from nfkd.protocol.events import RunChanged, RunRemoved
from nfkd.runs.folder_scan import changes, scan_runs
from nfkd.runs.layout import create_run_at
from nfkd.runs.state import read_row
from tests.core.tiny import moons


def new_run(path: Path, **state: Any) -> Path:
    run = create_run_at(path, moons(), teacher="", student="")
    set_state(run, **state)
    return run


def set_state(run: Path, **changes: Any) -> None:
    content = json.loads((run / "state.json").read_text())
    for name, value in changes.items():
        (content if name in content else content["row"])[name] = value
    (run / "state.json").write_text(json.dumps(content))


def test_only_changed_and_active_runs_are_read_again(tmp_path: Path) -> None:
    ended, active = new_run(tmp_path / "ended", state="finished"), new_run(tmp_path / "active", state="running")
    first = scan_runs(tmp_path, {})
    second = scan_runs(tmp_path, first)
    assert second[str(ended)] is first[str(ended)]
    assert second[str(active)] is not first[str(active)]
    assert list(changes(first, second)) == []
    set_state(ended, verdict="better")
    [event] = changes(second, scan_runs(tmp_path, second))
    assert isinstance(event, RunChanged)
    assert (event.run, event.row.verdict) == (str(ended), "better")


def test_new_unreadable_and_removed_runs(tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", state="finished")
    first = scan_runs(tmp_path, {})
    assert [event.run for event in changes({}, first)] == [str(run)]
    (run / "state.json").write_text("{")
    broken = scan_runs(tmp_path, first)
    assert list(changes(first, broken)) == []  # the row stays
    (run / "state.json").unlink()
    [event] = changes(broken, scan_runs(tmp_path, broken))
    assert isinstance(event, RunRemoved)
    assert scan_runs(tmp_path / "missing", first) == {}


def test_other_entries_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    new_run(tmp_path / "run").rename(tmp_path / ".nfkd-new-1-2.00-0")
    new_run(tmp_path / "run").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    [seen] = scan_runs(tmp_path, {}).values()
    assert seen.row is None
    assert seen.problem.startswith(f"{tmp_path}/\\xff: its name is not valid UTF-8")


def test_a_row_says_whether_another_process_trains_the_run(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", state="running")
    assert not read_row(run).elsewhere
    parent = psutil.Process(os.getppid())
    for state, expected in (("queued", True), ("running", True), ("paused", True), ("finished", False)):
        set_state(run, state=state, pid=parent.pid, born=parent.create_time(), elsewhere=False)
        assert read_row(run).elsewhere is expected
    set_state(run, state="running", born=parent.create_time() - 100, elsewhere=True)
    assert (read_row(run).state, read_row(run).elsewhere) == ("interrupted", False)
