"""Repeated scans of a folder of runs, which read again only what may have changed. Opens no HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from nfkd.protocol.events import RunChanged, RunRemoved, RunRow
from nfkd.runs.building import is_temporary
from nfkd.runs.errors import RunError
from nfkd.runs.state import ACTIVE, STATE, read_row
from nfkd.text import is_utf8_name


class FileStamp(NamedTuple):
    """Tells whether a file was changed or replaced."""

    inode: int
    size: int
    modified: int


class SeenRun(NamedTuple):
    """A run as a scan found it.

    Attributes
    ----------
    row
        None if its state file cannot be read.
    stamp
        Of its state file; None to read the file again at the next scan.
    """

    row: RunRow | None
    stamp: FileStamp | None = None


def file_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a file; None if it is missing."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileStamp(status.st_ino, status.st_size, status.st_mtime_ns)


def scan_runs(folder: Path, seen: Mapping[str, SeenRun]) -> dict[str, SeenRun]:
    """Return the runs of a folder by directory; a missing folder has none.

    A state file is read if it has changed, or if the run was active: its process may have ended without a change.

    Parameters
    ----------
    folder
        An absolute path.
    seen
        The result of the scan before.

    Raises
    ------
    OSError
        When the folder cannot be read.
    """
    found: dict[str, SeenRun] = {}
    for run in _directories(folder):
        before = seen.get(run)
        if before is None and not _may_be_run(run):
            continue
        try:
            stamp = file_stamp(Path(run, STATE))
        except OSError:  # such as a directory that may not be read at the moment
            if before is not None:
                found[run] = before
            continue
        if stamp is not None:
            found[run] = _read(run, before or SeenRun(None), stamp)
    return found


def _directories(folder: Path) -> list[str]:
    """Return all paths in a folder as text, which is much faster than `Path` for thousands of runs."""
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]  # noqa: PTH118, PTH208
    except FileNotFoundError:
        return []


def _may_be_run(directory: str) -> bool:
    path = Path(directory)
    return is_utf8_name(path.name) and not is_temporary(path)


def _read(run: str, before: SeenRun, stamp: FileStamp) -> SeenRun:
    active = before.row is not None and before.row.state in ACTIVE
    if stamp == before.stamp and not active:
        return before
    try:
        return SeenRun(read_row(Path(run)), stamp)
    except RunError:
        return SeenRun(before.row, stamp)


def changes(before: Mapping[str, SeenRun], after: Mapping[str, SeenRun]) -> Iterator[RunChanged | RunRemoved]:
    """Yield the differences between two scans."""
    for run, seen in before.items():
        if run not in after and seen.row is not None:
            yield RunRemoved(run=run)
    for run, seen in after.items():
        old = before.get(run, SeenRun(None)).row
        if seen.row is not None and seen.row is not old and not (old and same_row(old, seen.row)):
            yield RunChanged(run=run, row=seen.row)


def same_row(one: RunRow, other: RunRow) -> bool:
    """Return whether two rows have equal fields; NaN equals NaN."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)
