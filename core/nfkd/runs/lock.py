"""Lock on a run's directory, released when the process ends: one writer per run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nfkd.files import FileError, is_taken, require_regular
from nfkd.runs.errors import RunError

NAME = ".lock"


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Lock a run's directory.

    Raises
    ------
    RunError
        When another process has locked it, or it cannot be written to.
    """
    lock = FileLock(run / NAME)
    try:
        if is_taken(run / NAME):
            require_regular(run / NAME)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            title="The run is in use",
            cause=f"Another process is writing to {run}.",
            action="Wait until it has ended, or stop it, and try again.",
        ) from error
    except OSError as error:
        raise RunError(
            title="The run cannot be written",
            cause=f"{error}." if isinstance(error, FileError) else f"{run / NAME}: {error.strerror}.",
            action="Choose a directory that you may write to.",
        ) from error
    try:
        yield
    finally:
        lock.release()
