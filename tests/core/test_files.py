"""Only regular files are opened; files are replaced atomically, and links are not followed."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from nfkd.files import (
    FileKindError,
    FileTooLargeError,
    open_regular,
    read_limited,
    replace_file,
    replacing,
    require_regular,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.fixture(params=["directory", "fifo", "socket", "device"])
def special(request, tmp_path):
    path, listener = tmp_path / "special", socket.socket(socket.AF_UNIX)
    match request.param:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            listener.bind(os.path.relpath(path))
        case "device":
            path = Path("/dev/zero")
    yield path
    listener.close()


@posix
@pytest.mark.timeout(20)
def test_a_special_file_is_refused_at_once(special):
    for read in (open_regular, require_regular, lambda path: read_limited(path, 10)):
        with pytest.raises(FileKindError, match="not a regular file"):
            read(special)


@posix
def test_a_link_to_a_special_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(FileKindError, match="a FIFO"):
        open_regular(tmp_path / "link")


def test_reading_a_large_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        open_regular(path)
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(FileTooLargeError, match="larger than 4 bytes"):
        read_limited(path, 4)


@posix
@pytest.mark.parametrize("planted", ["file", "file.tmp"])
def test_a_planted_link_is_replaced_and_not_followed(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / planted).symlink_to(victim)
    replace_file(tmp_path / "file", b"new")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@posix
def test_permissions_follow_the_umask_also_when_a_library_creates_the_file(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.unlink()
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        replace_file(path, None)  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
