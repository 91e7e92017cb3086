"""The queue of runs: trains one at a time, and keeps the state of the active and the queued runs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from nfkd.config import ExperimentConfig
from nfkd.planning.times import UnitTimes
from nfkd.protocol.events import RunChanged, RunEvent
from nfkd.protocol.records import RunRow
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd.training.job import TrainingJob

Units = Mapping[Role, UnitTimes]


class RunQueue:
    """Trains runs one after another; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with every event of a run, in the loop's thread.

    Attributes
    ----------
    views
        The state of the active and the queued runs, by directory.
    job
        The active run; None when there is none.
    """

    def __init__(self, emit: Callable[[RunEvent], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit = emit
        self._queue: OrderedDict[str, tuple[ExperimentConfig, bool, Units | None]] = OrderedDict()
        self._idle = asyncio.Event()
        self._idle.set()
        self.views: dict[str, RunView] = {}
        self.job: TrainingJob | None = None

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
    def queued(self) -> list[str]:
        """The directories of the queued runs, in order."""
        return list(self._queue)

    def job_of(self, run: str) -> TrainingJob | None:
        """Return the job of a run if it is the active one."""
        return self.job if self.active == run else None

    def add(
        self, run: str, config: ExperimentConfig, view: RunView, *, resume: bool, units: Units | None = None
    ) -> None:
        """Queue a run; it starts at once if no other is active. `units` are the measured times of its parts."""
        view.row = msgspec.structs.replace(view.row, state="queued", cause="")
        view.error = None
        self.views[run] = view
        self._queue[run] = config, resume, units
        self._idle.clear()
        self.apply(RunChanged(run=run, row=view.row))
        if self.job is None:
            self._start_next()

    def remove(self, run: str) -> bool:
        """Remove a queued run; return whether there was one."""
        if self._queue.pop(run, None) is None:
            return False
        del self.views[run]
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
        if not self._queue:
            self._idle.set()
            return
        run, (config, resume, units) = self._queue.popitem(last=False)

        def emit(event: RunEvent) -> None:
            self._loop.call_soon_threadsafe(self.apply, event)

        def on_end() -> None:
            self._loop.call_soon_threadsafe(self._finish)

        self.job = TrainingJob(Path(run), config, emit, resume=resume, units=units, on_end=on_end)
        self.job.start()

    def _finish(self) -> None:
        if self.job is not None:
            self.job.join()
            self.views.pop(self.active, None)
        self.job = None
        self._start_next()
