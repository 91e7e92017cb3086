"""Atomic creation of a directory, and removal of what a killed process has left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil

_PREFIX = ".nfkd-new-"  # then PID, start time of the process, and a number
_numbers = count()


def process_started() -> float:
    """Return when this process started, in seconds since the epoch; tells it from another that gets its PID later."""
    return psutil.Process().create_time()


def process_lives(pid: int, started: float) -> bool:
    """Return whether the process with a PID and a start time is running."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except (psutil.Error, ValueError, OverflowError):  # the last two: of a number that no process has
        return False


def is_temporary(path: Path) -> bool:
    """Return whether a directory is one that `building` has not finished."""
    return path.name.startswith(_PREFIX)


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield a new directory beside `path`, and move it there at the end; nothing is left where that fails.

    A killed process leaves no more than the directory beside it, which the next call in the same folder removes.

    Raises
    ------
    OSError
        When the folder cannot be written, or another process has made `path` meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{process_started():.2f}-{next(_numbers)}")
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        try:
            pid, started, _ = path.name.removeprefix(_PREFIX).split("-")
            living = process_lives(int(pid), float(started))
        except ValueError:
            continue  # not a name of ours
        if not living:
            shutil.rmtree(path, ignore_errors=True)
