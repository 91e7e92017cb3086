"""Files by name: only regular ones are opened, reads have a limit, and a write replaces the whole file.

A path that a user names, or that lies in a run's directory, may lead to a FIFO, a device or a directory. Opening a FIFO
waits until somebody writes to it, and a device may never end; so every file is opened or checked here first.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_UPDATE_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o666  # less the umask, as for every file that a program makes


class FileError(OSError):
    """A file that is not opened; `strerror` says why, with the path as its subject."""

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


class FileKindError(FileError):
    """A path that leads to a FIFO, a device, a socket or a directory where a regular file is expected."""


class FileTooLargeError(FileError):
    """A file that is larger than the limit of its reader."""


def is_regular(path: Path) -> bool:
    """Return whether a path leads to a regular file; False also for a path that no file can have."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether a path leads to a directory; False also for a path that no directory can have."""
    return stat.S_ISDIR(_mode(path))


def is_taken(path: Path) -> bool:
    """Return whether anything has this path, a link that leads nowhere included."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # a ValueError: a null character in the name
        return 0


def file_kind(path: Path) -> str:
    """Return what a path leads to, such as ``is a FIFO, not a regular file``; empty for a regular file or nothing."""
    mode = _mode(path)
    return _kind_label(mode) if mode and not stat.S_ISREG(mode) else ""


def is_inflated(path: Path) -> bool:
    """Return whether the members of a zip archive claim more bytes than the whole file has.

    Those of `torch.save` are not packed; others could so take any amount of memory.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
            return claimed > os.fstat(file.fileno()).st_size
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False  # no archive


def require_regular(path: Path) -> os.stat_result:
    """Return the status of a regular file, links followed.

    For libraries that open a path themselves; everything else uses `open_regular`.

    Raises
    ------
    FileKindError
        When the path leads to anything but a regular file.
    OSError
        When there is no such file, or it cannot be looked at.
    """
    _refuse_null(path)
    about = path.stat()
    _refuse_other_kinds(path, about.st_mode)
    return about


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading bytes; never waits for a writer. Raises as `require_regular`."""
    require_regular(path)  # before it is opened: opening a device can have effects
    descriptor = os.open(path, _READ_FLAGS)
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode)  # it may have been replaced in between
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file.

    Parameters
    ----------
    path
        The file.
    limit
        The most bytes that are read.

    Raises
    ------
    FileTooLargeError
        When the file is larger.
    FileKindError, OSError
        As `require_regular`.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FileTooLargeError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
    return data


def read_tail(path: Path, limit: int) -> tuple[bytes, bool]:
    """Return the last bytes of a regular file, at most `limit`, and whether there are more before them.

    Raises as `require_regular`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - limit))
        return file.read(limit), size > limit


def open_for_update(path: Path, *, append: bool = False) -> BinaryIO:
    """Open a regular file for writing over it, or at its end; with `append`, a missing one is made.

    A link is refused, since it may lead to a file of somebody else. Raises as `require_regular`.
    """
    if is_taken(path):
        require_regular(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT if append else os.O_RDWR
    descriptor = os.open(path, flags | _UPDATE_FLAGS, _MODE)
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "ab" if append else "r+b")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def replacing(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Write a file whole or not at all: yields a new empty file, which takes the place of `path` at the end.

    A link at `path`, or at the temporary path, is replaced and never followed. The file is on the disk before it takes
    its place, and has the permissions of any new file (the umask applies).

    Parameters
    ----------
    path
        The file.
    keep
        Where the older file is kept, if there is one.

    Raises
    ------
    OSError
        When it cannot be written; an older file is untouched then, and the temporary one is removed.
    """
    _refuse_null(path)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, _CREATE_FLAGS, _MODE))
        mode = temporary.stat().st_mode
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(stat.S_IMODE(mode))  # a library may have made a file of its own, with other permissions
        if keep is not None and is_regular(path):
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Write bytes to a file as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _refuse_other_kinds(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    raise FileKindError(errno.EINVAL, _kind_label(mode), str(path))


def _kind_label(mode: int) -> str:
    kind = next((words for test, words in _KINDS if test(mode)), "a special file")
    return f"is {kind}, not a regular file"


def _refuse_null(path: Path) -> None:
    if "\0" in str(path):
        raise FileKindError(errno.EINVAL, "holds a null character, and no file's name can", repr(str(path)))
