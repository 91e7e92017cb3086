"""The runs that wait for the engine, when they will end, and those that failed meanwhile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import Progress
from nfkd.protocol.queue import OrderQueue, PauseQueue, QueueChanged, QueueState, StopSweep
from nfkd.protocol.records import RunRow
from nfkd.protocol.requests import Request, ResumeFromDisk, Stop


@dataclass(frozen=True)
class QueueEntry:
    """A queued run.

    Attributes
    ----------
    seconds
        Its expected time; NaN where nothing is known.
    measured
        Whether the engine measured this time; otherwise it is the mean time of runs like it.
    ends
        Seconds from now until it ends; NaN where a time is missing, or the queue is paused.
    """

    run: str
    name: str
    seconds: float
    measured: bool
    ends: float


class RunQueueModel(QObject):
    """Follows the engine's queue, and sends the user's commands.

    Parameters
    ----------
    rows, progress
        Return the known runs and the newest progress of each.
    command
        Sends a request whose reply holds nothing to show.

    Attributes
    ----------
    state
        The queue.
    failed
        Runs that failed since the studio was started, the newest first.
    """

    changed = Signal()

    def __init__(
        self,
        rows: Callable[[], Mapping[str, RunRow]],
        progress: Callable[[], Mapping[str, Progress]],
        command: Callable[[Request], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._rows, self._progress, self._command = rows, progress, command
        self.state = QueueState()
        self.failed: list[str] = []

    def follow(self, change: QueueChanged | QueueState) -> None:
        """Take the queue as the engine sends it."""
        self.state = change.queue if isinstance(change, QueueChanged) else change
        self.changed.emit()

    def follow_row(self, run: str) -> None:
        """Note a run that has failed, or has started again."""
        row = self._rows().get(run)
        before = list(self.failed)
        self.failed = [other for other in self.failed if other != run and other in self._rows()]
        if row is not None and row.state == "failed" and not row.elsewhere:
            self.failed = [run, *self.failed]
        if self.failed != before:
            self.changed.emit()

    # --- commands -------------------------------------------------------------------------------------------------

    def order(self, runs: Sequence[str]) -> None:
        """Put the queued runs into an order."""
        if list(runs) != self.state.runs:
            self._command(OrderQueue(runs=list(runs)))

    def pause(self, *, paused: bool) -> None:
        """Start no further run after the active one, or start them again."""
        self._command(PauseQueue(paused=paused))

    def remove(self, run: str) -> None:
        """Take a run out of the queue; it can be resumed later."""
        if run in self.state.runs:
            self._command(Stop(run=run, scope="run"))

    def stop_sweep(self, folder: str) -> None:
        """Start no further run of a sweep; its active run is stopped with a checkpoint."""
        self._command(StopSweep(folder=folder))

    def retry(self, run: str) -> None:
        """Queue a failed run again; it continues from its last checkpoint."""
        self._command(ResumeFromDisk(run=run))

    # --- times ----------------------------------------------------------------------------------------------------

    def entries(self) -> list[QueueEntry]:
        """Return the queued runs in order, with expected times."""
        times = [self._expected(run, seconds) for run, seconds in zip(self.state.runs, self.state.seconds, strict=True)]
        first = math.nan if self.state.paused else self._active_seconds()
        ends = list(accumulate((seconds for seconds, _ in times), initial=first))[1:]
        return [
            QueueEntry(run, self._name(run), seconds, measured, end)
            for run, (seconds, measured), end in zip(self.state.runs, times, ends, strict=True)
        ]

    def seconds_left(self) -> float:
        """Return the seconds until the last queued run ends; NaN where this is not known."""
        entries = self.entries()
        return entries[-1].ends if entries else math.nan

    def _name(self, run: str) -> str:
        row = self._rows().get(run)
        return PurePath(run).name if row is None else row.name

    def _active_seconds(self) -> float:
        """Return the seconds that the active run still takes; 0 without one, NaN while it is paused."""
        for row in self._rows().values():
            if row.state in {"running", "paused"} and not row.elsewhere:
                progress = self._progress().get(row.run)
                return math.nan if progress is None or row.state == "paused" else progress.seconds_left
        return 0.0

    def _expected(self, run: str, seconds: float) -> tuple[float, bool]:
        if math.isfinite(seconds):
            return seconds, True
        known = list(self._times_like(run))
        return statistics.fmean(known) if known else math.nan, False

    def _times_like(self, run: str) -> Iterator[float]:
        """Yield the times of finished runs of the same data, folder and number of seeds."""
        like = self._rows().get(run)
        for row in self._rows().values():
            if like is not None and row.state == "finished" and _kind(row) == _kind(like):
                yield row.seconds


def _kind(row: RunRow) -> tuple[object, ...]:
    return row.data, row.seeds, PurePath(row.run).parent
