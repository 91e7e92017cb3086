"""The queue of runs: trains one at a time, and keeps the state of the active and the queued runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nfkd.config import ExperimentConfig
from nfkd.planning.times import UnitTimes
from nfkd.protocol.events import Event, RunChanged, RunEvent
from nfkd.protocol.queue import OrderQueue, PauseQueue, QueueChanged, QueueState, SweepProgress
from nfkd.protocol.requests import Done
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunRow, RunState
from nfkd.protocol.view import RunView
from nfkd.training.job import TrainingJob

Units = Mapping[Role, UnitTimes]


@dataclass(frozen=True, eq=False, kw_only=True)
class QueuedRun:
    """A run that waits.

    Attributes
    ----------
    resume
        Whether to continue from its checkpoints.
    units, seconds
        Measured times of its parts, and its expected time; None and NaN if they are not known.
    donors
        Runs with the same teacher, which may be trained.
    on_event
        Called with its events, in the loop's thread.
    on_end
        Called with the state in which it ended; a run that is removed before its start is *stopped*.
    """

    config: ExperimentConfig
    resume: bool = False
    units: Units | None = None
    seconds: float = math.nan
    donors: tuple[Path, ...] = ()
    on_event: Callable[[RunEvent], None] = lambda _: None
    on_end: Callable[[RunState], None] = lambda _: None


class RunQueue:
    """Trains runs one after another; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with every event of a run and every change of the queue, in the loop's thread.

    Attributes
    ----------
    views
        The state of the active and the queued runs, by directory.
    job
        The active run; None when there is none.
    paused
        Whether no further run starts after the active one.
    sweeps
        Returns the sweeps that are executed.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit = emit
        self._queue: dict[str, QueuedRun] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._free = asyncio.Event()
        self._free.set()
        self._on_end: Callable[[RunState], None] = lambda _: None
        self.sweeps: Callable[[], list[SweepProgress]] = list
        self.views: dict[str, RunView] = {}
        self.job: TrainingJob | None = None
        self.paused = False

    @property
    def idle(self) -> bool:
        """Whether no run is active or queued, and no sweep is executed."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        """Wait until no run is active or queued, and no sweep is executed."""
        await self._idle.wait()

    async def wait_until_free(self) -> None:
        """Wait until no run is active or queued, and the queue is not paused."""
        await self._free.wait()

    @property
    def active(self) -> str:
        """The directory of the active run; empty when there is none."""
        return str(self.job.run_directory) if self.job else ""

    @property
    def state(self) -> QueueState:
        """The queued runs, in order."""
        return QueueState(
            runs=list(self._queue),
            seconds=[waiting.seconds for waiting in self._queue.values()],
            paused=self.paused,
            sweeps=self.sweeps(),
        )

    def job_of(self, run: str) -> TrainingJob | None:
        """Return the job of a run if it is the active one."""
        return self.job if self.active == run else None

    def add(self, run: str, view: RunView, waiting: QueuedRun) -> None:
        """Queue a run; it starts at once if no other is active and the queue is not paused."""
        view.row = msgspec.structs.replace(view.row, state="queued", cause="")
        view.error = None
        self.views[run] = view
        self._queue[run] = waiting
        self._idle.clear()
        self._free.clear()
        self.apply(RunChanged(run=run, row=view.row))
        self._start_next()

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each type of request."""
        return {OrderQueue: self._order, PauseQueue: self._pause}

    async def _order(self, request: OrderQueue) -> Done:
        first = [run for run in dict.fromkeys(request.runs) if run in self._queue]
        self._queue = {run: self._queue[run] for run in dict.fromkeys([*first, *self._queue])}
        self._emit(QueueChanged(queue=self.state))
        return Done()

    async def _pause(self, request: PauseQueue) -> Done:
        self.paused = request.paused
        self._start_next()
        return Done()

    def remove(self, run: str) -> bool:
        """Remove a queued run; return whether there was one."""
        waiting = self._queue.pop(run, None)
        if waiting is None:
            return False
        del self.views[run]
        waiting.on_end("stopped")
        self._start_next()
        return True

    def stop(self) -> None:
        """Empty the queue and stop the active run."""
        self._queue.clear()
        if self.job is not None:
            self.job.control.stop("run")
        self.refresh()

    def apply(self, event: RunEvent) -> None:
        """Update the state of the event's run, and emit the event."""
        if view := self.views.get(event.run):
            if isinstance(event, RunChanged):  # the job knows the labels that the run had at its start
                row = msgspec.structs.replace(event.row, tags=view.row.tags, note=view.row.note)
                event = RunChanged(run=event.run, row=row)
            view.apply(event)
        self._emit(event)

    def label(self, run: str, row: RunRow) -> None:
        """Give a run the labels of a row that was read from its files."""
        view = self.views[run]
        view.row = msgspec.structs.replace(view.row, tags=row.tags, note=row.note)
        self.apply(RunChanged(run=run, row=view.row))

    def _start_next(self) -> None:
        """Start the next run if it may start; emit the queue."""
        if self.job is None and self._queue and not self.paused:
            run = next(iter(self._queue))
            self._start(run, self._queue.pop(run))
        if self.job is None and not self._queue and not self.paused:
            self._free.set()
        else:
            self._free.clear()
        self.refresh()

    def refresh(self) -> None:
        """Emit the queue, and note whether the engine is idle."""
        if self.job is None and not self._queue and not self.sweeps():
            self._idle.set()
        else:
            self._idle.clear()
        self._emit(QueueChanged(queue=self.state))

    def _start(self, run: str, waiting: QueuedRun) -> None:

        def take(event: RunEvent) -> None:
            self.apply(event)
            waiting.on_event(event)

        def emit(event: RunEvent) -> None:
            self._loop.call_soon_threadsafe(take, event)

        def on_end() -> None:
            self._loop.call_soon_threadsafe(self._finish)

        self.job = TrainingJob(
            Path(run),
            waiting.config,
            emit,
            resume=waiting.resume,
            units=waiting.units,
            donors=waiting.donors,
            on_end=on_end,
        )
        self._on_end = waiting.on_end
        self.job.start()

    def _finish(self) -> None:
        if self.job is not None:
            self.job.join()
            self.views.pop(self.active, None)
            self._on_end(self.job.state)
        self.job = None
        self._start_next()
