"""Atomic creation of a directory, and removal of what killed processes left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil

_PREFIX = ".nfkd-new-"  # followed by PID, start time of the process, and a number
_numbers = count()


def process_started() -> float:
    """Return the start time of this process in seconds since the epoch; detects a reused PID."""
    return psutil.Process().create_time()


def process_is_running(pid: int, started: float) -> bool:
    """Return whether the process with this PID and start time is running."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except (psutil.Error, ValueError, OverflowError):  # the last two: a number that no PID can have
        return False


def is_temporary(path: Path) -> bool:
    """Return whether a directory is an unfinished one of this module."""
    return path.name.startswith(_PREFIX)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a new directory in the folder of `path`, which is created if missing; remove it at the end.

    A killed process leaves it, and the next call in the same folder removes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{process_started():.2f}-{next(_numbers)}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; rename it to `path` at the end, or remove it after an error.

    Raises
    ------
    OSError
        When the folder cannot be written, or another process created `path` meanwhile.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        temporary.rename(path)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        try:
            pid, started, _ = path.name.removeprefix(_PREFIX).split("-")
            is_running = process_is_running(int(pid), float(started))
        except ValueError:
            continue  # not created by this module
        if not is_running:
            shutil.rmtree(path, ignore_errors=True)
