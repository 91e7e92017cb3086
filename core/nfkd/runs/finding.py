"""Finds the directories of runs in a folder and its sub-folders. Reads no file.

Paths are text here: for thousands of runs, `Path` takes much longer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePath
from typing import NamedTuple

from nfkd.runs.state import STATE

MAX_LEVELS = 3
"""Levels of sub-folders that may hold runs."""


class FileStamp(NamedTuple):
    """Tells whether a file was changed or replaced."""

    inode: int
    size: int
    modified: int


class FoundRun(NamedTuple):
    """A directory with a state file.

    Attributes
    ----------
    stamp
        Of its state file; None if this cannot be told, as of a directory that may not be read at the moment.
    """

    path: str
    stamp: FileStamp | None


def file_stamp(path: str | os.PathLike[str]) -> FileStamp | None:
    """Return the stamp of a file; None if it is missing."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _stamp(status)


def find_runs(folder: str, *, levels: int = MAX_LEVELS) -> Iterator[FoundRun]:
    """Yield the runs in a folder and its sub-folders.

    Hidden directories, the directories inside runs, and sub-folders that cannot be read are skipped. Links to runs
    count as runs; other links to directories are not followed.

    Parameters
    ----------
    folder
        Its path, as the first part of those of the runs.
    levels
        Levels of sub-folders.

    Raises
    ------
    OSError
        When the folder itself cannot be read.
    """
    with os.scandir(folder) as entries:
        directories = [entry for entry in entries if not entry.name.startswith(".") and _is_directory(entry)]
    for entry in directories:
        path = entry.path
        try:
            stamp = _state_stamp(path)
        except (FileNotFoundError, NotADirectoryError):
            if levels and not entry.is_symlink():
                yield from _find_below(path, levels - 1)
        except OSError:
            yield FoundRun(path, None)
        else:
            yield FoundRun(path, stamp)


def _find_below(folder: str, levels: int) -> Iterator[FoundRun]:
    try:
        yield from find_runs(folder, levels=levels)
    except OSError:
        return


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a loop of links
        return False


def _state_stamp(directory: str) -> FileStamp:
    """Return the stamp of a run's state file, also of a link that leads nowhere."""
    path = f"{directory}{os.sep}{STATE}"
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        with suppress(OSError):
            status = os.stat(path)  # noqa: PTH116
    return _stamp(status)


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_ino, status.st_size, status.st_mtime_ns)


def folder_below(run: str, base: str) -> str:
    """Return the folder of a run below another, with slashes; empty for that folder itself, and outside of it."""
    parent = PurePath(run).parent
    return parent.relative_to(base).as_posix().removeprefix(".") if base and parent.is_relative_to(base) else ""
