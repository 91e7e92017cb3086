"""Files by name: only regular ones are opened, reads have a limit, and a write replaces the whole file.

A path that a user names, or that lies in a run's directory, may lead to a FIFO, a device or a directory. Opening a FIFO
waits until somebody writes to it, and a device may never end; so every file is opened or checked here first.
"""

from __future__ import annotations

import errno
import os
import stat
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
_MODE = 0o666  # less the umask, as for every file that a program makes


class FileKindError(OSError):
    """A path that leads to a FIFO, a device, a socket or a directory where a regular file is expected."""


class FileTooLargeError(OSError):
    """A file that is larger than the limit of its reader."""


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
    about = path.stat()
    _refuse_other_kinds(path, about.st_mode)
    return about


def open_regular(path: Path) -> BinaryIO:
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a new empty file, which takes the place of `path` at the end.

    A link at `path`, or at the temporary path, is replaced and never followed. The file is on the disk before it takes
    its place, and has the permissions of any new file (the umask applies).

    Raises
    ------
    OSError
        When it cannot be written; an older file is untouched then, and the temporary one is removed.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, _CREATE_FLAGS, _MODE))
        mode = temporary.stat().st_mode
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(stat.S_IMODE(mode))  # a library may have made a file of its own, with other permissions
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
    kind = next((words for test, words in _KINDS if test(mode)), "a special file")
    raise FileKindError(errno.EINVAL, f"is {kind}, not a regular file", str(path))
