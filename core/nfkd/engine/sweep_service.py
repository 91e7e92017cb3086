"""Executes sweeps through the queue of runs: a run of a sweep starts when no other run waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from nfkd.config.paths import config_paths
from nfkd.config.sweep import SweepConfig
from nfkd.engine.estimate_service import EstimateService
from nfkd.engine.file_probe import probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.ray_sweeps import RaySweeps
from nfkd.engine.run_queue import QueuedRun, RunQueue
from nfkd.engine.threads import RequestThreads
from nfkd.files import is_taken
from nfkd.protocol.events import CurvePoints, LogLine, RunEvent
from nfkd.protocol.queue import (
    ContinueSweep,
    EstimateSweep,
    RayCluster,
    RunSweep,
    StopSweep,
    SweepAccepted,
    SweepDescription,
    SweepProgress,
)
from nfkd.protocol.requests import Done
from nfkd.protocol.run_rows import RunState
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from nfkd.sweeps.ray_cluster import has_ray
from nfkd.sweeps.records import SWEEP, SweptRun, read_sweep_state
from nfkd.sweeps.sweep import Start, Sweep

_NAMES = 200
"""Names of runs in a description."""


class SweepService:
    """Executes sweeps one after another; belongs to the running loop.

    Parameters
    ----------
    queue
        Trains the runs.
    estimates
        Measures what a sweep will take.
    limits
        How long requests may wait for files.
    """

    def __init__(self, queue: RunQueue, estimates: EstimateService, limits: Limits) -> None:
        self._queue, self._estimates, self._limits = queue, estimates, limits
        self._ray = RaySweeps(queue)
        self._threads = RequestThreads("sweeps", 1, limits)  # a sweep is used by one thread at a time
        self._sweeps: list[Sweep] = []
        self._driver: asyncio.Task[None] | None = None
        self._closing = False
        queue.sweeps = self._progress

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each type of request."""
        return {
            EstimateSweep: self._estimate,
            RunSweep: self._run,
            ContinueSweep: self._continue,
            StopSweep: self._stop,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return [*self._threads.running, *self._ray.running]

    def refuse_elsewhere(self, run: str) -> None:
        """Raise a `RunError` if a run is executed on a Ray cluster."""
        if self._ray.trains(run):
            title, cause = "The run cannot be paused", "It trains on a Ray cluster."
            raise RunError(title, cause, "Stop it; its sweep can be continued.")

    def stop_run(self, run: str) -> bool:
        """Stop the sweep of a run on a Ray cluster; return whether it was executed there."""
        return self._ray.stop_run(run)

    def stop(self) -> None:
        """Start no further run; the active one is stopped by the queue."""
        self._closing = True
        self._sweeps.clear()
        if self._driver is not None:
            self._driver.cancel()

    async def close(self) -> None:
        """Wait a limited time for the threads."""
        self.stop()
        limits = self._limits
        await asyncio.gather(self._ray.close(limits.stop_seconds), self._threads.close(limits.close_seconds))

    def _progress(self) -> list[SweepProgress]:
        return [_progress_of(sweep) for sweep in (*self._sweeps, *self._ray.sweeps)]

    async def _off_loop(self, function: Callable[..., Any], *arguments: Any, about: str) -> Any:
        return await self._threads.run(function, *arguments, about=about, limit=self._limits.work_seconds)

    # --- requests -------------------------------------------------------------------------------------------------

    async def _estimate(self, request: EstimateSweep) -> SweepDescription:
        config = await self._read(request.config)
        sweep = await self._off_loop(_prepare, config, request.folder, about=request.folder)
        found = await self._estimates.estimate_sweep(sweep)
        names = [run.name for run in sweep.runs[:_NAMES]]
        return SweepDescription(
            runs=found.runs, teachers=found.teachers, seconds=found.seconds, size=found.size, free=found.free,
            names=names, problems=found.problems, ray=has_ray(),
        )  # fmt: skip

    async def _run(self, request: RunSweep) -> SweepAccepted:
        config = await self._read(request.config)
        cluster = request.cluster
        if cluster is not None:
            path = (await self._off_loop(_prepare, config, request.folder, about=request.folder)).directory
            return await self._start_on_ray(cluster, config, path)
        sweep = await self._off_loop(_begin, config, request.folder, about=request.folder)
        return self._accept(sweep)

    async def _start_on_ray(
        self, cluster: RayCluster, config: SweepConfig, path: Path, *, retry: bool = False
    ) -> SweepAccepted:
        self._refuse_closing()

        def begin(parallel: bool) -> Sweep:
            threads = max(1, int(cluster.cpus))
            sweep = Sweep(config, path, threads=threads, parallel=parallel, retry=retry, cluster=cluster)
            sweep.begin()
            return sweep

        return SweepAccepted(folder=str((await self._ray.start(begin, cluster)).directory))

    async def _continue(self, request: ContinueSweep) -> SweepAccepted:
        if self._find(request.folder) is not None:
            title, cause = "The sweep is not started again", f"{Path(request.folder).name} is already in the queue."
            raise RunError(title, cause, "Wait until it has ended, or stop it first.")
        cluster, config = await self._off_loop(_read_folder, request.folder, about=request.folder)
        if cluster is not None:
            return await self._start_on_ray(cluster, config, _path(request), retry=request.retry)
        return self._accept(await self._off_loop(_begin_again, config, request, about=request.folder))

    async def _stop(self, request: StopSweep) -> Done:
        sweep = self._find(request.folder)
        job = self._queue.job
        if self._ray.stop(str(_path(request))):
            return Done()
        if sweep is not None and job is not None and job.run_directory.is_relative_to(sweep.directory):
            job.control.stop("run")  # the sweep ends with it
        elif sweep is not None:
            self._remove(sweep)
        return Done()

    async def _read(self, text: str) -> SweepConfig:
        config = await self._off_loop(SweepConfig.from_toml, text, about="a file of the experiment")
        await probe_files(self._threads, [Path(path) for path in config_paths(config)], self._limits.probe_seconds)
        return config

    def _find(self, folder: str) -> Sweep | None:
        active = (*self._sweeps, *self._ray.sweeps)
        return next((sweep for sweep in active if sweep.directory == Path(folder).absolute()), None)

    def _refuse_closing(self) -> None:
        if self._closing:
            title = "The engine is ending"
            raise RunError(title, "It has been stopped.", "Start it again.")

    def _accept(self, sweep: Sweep) -> SweepAccepted:
        self._refuse_closing()
        self._sweeps.append(sweep)
        self._queue.refresh()
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        return SweepAccepted(folder=str(sweep.directory))

    # --- execution ------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Start the runs of the sweeps, each when no other run is active or queued."""
        while self._sweeps:
            await self._queue.wait_until_free()
            sweep = self._sweeps[0]
            start = await self._ask(sweep)
            if start is None:
                self._remove(sweep)
            elif sweep in self._sweeps:  # it may have been stopped meanwhile
                await self._execute(sweep, start)
                self._queue.refresh()

    async def _ask(self, sweep: Sweep) -> Start | None:
        """Return the next run; None at the end, or if the folder cannot be used any more, which is logged."""
        try:
            start = await self._off_loop(sweep.ask, about=str(sweep.directory))
        except (RunError, OSError) as error:
            self._log(sweep, error)
            return None
        failed = [run for run in sweep.runs if run.state == "failed"]
        if start is None and failed:
            runs = "1 run" if len(failed) == 1 else f"{len(failed):,} runs"
            self._log(sweep, f"{runs} failed, the first one {failed[0].name}: {failed[0].cause}")
        return start

    def _log(self, sweep: Sweep, reason: object) -> None:
        """Write why a sweep ends into the engine's log."""
        text = f"The sweep {sweep.directory.name} has ended: {reason}"
        self._queue.apply(LogLine(run="", level="error", text=text, time=time.time()))

    async def _execute(self, sweep: Sweep, start: Start) -> None:
        """Train a run of a sweep; one that the user stops ends the sweep, which can be continued."""
        run, ended = str(start.path), asyncio.get_running_loop().create_future()
        try:
            view = await self._off_loop(_view_of, start, about=run)
        except (RunError, OSError) as error:  # its files were removed or damaged meanwhile
            self._log(sweep, error)
            self._remove(sweep)
            return
        reports: set[asyncio.Task[None]] = set()

        def follow(event: RunEvent) -> None:
            if isinstance(event, CurvePoints) and event.stage == "student" and event.seed == start.config.seeds.first:
                task = asyncio.create_task(self._report(sweep, start.run, run, event))
                reports.add(task)
                task.add_done_callback(reports.discard)

        def end(state: RunState) -> None:
            if not ended.done():
                ended.set_result(state)

        self._estimates.stop("A run has started, and a measurement would slow it down.")
        waiting = QueuedRun(config=start.config, resume=start.resume, donors=start.donors, on_event=follow, on_end=end)
        self._queue.add(run, view, waiting)
        state = await ended
        await asyncio.gather(*reports)
        try:
            told = await self._off_loop(sweep.tell, start.run.number, state, about=run)
        except (RunError, OSError) as error:
            self._log(sweep, error)
            self._remove(sweep)
            return
        if state == "stopped" and told.state == "waiting":
            self._remove(sweep)

    async def _report(self, sweep: Sweep, entry: SweptRun, run: str, event: CurvePoints) -> None:
        """Report validation points; end the run if the sweep gives it up."""
        batch = event.curves.get("validation/nll")
        if batch is None:
            return
        for step, value in zip(batch.steps, batch.values, strict=True):
            hopeless = await self._off_loop(sweep.report, entry.number, int(step), float(value), about=run)
            job = self._queue.job_of(run)
            if hopeless and job is not None:
                job.control.stop("run")

    def _remove(self, sweep: Sweep) -> None:
        if sweep in self._sweeps:
            self._sweeps.remove(sweep)
        self._queue.refresh()


def _progress_of(sweep: Sweep) -> SweepProgress:
    states = [run.state for run in sweep.runs]
    search = sweep.config.sweep.search
    return SweepProgress(
        folder=str(sweep.directory),
        runs=len(states) if search is None else max(len(states), search.runs),
        ended=sum(state in {"finished", "pruned", "failed"} for state in states),
        failed=states.count("failed"),
    )


def _free_name(folder: Path, name: str) -> Path:
    """Return a path in a folder that is not taken; a number is added to the name if necessary."""
    paths = (folder / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if not is_taken(path))


def _prepare(config: SweepConfig, folder: str) -> Sweep:
    return Sweep(config, _free_name(Path(folder).expanduser().absolute(), config.name))


def _begin(config: SweepConfig, folder: str) -> Sweep:
    sweep = _prepare(config, folder)
    sweep.begin()
    return sweep


def _path(request: ContinueSweep | StopSweep) -> Path:
    return Path(request.folder).absolute()


def _read_folder(folder: str) -> tuple[RayCluster | None, SweepConfig]:
    """Return the cluster of a sweep, if it has one, and its file."""
    directory = Path(folder).absolute()
    state = read_sweep_state(directory)
    return None if state is None else state.cluster, SweepConfig.open(directory / SWEEP)


def _begin_again(config: SweepConfig, request: ContinueSweep) -> Sweep:
    sweep = Sweep(config, _path(request), retry=request.retry)
    sweep.begin()
    return sweep


def _view_of(start: Start) -> RunView:
    if start.resume:
        return RunView.from_snapshot(open_run(str(start.path)).snapshot())
    return RunView(read_row(start.path), start.config.to_toml())
