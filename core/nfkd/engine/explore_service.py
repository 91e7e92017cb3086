"""Interactive requests in threads, each with an `Explorer` of its own, after a probe of the run's files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nfkd.config.datasets import parse_data_toml
from nfkd.config.paths import config_paths
from nfkd.engine.explore import Explorer, InteractiveRequest
from nfkd.engine.file_probe import probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.flows.isolation import plain_torch
from nfkd.inspect.work import Work
from nfkd.protocol.events import InspectionProgress
from nfkd.protocol.inspection import (
    CancelInspection,
    CompareColumns,
    InspectMessage,
    InspectSample,
    ReadLayers,
    ReadLikelihood,
    ReadPlane,
    ReadTable,
)
from nfkd.protocol.requests import Done, Interpolate, Sample
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, read_config
from nfkd.training.control import LiveWeights, NotTraining
from nfkd.training.job import TrainingJob

_QUICK = (Sample, Interpolate, ReadLayers, ReadPlane)
_EXPLORERS = 3
"""As many as threads that compute."""
_LONG = (InspectSample, ReadLikelihood, ReadTable, CompareColumns)


class ExploreService:
    """Answers interactive requests about runs; belongs to the running loop.

    Long requests, about many examples, do not delay the quick ones.

    Parameters
    ----------
    emit
        Called with every event, in the loop's thread.
    job_of
        Returns the job that trains a run, if it is active.
    limits
        How long requests may wait and compute.
    """

    def __init__(
        self,
        emit: Callable[[InspectionProgress], None],
        job_of: Callable[[str], TrainingJob | None],
        limits: Limits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit, self._job_of, self._limits = emit, job_of, limits
        self._quick = RequestThreads("explore", 1, limits)
        self._long = RequestThreads("inspect", 2, limits)
        self._files = RequestThreads("files of runs", 4, limits)
        self._free: list[Explorer] = []
        self._paths: dict[Path, tuple[int, list[Path]]] = {}
        self._work: dict[str, Work] = {}

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each type of request."""
        return {CancelInspection: self._cancel, **dict.fromkeys((*_QUICK, *_LONG), self._answer)}

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return [*self._quick.running, *self._long.running, *self._files.running]

    async def close(self) -> None:
        """Cancel what is computed, and wait a limited time for the threads."""
        for work in self._work.values():
            work.cancel()
        for threads in (self._quick, self._long, self._files):
            await threads.close(self._limits.close_seconds)

    async def _cancel(self, request: CancelInspection) -> Done:
        if (work := self._work.get(request.ticket)) is not None:
            work.cancel()
        return Done()

    async def _answer(self, request: InteractiveRequest) -> Any:
        ticket = request.ticket if isinstance(request, InspectMessage) else ""
        work = Work(self._limits.inspect_seconds, self._reporter(ticket) if ticket else None)
        if ticket:
            if ticket in self._work:
                self._work[ticket].cancel()
            self._work[ticket] = work
        try:
            return await self._compute(request, work)
        finally:
            if self._work.get(ticket) is work:
                del self._work[ticket]

    def _reporter(self, ticket: str) -> Callable[[float], None]:
        def report(share: float) -> None:
            self._loop.call_soon_threadsafe(self._emit, InspectionProgress(ticket=ticket, share=share))

        return report

    async def _compute(self, request: InteractiveRequest, work: Work) -> Any:
        limits, run, patience = self._limits, request.run, self._limits.answer_seconds
        live = await self._live_weights(run)
        paths: list[Path] = await self._files.run(self._experiment_paths, Path(run), about=run, limit=patience)
        if isinstance(request, ReadLikelihood) and request.second:
            about = "the second data set"
            paths = paths + await self._files.run(_second_paths, request.second, about=about, limit=patience)
        await probe_files(self._files, [Path(run), *paths], limits.probe_seconds)
        threads = self._long if isinstance(request, _LONG) else self._quick
        return await threads.run(self._explore, request, live, work, about=run, limit=limits.work_seconds)

    async def _live_weights(self, run: str) -> LiveWeights | None:
        job = self._job_of(run)
        if job is None:
            return None
        try:
            weights = asyncio.wrap_future(job.control.live_weights())
            return await asyncio.wait_for(weights, self._limits.work_seconds)
        except NotTraining:
            return None
        except TimeoutError as error:
            cause = f"{Path(run).name} made no step within {self._limits.work_seconds:g} s."
            title = "The run does not answer"
            raise RunError(title, cause, "Check its log.") from error

    def _experiment_paths(self, run: Path) -> list[Path]:
        """Return the files that a run's experiment uses; cached until the experiment changes."""
        path = run / EXPERIMENT
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        cached_stamp, paths = self._paths.get(run, (0, []))
        if cached_stamp != stamp or not stamp:
            paths = config_paths(read_config(run))
            self._paths[run] = stamp, paths
        return paths

    def _explore(self, request: InteractiveRequest, live: LiveWeights | None, work: Work) -> Any:
        """Answer with an explorer that no other thread uses."""
        work.start()
        work.check()
        try:
            explorer = self._free.pop()
        except IndexError:
            explorer = Explorer()
        try:
            with plain_torch():
                torch.set_num_threads(1)
                return explorer.answer(request, live, work)
        finally:
            if len(self._free) < _EXPLORERS:
                self._free.append(explorer)


def _second_paths(text: str) -> list[Path]:
    return config_paths(parse_data_toml(text))
