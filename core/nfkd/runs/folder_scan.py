"""Repeated scans of a folder of runs, which read again only what may have changed. Opens no HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from nfkd.protocol.events import RunChanged, RunRemoved, RunRow
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.finding import FileStamp, FoundRun, file_stamp, find_runs
from nfkd.runs.labels import LABELS, NO_LABELS, read_labels
from nfkd.runs.state import ACTIVE, read_stored_state, with_labels
from nfkd.text import is_utf8_name, plain


class RunStamp(NamedTuple):
    """Stamps of the files that a row is made of; the labels are None if there are none."""

    state: FileStamp
    labels: FileStamp | None


class SeenRun(NamedTuple):
    """A run as a scan found it.

    Attributes
    ----------
    row
        None if its state file has never been readable.
    stamp
        Of its files; None to read them again at the next scan.
    problem
        Why its state or its labels cannot be read; empty otherwise.
    stale
        Whether its state cannot be read now, so that the row is an earlier one.
    """

    row: RunRow | None
    stamp: RunStamp | None = None
    problem: str = ""
    stale: bool = False


def scan_runs(folder: Path | str, seen: Mapping[str, SeenRun]) -> dict[str, SeenRun]:
    """Return the runs of a folder and its sub-folders by directory; a missing folder has none.

    A run is read if its state or its labels have changed, or if it was active: its process may have ended without a
    change.

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
    try:
        return {run.path: found for run in find_runs(str(folder)) if (found := _look(run, seen.get(run.path)))}
    except FileNotFoundError:
        return {}


def scan_listed(folder: Path, seen: Mapping[str, SeenRun]) -> dict[str, SeenRun]:
    """Return what `scan_runs` does.

    Raises
    ------
    RunError
        When the folder cannot be read.
    """
    try:
        return scan_runs(folder, seen)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise RunError(
            title="The runs cannot be listed",
            cause=f"{folder}: {describe_error(error)}.",
            action="Choose another folder.",
        ) from error


def rows_of(runs: Iterable[SeenRun]) -> tuple[list[RunRow], list[str]]:
    """Return the present rows of a scan, newest first, and its problems."""
    runs = list(runs)
    rows = [run.row for run in runs if run.row is not None and not run.stale]
    return sorted(rows, key=lambda row: row.created, reverse=True), sorted(run.problem for run in runs if run.problem)


def _look(run: FoundRun, before: SeenRun | None) -> SeenRun | None:
    if run.stamp is None:
        return before
    stamp = RunStamp(run.stamp, _labels_stamp(run.path))
    if before is None:
        return _read(run.path, None, stamp)
    active = before.row is not None and before.row.state in ACTIVE
    return before if stamp == before.stamp and not active else _read(run.path, before.row, stamp)


def _labels_stamp(run: str) -> FileStamp | None:
    try:
        return file_stamp(f"{run}{os.sep}{LABELS}")
    except OSError:  # such as a loop of links: reading it says so
        return FileStamp(0, 0, 0)


def _read(run: str, before: RunRow | None, stamp: RunStamp) -> SeenRun:
    if not is_utf8_name(run):
        problem = f"{plain(run)}: its name is not valid UTF-8. Rename the folder."
        return SeenRun(None, stamp, problem)
    try:
        row = read_stored_state(run).row
    except RunError as error:
        return SeenRun(before, stamp, str(error), stale=True)
    labels, problem = NO_LABELS, ""
    if stamp.labels is not None:
        try:
            labels = read_labels(run)
        except RunError as error:
            problem = str(error)
    return SeenRun(with_labels(row, labels), stamp, problem)


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
