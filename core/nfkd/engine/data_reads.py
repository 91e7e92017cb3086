"""Threads that load data for requests: they report what takes long, and can be cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from nfkd.config import DataConfig
from nfkd.config.toml import toml_text
from nfkd.data.progress import reporting
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.events import DataReading
from nfkd.runs.errors import RunError

_QUIET_SECONDS = 0.5  # without a report
_EVERY = 0.25  # seconds between two reports
_CANCELLED = ("The data was not read", "Reading it was cancelled.", "Ask again to read it.")


class DataReads:
    """The data sets that are being loaded; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with every report, in the loop's thread.
    limits
        `work_seconds` is the time of a load without a report.
    """

    def __init__(self, emit: Callable[[DataReading], None], limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit, self._limits = emit, limits
        self._reads: list[_Read] = []

    async def run(
        self, threads: RequestThreads, data: DataConfig, function: Callable[[Any], Any], argument: Any, *, about: str
    ) -> Any:
        """Return the result of a function that loads a data set in one of the threads.

        Raises
        ------
        RunError
            When the data is silent for too long, or its loading is cancelled.
        """
        read = _Read(toml_text(data), self._report)
        self._reads.append(read)
        try:
            return await threads.run(
                read,
                function,
                argument,
                about=about,
                limit=self._limits.work_seconds,
                last_progress=lambda: read.last_progress,
            )
        finally:
            self._reads.remove(read)
            read.cancelled = True  # nobody waits for a thread that still runs

    def cancel(self, text: str) -> None:
        """Cancel the loading of a data set, by its ``[data]`` table as `toml_text` writes it."""
        for read in self._reads:
            if read.text == text:
                read.cancelled = True

    def stop(self) -> None:
        """Cancel everything."""
        for read in self._reads:
            read.cancelled = True

    def _report(self, event: DataReading) -> None:
        self._loop.call_soon_threadsafe(self._emit, event)


class _Read:
    """One load of a data set."""

    def __init__(self, text: str, emit: Callable[[DataReading], None]) -> None:
        self.text, self._emit = text, emit
        self.cancelled = False
        self.last_progress = self._start = time.monotonic()

    def __call__(self, function: Callable[[Any], Any], argument: Any) -> Any:
        self.last_progress = self._start = time.monotonic()
        with reporting(self._report, every=_EVERY):
            return function(argument)

    def _report(self, message: str) -> None:
        if self.cancelled:
            raise RunError(*_CANCELLED)
        self.last_progress = time.monotonic()
        if self.last_progress - self._start >= _QUIET_SECONDS:
            self._emit(DataReading(data=self.text, message=message))
