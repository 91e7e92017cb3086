"""Executes a sweep: starts its runs, one or several at a time, and passes on what they report."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from nfkd.protocol.events import CurvePoints, RunEvent, StageFinished
from nfkd.protocol.run_rows import RunState
from nfkd.sweeps.executors import Executor, local_executors
from nfkd.sweeps.records import SweptRun
from nfkd.sweeps.sweep import Start, Sweep

OnStart = Callable[[SweptRun], None]
OnEvent = Callable[[SweptRun, RunEvent], None]
OnEnd = Callable[[SweptRun], None]


@dataclass(frozen=True)
class _Ended:
    """The end of a run."""

    state: RunState
    cause: str


class SweepLoop:
    """Executes the runs of a sweep.

    Parameters
    ----------
    sweep
        Its `Sweep.begin` was called.
    jobs
        Number of runs at the same time. One runs in a thread of this process, several in processes of their own.
    executors
        What executes the runs instead, one at a time each.
    on_start, on_event, on_end
        Called in the thread of `execute`.
    """

    def __init__(
        self,
        sweep: Sweep,
        jobs: int = 1,
        *,
        executors: Sequence[Executor] = (),
        on_start: OnStart = lambda _: None,
        on_event: OnEvent = lambda _, __: None,
        on_end: OnEnd = lambda _: None,
    ) -> None:
        self._sweep, self._on_start, self._on_event, self._on_end = sweep, on_start, on_event, on_end
        self._executors = list(executors) or local_executors(jobs)
        self._messages: SimpleQueue[tuple[int, RunEvent | _Ended]] = SimpleQueue()
        self._active: dict[int, tuple[Executor, Start]] = {}
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End all active runs at their next step, with a checkpoint, and start no more; may be called by a signal."""
        self._stopping.set()
        for executor, _ in list(self._active.values()):
            executor.stop()

    def execute(self) -> None:
        """Execute all runs that are left, until the end of the sweep or `stop`.

        Raises
        ------
        RunError
            When the folder of the sweep cannot be written; the active runs are stopped first.
        """
        idle = list(self._executors)
        try:
            while True:
                while idle and not self.stopping and (start := self._sweep.ask()) is not None:
                    self._start(idle.pop(), start)
                if not self._active:
                    return
                number, message = self._messages.get()
                if isinstance(message, _Ended):
                    executor, _ = self._active.pop(number)
                    idle.append(executor)
                    self._on_end(self._sweep.tell(number, message.state, message.cause))
                else:
                    self._handle(number, message)
        finally:
            self.stop()
            for executor in self._executors:
                executor.close()

    def _start(self, executor: Executor, start: Start) -> None:
        number = start.run.number
        self._active[number] = executor, start
        self._on_start(start.run)
        executor.start(
            start,
            lambda event: self._messages.put((number, event)),
            lambda state, cause: self._messages.put((number, _Ended(state, cause))),
        )
        if self.stopping:
            executor.stop()

    def _handle(self, number: int, event: RunEvent) -> None:
        executor, start = self._active[number]
        match event:
            case StageFinished(stage="teacher", seed=seed) if seed == start.config.seeds.first:
                self._sweep.teacher_trained(number)
            case CurvePoints(stage="student", seed=seed) if seed == start.config.seeds.first:
                batch = event.curves.get("validation/nll")
                points = [] if batch is None else zip(batch.steps, batch.values, strict=True)
                for step, value in points:
                    if self._sweep.report(number, int(step), float(value)):
                        executor.stop()
            case _:
                pass
        self._on_event(start.run, event)
