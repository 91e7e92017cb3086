"""The queue of runs: trains one at a time, and keeps the state of the active and the queued runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nfkd.config import ExperimentConfig
from nfkd.planning.times import UnitTimes
from nfkd.protocol.events import Event, RunChanged, RunEvent
from nfkd.protocol.queue import QueueChanged, QueueState
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd.training.job import TrainingJob

Units = Mapping[Role, UnitTimes]


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A queued run; `seconds` is its expected time, NaN where it is not known."""

    config: ExperimentConfig
    resume: bool
    units: Units | None
    seconds: float


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
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit = emit
        self._queue: dict[str, _Waiting] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.views: dict[str, RunView] = {}
        self.job: TrainingJob | None = None
        self.paused = False

    @property
    def idle(self) -> bool:
        """Whether no run is active or queued."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        """Wait until no run is active or queued."""
        await self._idle.wait()

    @property
    def active(self) -> str:
        """The directory of the active run; empty when there is none."""
        return str(self.job.run_directory) if self.job else ""

    @property
    def state(self) -> QueueState:
        """The queued runs, in order."""
        return QueueState(
            runs=list(self._queue), seconds=[waiting.seconds for waiting in self._queue.values()], paused=self.paused
        )

    def job_of(self, run: str) -> TrainingJob | None:
        """Return the job of a run if it is the active one."""
        return self.job if self.active == run else None

    def add(
        self,
        run: str,
        config: ExperimentConfig,
        view: RunView,
        *,
        resume: bool,
        units: Units | None = None,
        seconds: float = math.nan,
    ) -> None:
        """Queue a run; it starts at once if no other is active and the queue is not paused.

        `units` are the measured times of its parts, `seconds` is its expected time; NaN if it was not measured.
        """
        view.row = msgspec.structs.replace(view.row, state="queued", cause="")
        view.error = None
        self.views[run] = view
        self._queue[run] = _Waiting(config, resume, units, seconds)
        self._idle.clear()
        self.apply(RunChanged(run=run, row=view.row))
        self._start_next()

    def order(self, runs: Sequence[str]) -> None:
        """Put queued runs first, in this order; the others follow in theirs. Runs that are not queued are ignored."""
        first = [run for run in dict.fromkeys(runs) if run in self._queue]
        self._queue = {run: self._queue[run] for run in dict.fromkeys([*first, *self._queue])}
        self._emit(QueueChanged(queue=self.state))

    def pause(self, *, paused: bool) -> None:
        """Start no further run after the active one, or start them again."""
        self.paused = paused
        self._start_next()

    def remove(self, run: str) -> bool:
        """Remove a queued run; return whether there was one."""
        if self._queue.pop(run, None) is None:
            return False
        del self.views[run]
        self._start_next()
        return True

    def stop(self) -> None:
        """Empty the queue and stop the active run."""
        self._queue.clear()
        if self.job is not None:
            self.job.control.stop("run")
        else:
            self._idle.set()

    def apply(self, event: RunEvent) -> None:
        """Update the state of the event's run, and emit the event."""
        if view := self.views.get(event.run):
            view.apply(event)
        self._emit(event)

    def _start_next(self) -> None:
        """Start the next run if it may start; emit the queue."""
        if self.job is None and self._queue and not self.paused:
            run = next(iter(self._queue))
            self._start(run, self._queue.pop(run))
        if self.job is None and not self._queue:
            self._idle.set()
        self._emit(QueueChanged(queue=self.state))

    def _start(self, run: str, waiting: _Waiting) -> None:

        def emit(event: RunEvent) -> None:
            self._loop.call_soon_threadsafe(self.apply, event)

        def on_end() -> None:
            self._loop.call_soon_threadsafe(self._finish)

        self.job = TrainingJob(
            Path(run), waiting.config, emit, resume=waiting.resume, units=waiting.units, on_end=on_end
        )
        self.job.start()

    def _finish(self) -> None:
        if self.job is not None:
            self.job.join()
            self.views.pop(self.active, None)
        self.job = None
        self._start_next()
