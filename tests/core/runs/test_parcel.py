"""The files of a run in pieces, and the replacement of its directory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.building import private_directory, replacing_directory
from nfkd.runs.parcel import pieces, write_piece

NAMES = st.text("abcxyz.-_ ä", min_size=1, max_size=8).filter(lambda name: bool(name.strip(". ")))
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=40), max_size=6)


def content(folder: Path) -> dict[str, bytes | None]:
    """Return every file and directory below a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")
    }


@given(tree=TREES, size=st.integers(1, 64))
def test_pieces_give_the_same_files(tree: dict[tuple[str, ...], bytes], size: int) -> None:
    with TemporaryDirectory() as name:
        source, target = Path(name, "source"), Path(name, "target")
        source.mkdir()
        target.mkdir()
        for parts, data in tree.items():
            path = source.joinpath(*parts)
            if all(not parent.is_file() for parent in path.parents) and not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        (source / "empty directory").mkdir(exist_ok=True)
        found = list(pieces(source, size))
        assert all(sum(len(data) for _, data in piece) <= size for piece in found)
        for piece in found:
            write_piece(target, piece)
        assert content(target) == content(source)


def test_links_locks_labels_and_temporary_files_stay(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (".lock", "labels.json", "state.json.tmp", "state.json"):
        (run / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    (run / "link").symlink_to(tmp_path / "secret")
    assert list(pieces(run)) == [[("state.json", b""), ("state.json", b"state.json")]]


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "C:/out", "C:out", "a\\..\\out", ""])
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out"):
        write_piece(tmp_path / "run", [(name, b"x")])
    assert list(tmp_path.iterdir()) == []


def _replace_on_a_full_disk(run: Path) -> None:
    with replacing_directory(run) as new:
        (new / "new").write_text("new")
        raise OSError(28, "full")


def test_a_directory_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "old").write_text("old")
    with pytest.raises(OSError, match="full"):
        _replace_on_a_full_disk(run)
    assert content(tmp_path) == {"run": None, "run/old": b"old"}
    with replacing_directory(run) as new:
        (new / "new").write_text("new")
        assert content(run) == {"old": b"old"}
    assert content(tmp_path) == {"run": None, "run/new": b"new"}


def test_private_directories_of_ended_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "nfkd-test-999999999-1.00-abc"
    left.mkdir()
    own = private_directory("nfkd-test-")
    other = private_directory("nfkd-test-")
    assert {path.name for path in tmp_path.iterdir()} == {own.name, other.name}
    assert own.stat().st_mode & 0o077 == 0
