"""Safe file access: opens regular files only, limits reads, and replaces files atomically.

A path from a user or in a run's directory may be a FIFO, a device or a directory. Opening a FIFO blocks, and reading a
device may never end, so every file is opened or checked here first.
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
_MODE = 0o666  # the umask applies


class FileError(OSError):
    """A file was refused; `strerror` is the reason, as a predicate of the path."""

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


class FileKindError(FileError):
    """A path leads to a FIFO, a device, a socket or a directory instead of a regular file."""


class FileTooLargeError(FileError):
    """A file is larger than its reader's limit."""


def is_regular(path: Path) -> bool:
    """Return whether a path leads to a regular file; False also for an invalid path."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether a path leads to a directory; False also for an invalid path."""
    return stat.S_ISDIR(_mode(path))


def is_taken(path: Path) -> bool:
    """Return whether a path exists; True also for a broken link."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null character in the name
        return 0


def file_kind(path: Path) -> str:
    """Return a message such as ``is a FIFO, not a regular file``; empty for a regular or missing file."""
    mode = _mode(path)
    return _kind_label(mode) if mode and not stat.S_ISREG(mode) else ""


def is_inflated(path: Path) -> bool:
    """Return whether the members of a zip archive claim more bytes than the whole file.

    `torch.save` does not compress; compressed members could take any amount of memory.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
            return claimed > os.fstat(file.fileno()).st_size
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False  # not an archive


def require_regular(path: Path | str) -> os.stat_result:
    """Return the status of a regular file; follows links.

    For libraries that open a path themselves; otherwise use `open_regular`.

    Raises
    ------
    FileKindError
        When the path does not lead to a regular file.
    OSError
        When the file is missing or not accessible.
    """
    _refuse_null(path)
    status = os.stat(path)  # noqa: PTH116 - also for text
    _refuse_other_kinds(path, status.st_mode)
    return status


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a regular file for reading bytes, without blocking. Raises as `require_regular`."""
    require_regular(path)  # checked first: opening a device can have side effects
    descriptor = os.open(path, _READ_FLAGS)
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode)  # it may have been replaced since
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_limited(path: Path | str, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes. A path as text saves time with many files.

    Raises
    ------
    FileTooLargeError
        When the file is larger.
    FileKindError, OSError
        As `require_regular`.
    """
    with open_regular(path) as file:
        size = min(os.fstat(file.fileno()).st_size, limit)
        data = file.read(size + 1)  # of a larger number, memory would be reserved first
        if len(data) > size:  # it grows, or is in a file system without sizes
            data += file.read(limit - size)
    if len(data) > limit:
        raise FileTooLargeError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
    return data


def read_tail(path: Path, limit: int, start: int = 0) -> tuple[bytes, int]:
    """Return the end of a regular file from byte `start` on, at most `limit` bytes, and the position of its end.

    Raises as `require_regular`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        begin = max(start, size - limit)
        file.seek(begin)
        data = file.read(limit)
        return data, begin + len(data)


def open_for_update(path: Path, *, append: bool = False) -> BinaryIO:
    """Open a regular file for overwriting or, with `append`, for appending; `append` creates a missing file.

    A link is refused, since it may lead to another user's file. Raises as `require_regular`.
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
    """Write a file atomically: yields a temporary file, which replaces `path` at the end.

    Links at both paths are replaced and not followed. The data is on the disk before the file is renamed, and the file
    has the permissions of a new file.

    Parameters
    ----------
    path
        The file.
    keep
        The new path of an existing file, if it is to be kept.

    Raises
    ------
    OSError
        When it cannot be written; an existing file stays, and the temporary file is removed.
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
        temporary.chmod(stat.S_IMODE(mode))  # a library may have created the file with other permissions
        if keep is not None and is_regular(path):
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Write bytes to a file atomically; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _refuse_other_kinds(path: Path | str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    raise FileKindError(errno.EINVAL, _kind_label(mode), str(path))


def _kind_label(mode: int) -> str:
    kind = next((label for test, label in _KINDS if test(mode)), "a special file")
    return f"is {kind}, not a regular file"


def _refuse_null(path: Path | str) -> None:
    if "\0" in str(path):
        raise FileKindError(errno.EINVAL, "contains a null character, which no file name can", repr(str(path)))
