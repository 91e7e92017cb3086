"""Writing HDF5 to a disk that may refuse: whole files or none, one clear error, and an orderly end."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from nfkd.runs.errors import RunError
from nfkd.runs.schema import Node

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_SYSTEM = re.compile(r"errno = (\d+), error message = '([^']*)'")


def words_of(error: BaseException) -> str:
    """Return what an error says, in one line: HDF5 adds times, addresses and offsets."""
    found = _SYSTEM.search(str(error))
    if found:
        return found[2]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what a disk refuses into a `RunError` that names the directory."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises both
        found = _SYSTEM.search(str(error))
        number = int(found[1]) if found else getattr(error, "errno", None)
        full = number in _FULL
        title = "The disk is full" if full else "The run cannot be written"
        cause = f"Nothing more can be written to {directory}." if full else f"{directory}: {words_of(error)}."
        action = "Make room, or choose a folder that you may write to, and resume; what was written stays readable."
        raise RunError(title, cause, action) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Node]:
    """Make an HDF5 file beside its place; it takes it when all of it is on the disk, or is taken away.

    Raises
    ------
    OSError, RuntimeError
        When it cannot be written; an older file is untouched then.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        file = h5py.File(temporary, "w", libver="latest")
        try:
            yield file
            file.flush()
        except BaseException:
            abandon(file)
            raise
        file.close()
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)


def abandon(file: Node) -> None:
    """Close a file that the disk refuses; what it still holds back is thrown away.

    HDF5 2.0 ends the process with a segmentation fault, at the latest when the library is left, where a close cannot
    write what it must. So its last writes go to the null device.
    """
    with suppress(OSError, RuntimeError, ValueError):
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(null, file.id.get_vfd_handle())
        finally:
            os.close(null)
    with suppress(OSError, RuntimeError):
        file.close()
