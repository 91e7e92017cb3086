"""Keeps requests from changing a run's directory while it trains, or while another request changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nfkd.runs.errors import RunError


class RunGuard:
    """Allows one change of a run's directory at a time; belongs to the running loop.

    Parameters
    ----------
    is_own
        Returns whether the engine trains a run, or will train it.
    """

    def __init__(self, is_own: Callable[[str], bool]) -> None:
        self._is_own = is_own
        self._changing: set[str] = set()

    def refuse_unfinished(self, run: str, verb: str) -> None:
        """Raise a `RunError` if the engine trains a run or will train it; `verb` says what was to be done with it."""
        if self._is_own(run):
            title, cause = f"The run cannot be {verb}", f"{Path(run).name} is still training or queued."
            raise RunError(title, cause, "Stop it first.")

    @contextmanager
    def changing(self, run: str) -> Iterator[None]:
        """Refuse other changes of a run's directory meanwhile."""
        if run in self._changing:
            title, cause = "The run is being changed", f"Another request is changing {Path(run).name}."
            raise RunError(title, cause, "Try again.")
        self._changing.add(run)
        try:
            yield
        finally:
            self._changing.discard(run)
