"""Tags and notes of runs: stored in a file of their own, part of the row, and noticed by scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.protocol.events import RunChanged
from nfkd.runs.errors import RunError
from nfkd.runs.folder_scan import changes, scan_runs
from nfkd.runs.labels import change_labels, read_labels
from nfkd.runs.layout import create_run_at, list_runs
from nfkd.runs.state import read_row, write_row
from tests.core.tiny import moons


def new_run(folder: Path, name: str = "run") -> Path:
    return create_run_at(folder / name, moons(), teacher="", student="")


def test_tags_and_the_note_are_in_the_file_and_in_the_row(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    change_labels(run, [" paper ", "good", "paper"], [], "Seed 3\nis odd.")
    assert json.loads((run / "labels.json").read_text()) == {"tags": ["paper", "good"], "note": "Seed 3\nis odd."}
    row = read_row(run)
    assert (row.tags, row.note) == (["paper", "good"], "Seed 3\nis odd.")
    change_labels(run, ["new"], ["paper", "missing"], None)
    assert read_row(run).tags == ["good", "new"]
    assert read_row(run).note == "Seed 3\nis odd."
    change_labels(run, [], ["good", "new"], "")
    assert not (run / "labels.json").exists()


def test_the_process_of_a_run_does_not_overwrite_labels(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    row = read_row(run)
    change_labels(run, ["paper"], [], None)
    write_row(run, msgspec.structs.replace(row, state="running", tags=["old"], note="old"))
    assert read_row(run).tags == ["paper"]
    assert not {"tags", "note"} & json.loads((run / "state.json").read_text())["row"].keys()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.lists(TEXT, max_size=25), TEXT)
def test_labels_are_read_as_they_were_written_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tags: list[str], note: str
) -> None:
    run = tmp_path_factory.mktemp("run")
    try:
        written = change_labels(run, tags, [], note)
    except RunError:
        assert not (run / "labels.json").exists()
        return
    assert read_labels(run) == written
    assert written.tags == list(dict.fromkeys(tag.strip() for tag in tags))
    assert written.note == note.strip()


@pytest.mark.parametrize(
    ("add", "note", "message"),
    [
        (["x" * 41], None, "has 41 characters; at most 40"),
        ([f"tag {number}" for number in range(20)], None, "21 tags; at most 20"),
        ([], "x" * 4001, "4,001 characters; at most 4,000"),
        ([""], None, "may not be empty"),
        (["a, b"], None, "may not contain commas"),
        (["a\x1b[31mb"], None, r"a\x1b[31mb may not contain"),
    ],
)
def test_too_much_is_refused_and_changes_nothing(tmp_path: Path, add: list[str], note: str, message: str) -> None:
    run = new_run(tmp_path)
    change_labels(run, ["kept"], [], None)
    with pytest.raises(RunError) as refused:
        change_labels(run, add, [], note)
    assert message in refused.value.cause
    assert read_labels(run).tags == ["kept"]


HOSTILE = {
    "huge": b'{"tags": ["' + b"x" * (1 << 20) + b'"]}',
    "many": json.dumps({"tags": ["x"] * 1000}).encode(),
    "deep": b'{"tags":' * 100_000,
    "other": b'{"tags": 3}',
    "noise": b"\xff\x00",
    "surrogate": b'{"note": "\\ud800"}',
    "empty": b"",
}


@pytest.mark.parametrize("name", [*HOSTILE, "fifo", "directory", "loop", "dead link"])
def test_a_run_with_unreadable_labels_is_listed_with_a_warning(name: str, tmp_path: Path) -> None:
    run, other = new_run(tmp_path), new_run(tmp_path, "other")
    path = run / "labels.json"
    if name in HOSTILE:
        path.write_bytes(HOSTILE[name])
    elif name == "directory":
        path.mkdir()
    elif name == "fifo":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no FIFOs")
        os.mkfifo(path)
    else:
        path.symlink_to("labels.json" if name == "loop" else "nowhere")
    rows, unreadable = list_runs(tmp_path)
    assert {row.run for row in rows} == {str(run), str(other)}
    assert all((row.tags, row.note) == ([], "") for row in rows)
    if name == "dead link":  # the same as none
        assert unreadable == []
        return
    (message,) = unreadable
    assert message.startswith(f"The labels cannot be read: {path}")
    assert "\n" not in message
    with pytest.raises(RunError, match="cannot be read"):
        change_labels(run, ["x"], [], None)


def test_a_scan_notices_labels_of_another_process(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    write_row(run, msgspec.structs.replace(read_row(run), state="finished"))
    first = scan_runs(tmp_path, {})
    code = "import sys; from pathlib import Path; from nfkd.runs.labels import change_labels\n"
    code += "change_labels(Path(sys.argv[1]), ['paper'], [], None)"
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)
    second = scan_runs(tmp_path, first)
    [event] = changes(first, second)
    assert isinstance(event, RunChanged)
    assert event.row.tags == ["paper"]
    (run / "labels.json").unlink()
    [event] = changes(second, scan_runs(tmp_path, second))
    assert isinstance(event, RunChanged)
    assert event.row.tags == []
