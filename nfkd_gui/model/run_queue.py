"""The runs that wait for the engine, when they will end, and those that failed meanwhile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from nfkd.config.sweep import SweepConfig
from nfkd.protocol.queue import (
    ContinueSweep,
    OrderQueue,
    PauseQueue,
    QueueChanged,
    QueueState,
    RayCluster,
    RunSweep,
    StopSweep,
    SweepAccepted,
    SweepProgress,
)
from nfkd.protocol.requests import Reply, Request, ResumeFromDisk, Stop
from nfkd.protocol.run_rows import RunRow

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio


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

    Attributes
    ----------
    state
        The queue.
    failed
        Runs that failed since the studio was started, the newest first; without those of sweeps in the lists.
    unfinished
        Sweeps that left the queue since then with runs that have not ended or have failed, the newest first.
    plans
        The values that each sweep tries, for those that were started here: by folder, then by setting.
    """

    changed = Signal()
    sweep_accepted = Signal(str)
    """A sweep was accepted; carries its folder."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self.state = QueueState()
        self.failed: list[str] = []
        self.unfinished: list[SweepProgress] = []
        self.plans: dict[str, Mapping[str, Sequence[Any]]] = {}

    def follow(self, change: QueueChanged | QueueState) -> None:
        """Take the queue as the engine sends it."""
        before, self.state = self.state, change.queue if isinstance(change, QueueChanged) else change
        active = {sweep.folder for sweep in self.state.sweeps}
        gone = [sweep for sweep in before.sweeps if sweep.folder not in active]
        kept = [*(sweep for sweep in gone if sweep.ended < sweep.runs or sweep.failed), *self.unfinished]
        self.unfinished = [sweep for sweep in kept if sweep.folder not in active]
        self.changed.emit()

    def follow_row(self, run: str) -> None:
        """Note a run that has failed, or has started again."""
        row = self._studio.rows.get(run)
        before = list(self.failed)
        self.failed = [other for other in self.failed if other != run and other in self._studio.rows]
        if row is not None and row.state == "failed" and not row.elsewhere and not self._is_of_sweep(run):
            self.failed = [run, *self.failed]
        if self.failed != before:
            self.changed.emit()

    def _is_of_sweep(self, run: str) -> bool:
        """Return whether a listed sweep has a run; it retries its failed runs itself."""
        folders = [sweep.folder for sweep in (*self.state.sweeps, *self.unfinished)]
        return any(PurePath(run).is_relative_to(folder) for folder in folders)

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

    def continue_sweep(self, folder: str) -> None:
        """Execute the runs of a sweep that have not ended; those that failed start again."""
        request = ContinueSweep(folder=folder, retry=True)
        self._studio.ask(request, self._follow_sweep, self._studio.failed.emit)

    def is_active(self, folder: str) -> bool:
        """Return whether a sweep is in the queue."""
        return any(sweep.folder == folder for sweep in self.state.sweeps)

    def run_sweep(self, text: str, cluster: RayCluster | None = None) -> None:
        """Start or queue a sweep, given as TOML; a cluster executes it at once."""
        request = RunSweep(config=text, folder=self._studio.machines.runs_folder, cluster=cluster)

        def accepted(reply: Reply) -> None:
            if isinstance(reply, SweepAccepted):
                self.plans[reply.folder] = SweepConfig.from_toml(text).sweep.grid
            self._follow_sweep(reply)

        self._studio.ask(request, accepted, self._studio.failed.emit)

    def _follow_sweep(self, reply: Reply) -> None:
        if isinstance(reply, SweepAccepted):
            self.sweep_accepted.emit(reply.folder)

    def _command(self, request: Request) -> None:
        self._studio.ask(request, lambda _reply: None, self._studio.failed.emit)

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

    def sweep_seconds_left(self, sweep: SweepProgress) -> float:
        """Return the seconds until a sweep ends, by the mean time of its runs; NaN before one has ended."""
        rows = [row for row in self._studio.rows.values() if PurePath(row.run).parent == PurePath(sweep.folder)]
        known = [row.seconds for row in rows if row.state == "finished"]
        if not known or self.state.paused:
            return math.nan
        done = sum(self._fraction(row) for row in rows if row.state == "running")
        return statistics.fmean(known) * max(sweep.runs - sweep.ended - done, 0.0)

    def _fraction(self, row: RunRow) -> float:
        progress = self._studio.progress.get(row.run)
        return row.progress if progress is None else progress.fraction

    def _name(self, run: str) -> str:
        row = self._studio.rows.get(run)
        return PurePath(run).name if row is None else row.name

    def _active_seconds(self) -> float:
        """Return the seconds that the active run still takes; 0 without one, NaN while it is paused."""
        for row in self._studio.rows.values():
            if row.state in {"running", "paused"} and not row.elsewhere:
                progress = self._studio.progress.get(row.run)
                return math.nan if progress is None or row.state == "paused" else progress.seconds_left
        return 0.0

    def _expected(self, run: str, seconds: float) -> tuple[float, bool]:
        if math.isfinite(seconds):
            return seconds, True
        known = list(self._times_like(run))
        return statistics.fmean(known) if known else math.nan, False

    def _times_like(self, run: str) -> Iterator[float]:
        """Yield the times of finished runs of the same data, folder and number of seeds."""
        like = self._studio.rows.get(run)
        for row in self._studio.rows.values():
            if like is not None and row.state == "finished" and _kind(row) == _kind(like):
                yield row.seconds


def _kind(row: RunRow) -> tuple[object, ...]:
    return row.data, row.seeds, PurePath(row.run).parent
