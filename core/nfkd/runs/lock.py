"""One writer a run: a lock on its directory that ends with the process."""

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
    """Hold a run's directory.

    Raises
    ------
    RunError
        When another process, or another engine, holds it or it cannot be written to.
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
            action="Wait for it to end, or stop it, and try again.",
        ) from error
    except OSError as error:
        raise RunError(
            title="The run cannot be written",
            cause=f"{error}." if isinstance(error, FileError) else f"{run / NAME}: {error.strerror}.",
            action="Choose a directory that is yours to write to.",
        ) from error
    try:
        yield
    finally:
        lock.release()
