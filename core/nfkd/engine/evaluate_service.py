"""Adds metrics to finished runs, in a thread, one request after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from nfkd.config import ConfigError, ConfigProblem
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.evaluation.evaluate_run import evaluate_run
from nfkd.planning.devices import device_problems, resolve_device
from nfkd.protocol.comparing import CancelEvaluation, EvaluateRuns, RunsEvaluated
from nfkd.protocol.events import InspectionProgress, RunChanged
from nfkd.protocol.requests import Done
from nfkd.runs.errors import RunError
from nfkd.runs.layout import read_config
from nfkd.runs.state import read_row


class EvaluateService:
    """Evaluates runs; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with the progress, and with the row of each run that has new metrics, in the loop's thread.
    limits
        `work_seconds` is the time without progress after which a request fails.
    """

    def __init__(self, emit: Callable[[InspectionProgress | RunChanged], None], limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit, self._limits = emit, limits
        self._threads = RequestThreads("evaluate", 1, limits)
        self._stopped: dict[str, Event] = {}

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each type of request."""
        return {EvaluateRuns: self._evaluate, CancelEvaluation: self._cancel}

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._threads.running

    async def close(self) -> None:
        """Stop the evaluations, and wait a limited time for the thread."""
        for stopped in self._stopped.values():
            stopped.set()
        await self._threads.close(self._limits.close_seconds)

    async def _cancel(self, request: CancelEvaluation) -> Done:
        if request.ticket in self._stopped:
            self._stopped[request.ticket].set()
        return Done()

    async def _evaluate(self, request: EvaluateRuns) -> RunsEvaluated:
        stopped = self._stopped.setdefault(request.ticket, Event())
        progress = _Progress(len(request.runs), lambda share: self._report(request.ticket, share))
        notes: dict[str, None] = {}
        failed: dict[str, str] = {}
        try:
            for run in request.runs:
                if stopped.is_set():
                    failed[run] = "The evaluation was cancelled."
                    continue
                try:
                    notes |= dict.fromkeys(await self._evaluate_one(run, request, stopped, progress))
                except RunError as error:
                    failed[run] = str(error)
                except ConfigError as error:
                    failed[run] = "; ".join(map(_without_option, error.problems))
                progress.finish()
                await asyncio.sleep(0)  # the progress goes out before the reply
        finally:
            del self._stopped[request.ticket]
        return RunsEvaluated(notes=list(notes), failed=failed)

    async def _evaluate_one(self, run: str, request: EvaluateRuns, stopped: Event, progress: _Progress) -> list[str]:
        """Add metrics to a run, and return the notes on those that were left out."""

        def work() -> list[str]:
            config = read_config(Path(run))
            problems = device_problems(config.compute)
            if problems:
                raise ConfigError(problems)
            device = resolve_device(config.compute)
            found = evaluate_run(
                run,
                request.groups,
                inception=request.inception,
                device=device,
                on_progress=progress.note,
                cancelled=stopped.is_set,
            )
            return found.notes

        try:
            return await self._threads.run(
                work, about=run, limit=self._limits.work_seconds, last_progress=lambda: progress.time
            )
        finally:
            row = await self._threads.run(read_row, Path(run), about=run, limit=self._limits.answer_seconds)
            self._emit(RunChanged(run=run, row=row))

    def _report(self, ticket: str, share: float) -> None:
        self._loop.call_soon_threadsafe(self._emit, InspectionProgress(ticket=ticket, share=share))


class _Progress:
    """The share of a request that is done, and the time of its last change."""

    def __init__(self, runs: int, report: Callable[[float], None]) -> None:
        self._runs, self._report = max(1, runs), report
        self._done = 0
        self.time = time.monotonic()

    def note(self, share: float, _what: str) -> None:
        """Note the share of the present run."""
        self.time = time.monotonic()
        self._report((self._done + share) / self._runs)

    def finish(self) -> None:
        """Note that a run has ended."""
        self._done += 1
        self.note(0.0, "")


def _without_option(problem: ConfigProblem) -> str:
    """Return a problem; the window has no options of the command line."""
    return problem.message if problem.path.startswith("--") else str(problem)
