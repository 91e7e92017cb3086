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
def run_lock(run: Path, name: str = NAME, *, wait: float = 0.0) -> Iterator[None]:
    """Lock a run's directory, by the file of a name; waits for so many seconds for another process.

    Raises
    ------
    RunError
        When another process has locked it, or it cannot be written to.
    """
    lock = FileLock(run / name)
    try:
        if is_taken(run / name):
            require_regular(run / name)
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise RunError(
            title="The run is in use",
            cause=f"Another process is writing to {run}.",
            action="Wait until it has ended, or stop it, and try again.",
        ) from error
    except OSError as error:
        raise RunError(
            title="The run cannot be written",
            cause=f"{error}." if isinstance(error, FileError) else f"{run / name}: {error.strerror}.",
            action="Choose a directory that you may write to.",
        ) from error
    try:
        yield
    finally:
        lock.release()
