"""Atomic creation and replacement of a directory, and removal of what killed processes left."""

from __future__ import annotations

import os
import shutil
import tempfile
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
    temporary = _begin(path)
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


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`, which replaces that directory at the end; an error leaves it as it is.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    temporary, before = _begin(path), _temporary(path)
    try:
        yield temporary
        path.rename(before)
        try:
            temporary.rename(path)
        except OSError:
            before.rename(path)
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(before, ignore_errors=True)


def private_directory(prefix: str) -> Path:
    """Create a directory of this process in the system's temporary folder, which only this user can read.

    Those of processes that have ended are removed.
    """
    folder = Path(tempfile.gettempdir())
    _remove_leftovers(folder, prefix)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-{process_started():.2f}-", dir=folder))


def _begin(path: Path) -> Path:
    """Create a temporary directory beside a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    temporary = _temporary(path)
    temporary.mkdir()
    return temporary


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_PREFIX}{os.getpid()}-{process_started():.2f}-{next(_numbers)}")


def _remove_leftovers(folder: Path, prefix: str = _PREFIX) -> None:
    for path in folder.glob(f"{prefix}*"):
        try:
            pid, started, _ = path.name.removeprefix(prefix).split("-")
            is_running = process_is_running(int(pid), float(started))
        except ValueError:
            continue  # not created by this module
        if not is_running:
            shutil.rmtree(path, ignore_errors=True)
