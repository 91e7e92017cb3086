"""The trash of a runs folder, and moves into other folders: nothing is lost, whatever fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from nfkd.runs.errors import RunError
from nfkd.runs.finding import find_runs
from nfkd.runs.layout import create_run_at, list_runs
from nfkd.runs.lock import run_lock
from nfkd.runs.moving import move_run, prepare_folder
from nfkd.runs.state import read_row, write_row
from nfkd.runs.trash import empty_trash, list_trash, restore_run, trash_run
from tests.core.tiny import moons

linux = pytest.mark.skipif(sys.platform != "linux", reason="the trash of the freedesktop.org specification")
not_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")


def finished_run(path: Path, **changes: object) -> Path:
    run = create_run_at(path, moons(**changes), teacher="T", student="S")
    write_row(run, msgspec.structs.replace(read_row(run), state="finished"))
    return run


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder by their path, without locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names(folder: Path) -> set[str]:
    return {str(Path(row.run).relative_to(folder)) for row in list_runs(folder)[0]}


def test_a_run_comes_back_as_it_was_with_files_that_are_not_of_nfkd(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "digits" / "two steps" / "a")
    (run / "notes").mkdir()
    (run / "notes" / "thesis.docx").write_bytes(b"\0\1")
    before = content(run)
    trashed = trash_run(tmp_path, run)
    assert trashed == tmp_path / ".trash" / "a"
    assert content(trashed) == before
    assert not (tmp_path / "digits").exists()
    assert names(tmp_path) == set()
    assert restore_run(trashed) == run
    assert content(run) == before
    assert list((tmp_path / ".trash").iterdir()) == []


def test_runs_of_one_name_are_numbered_and_the_last_one_is_listed_first(tmp_path: Path) -> None:
    first = trash_run(tmp_path, finished_run(tmp_path / "a"))
    second = trash_run(tmp_path, finished_run(tmp_path / "deep" / "a"))
    assert (first.name, second.name) == ("a", "a-2")
    rows, size = list_trash(tmp_path)
    assert [row.run for row in rows] == [str(second), str(first)]
    assert size == sum(len(data) for data in content(tmp_path / ".trash").values())
    taken = finished_run(tmp_path / "a")
    assert restore_run(first) == tmp_path / "a-2"
    assert restore_run(second) == tmp_path / "deep" / "a"
    assert names(tmp_path) == {"a", "a-2", "deep/a"}
    assert taken.is_dir()


@pytest.mark.parametrize(
    "note",
    [
        None,
        "{",
        json.dumps({"folder": "../../outside", "name": "a", "time": 1.0}),
        json.dumps({"folder": "/etc", "name": "a", "time": 1.0}),
        json.dumps({"folder": "", "name": "../a", "time": 1.0}),
        json.dumps({"folder": ".hidden", "name": "a", "time": 1e300}),
        json.dumps({"folder": "b", "name": "x", "time": 1.0}),  # inside a run
        json.dumps({"folder": "link", "name": "x", "time": 1.0}),  # outside
        "x" * 100_000,
    ],
)
def test_without_a_usable_note_a_run_is_restored_into_the_runs_folder(note: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    finished_run(folder / "b")
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    trashed = trash_run(folder, finished_run(folder / "a"))
    path = folder / ".trash" / ".a.json"
    assert json.loads(path.read_text())["name"] == "a"
    path.unlink()  # as after a crash between rename and note
    if note is not None:
        path.write_text(note)
    assert [row.name for row in list_trash(folder)[0]] == ["a"]
    assert restore_run(trashed).parent == folder
    assert (tmp_path / "elsewhere").is_dir()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_crash_after_the_note_leaves_the_run_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path / "a")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nfkd.runs.trash.rename", fail)
    with pytest.raises(KeyboardInterrupt):
        trash_run(tmp_path, run)
    monkeypatch.undo()
    assert list_trash(tmp_path)[0] == []
    assert restore_run(trash_run(tmp_path, run)) == run


def test_of_a_link_only_the_link_moves(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "elsewhere" / "run")
    folder = tmp_path / "runs"
    folder.mkdir()
    for name, leads_to in (("absolute", target), ("relative", Path("../elsewhere/run"))):
        link = folder / name
        link.symlink_to(leads_to)
        trashed = trash_run(folder, link)
        assert trashed.is_symlink()
        assert trashed.resolve() == target
        back = restore_run(trashed)
        assert back == link
        moved = move_run(back, prepared(folder / "sub"))
        assert moved.resolve() == target
    assert names(folder) == {"sub/absolute", "sub/relative"}
    assert read_row(target).state == "finished"


def prepared(folder: Path) -> Path:
    prepare_folder(folder)
    return folder


def test_active_and_locked_runs_and_other_directories_are_refused(tmp_path: Path) -> None:
    active = create_run_at(tmp_path / "active", moons(), teacher="", student="")
    locked = finished_run(tmp_path / "locked")
    (tmp_path / "letters").mkdir()
    (tmp_path / "to").mkdir()
    with run_lock(locked):
        for run, reason in ((active, "is queued"), (locked, "Another process"), (tmp_path / "letters", "has no")):
            for change in (lambda run: trash_run(tmp_path, run), lambda run: move_run(run, tmp_path / "to")):
                with pytest.raises(RunError) as refused:
                    change(run)
                assert reason in refused.value.cause
    outside = finished_run(tmp_path / "locked" / "inner")
    with pytest.raises(RunError, match="is not in"):
        trash_run(tmp_path / "to", outside)
    trashed = trash_run(tmp_path, locked)
    with pytest.raises(RunError, match="is not in"):
        trash_run(tmp_path, trashed)
    with pytest.raises(RunError, match="not a run in the trash"):
        restore_run(tmp_path / "active")


@pytest.mark.parametrize("change", ["trash", "move", "restore"])
@pytest.mark.parametrize(("number", "message"), [(errno.EXDEV, "on another drive"), (errno.EROFS, "Read-only")])
def test_a_rename_that_fails_leaves_the_run(
    change: str, number: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path / "a")
    if change == "restore":
        run = trash_run(tmp_path, run)
    folder = prepared(tmp_path / "to")
    before = content(run)

    def fail(self: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number), str(self))

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", fail)
    changes = {
        "trash": lambda: trash_run(tmp_path, run),
        "move": lambda: move_run(run, folder),
        "restore": lambda: restore_run(run),
    }
    with pytest.raises(RunError, match=message):
        changes[change]()
    monkeypatch.setattr(Path, "rename", rename)
    assert content(run) == before
    if change == "trash":
        assert list((tmp_path / ".trash").iterdir()) == []


@not_root
def test_in_a_folder_that_cannot_be_written_the_run_stays(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "a")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot be moved to the trash"):
            trash_run(tmp_path, run)
    finally:
        tmp_path.chmod(0o700)
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_in_place_of_the_trash_is_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    run = finished_run(folder / "a")
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        (folder / ".trash").write_text("")
    else:
        (folder / ".trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot be moved to the trash"):
        trash_run(folder, run)
    assert names(folder) == {"a"}


@linux
def test_the_trash_is_emptied_into_that_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # another file system than that of the home has a trash of its own
    system = Path(os.environ["XDG_DATA_HOME"]) / "Trash"
    shutil.rmtree(system, ignore_errors=True)
    before = {}
    for name in ("a", "b"):
        run = finished_run(tmp_path / name)
        (run / "thesis.docx").write_text(name)
        before[name] = content(trash_run(tmp_path, run))
    empty_trash(tmp_path)
    assert not (tmp_path / ".trash").exists()
    assert {name: content(system / "files" / name) for name in before} == before
    assert list_trash(tmp_path) == ([], 0)
    empty_trash(tmp_path)


def test_what_cannot_be_removed_stays_in_the_trash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, stuck, resumed = (trash_run(tmp_path, finished_run(tmp_path / name)) for name in ("gone", "stuck", "resumed"))
    write_row(resumed, msgspec.structs.replace(read_row(resumed), state="running"))

    def send(path: Path) -> None:
        if path == stuck:
            raise OSError(errno.EIO, "Input/output error")
        shutil.rmtree(path)

    monkeypatch.setattr("nfkd.runs.trash.send2trash", send)
    with pytest.raises(RunError, match="cannot be emptied") as refused:
        empty_trash(tmp_path)
    assert "Input/output error" in refused.value.cause
    assert "resumed is running" in refused.value.cause
    assert {row.run for row in list_trash(tmp_path)[0]} == {str(stuck), str(resumed)}
    assert not gone.exists()
    assert restore_run(stuck) == tmp_path / "stuck"


# --- moves ------------------------------------------------------------------------------------------------------------


def test_runs_move_into_a_new_folder_and_empty_ones_are_removed(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path / "old" / "deep" / name) for name in ("a", "b")]
    folder = prepared(tmp_path / "new" / "sub")
    before = content(runs[0])
    assert move_run(runs[0], folder) == folder / "a"
    assert (tmp_path / "old" / "deep").is_dir()
    move_run(runs[1], folder)
    assert not (tmp_path / "old").exists()
    assert names(tmp_path) == {"new/sub/a", "new/sub/b"}
    assert content(folder / "a") == before
    assert move_run(folder / "a", folder) == folder / "a"


def test_a_taken_name_and_bad_folders_are_refused(tmp_path: Path) -> None:
    run, other = finished_run(tmp_path / "a"), finished_run(tmp_path / "to" / "a")
    with pytest.raises(RunError, match="already"):
        move_run(run, tmp_path / "to")
    assert (run.is_dir(), other.is_dir()) == (True, True)
    (tmp_path / "file").write_text("")
    for folder in ("x/../y", ".hidden", "a/inner", "file", "file/x", "b?d/c", "new\n", "to/" + "x" * 200):
        with pytest.raises(RunError, match="cannot be moved"):
            prepare_folder(tmp_path / folder)
    with pytest.raises(RunError, match="not an absolute path"):
        prepare_folder(Path("relative"))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "to", "file"}


# --- runs in sub-folders ----------------------------------------------------------------------------------------------


def test_runs_are_found_three_levels_down_and_not_inside_runs_hidden_folders_or_links(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for name in ("a", "1/b", "1/2/c", "1/2/3/d", "1/2/3/4/e", "a/inner", ".hidden/f", ".trash/g", "1/.git/h"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "state.json").write_text("{}")
    (folder / "loop").symlink_to(folder)
    (folder / "1" / "up").symlink_to("..")
    (folder / "self").symlink_to("self")
    (folder / "linked").symlink_to(folder / "1" / "b")
    found = {str(Path(run.path).relative_to(folder)) for run in find_runs(str(folder))}
    assert found == {"a", "1/b", "1/2/c", "1/2/3/d", "linked"}


@not_root
def test_a_sub_folder_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    finished_run(tmp_path / "a")
    closed = finished_run(tmp_path / "closed" / "b").parent
    closed.chmod(0)
    try:
        assert names(tmp_path) == {"a"}
    finally:
        closed.chmod(0o700)
