"""The engine: answers requests and emits events. Runs on an asyncio loop; knows no sockets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.paths import config_paths
from nfkd.config.problems import ConfigProblem
from nfkd.engine.compare_service import CompareService
from nfkd.engine.copy_service import CopyService
from nfkd.engine.data_service import DataService
from nfkd.engine.estimate_service import EstimateService
from nfkd.engine.evaluate_service import EvaluateService
from nfkd.engine.explore_service import ExploreService
from nfkd.engine.file_probe import format_paths, probe_files
from nfkd.engine.lab_service import LabService
from nfkd.engine.limits import Limits
from nfkd.engine.picture_service import PictureService
from nfkd.engine.run_files_service import RunFilesService
from nfkd.engine.run_follower import read_live_run
from nfkd.engine.run_guard import RunGuard
from nfkd.engine.run_queue import QueuedRun, RunQueue
from nfkd.engine.run_watch import RunWatch
from nfkd.engine.status import engine_status
from nfkd.engine.sweep_service import SweepService
from nfkd.engine.threads import RequestThreads
from nfkd.flows.architectures import flow_summary
from nfkd.planning.describe import check, describe
from nfkd.planning.plans import teacher_label
from nfkd.planning.times import time_estimate
from nfkd.protocol import requests as ask
from nfkd.protocol.events import Event, RunChanged, RunRemoved
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.run_rows import RunRow
from nfkd.protocol.thinning import thinned
from nfkd.protocol.times import EstimateTime, TimeEstimate
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.folder_scan import SeenRun, rows_of, scan_listed
from nfkd.runs.layout import create_run, read_config
from nfkd.runs.reader import open_run, read_figures
from nfkd.runs.state import read_row, read_state, write_row
from nfkd.training.data_check import require_same_data
from nfkd.training.job import TrainingJob, explain

Listener = Callable[[Event], None]


class Refused(Exception):  # noqa: N818 - part of the protocol
    """A request was refused.

    Attributes
    ----------
    error
        The reason.
    problems
        What is wrong with the experiment, if anything.
    """

    def __init__(self, error: ErrorInfo, problems: list[ConfigProblem] | None = None) -> None:
        self.error = error
        self.problems = problems or []
        super().__init__(f"{error.title}: {error.cause}")


class Engine:
    """Answers requests and trains runs, one at a time.

    Belongs to the running loop, so create it in a coroutine. Listeners are called in the loop's thread. Everything
    that uses files runs in `RequestThreads`, never in the loop's thread.

    Parameters
    ----------
    limits
        How long requests may wait for files.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._listeners: list[Listener] = []
        self._closing = False
        self._closed: asyncio.Task[None] | None = None
        self._runs = RunQueue(self._emit)
        self._guard = RunGuard(lambda run: run in self._runs.views)
        self._explore = ExploreService(self._emit, self._runs.job_of, self._limits)
        self._pictures = PictureService(self._limits)
        self._files = RequestThreads("files", 4, self._limits)
        self._describing = RequestThreads("describe", 1, self._limits)
        self._watch = RunWatch(
            self._emit, lambda run: run in self._runs.views, lambda: bool(self._listeners), self._limits
        )
        self._run_files = RunFilesService(self._report, self._guard, self._watch.top_of, self._limits)
        self._copies = CopyService(self._watch.top_of, self._limits)
        self._compare = CompareService(self._row_of, self._limits)
        self._evaluations = EvaluateService(self._emit, self._limits)
        self._labs = LabService(self._limits)
        self._estimates = EstimateService(self._limits, lambda: not self._runs.idle)
        self._sweeps = SweepService(self._runs, self._estimates, self._limits)
        self._data = DataService(self._emit, self._limits)
        self._handlers: dict[type, Callable[[Any], Any]] = {
            ask.Describe: self._describe,
            EstimateTime: self._estimate,
            ask.Run: self._run,
            ask.ResumeFromDisk: self._resume_from_disk,
            ask.Pause: self._pause,
            ask.Resume: self._resume,
            ask.Stop: self._stop,
            **self._runs.handlers,
            ask.ListRuns: self._list,
            ask.OpenRun: self._open,
            ask.ReadFigures: self._read_figures,
            **self._run_files.handlers,
            **self._compare.handlers,
            **self._copies.handlers,
            **self._evaluations.handlers,
            **self._explore.handlers,
            **self._labs.handlers,
            **self._sweeps.handlers,
            ask.ListPictures: self._pictures.list,
            ask.ReadPictures: self._pictures.read,
            ask.ReadSampleSeries: self._pictures.series,
            **self._data.handlers,
            ask.Status: self._status,
            ask.Shutdown: self._shutdown,
        }

    @property
    def idle(self) -> bool:
        """Whether no run is active or queued."""
        return self._runs.idle

    async def wait_until_idle(self) -> None:
        """Wait until no run is active or queued."""
        await self._runs.wait_until_idle()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call a listener with every event; returns a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def answer(self, request: ask.Request) -> ask.Reply:
        """Answer a request.

        Raises
        ------
        Refused
            With the reason, when it cannot be answered.
        """
        self._refuse_closing()
        try:
            return await self._handlers[type(request)](request)
        except ConfigError as error:
            info = ErrorInfo(
                title="The experiment was refused", cause=str(error), action="Correct the named fields and try again."
            )
            raise Refused(info, error.problems) from error
        except Refused:
            raise
        except Exception as error:
            raise Refused(explain(error, Path(getattr(request, "run", "") or "."))) from error

    async def close(self) -> None:
        """Stop the active run, empty the queue and end the threads, in limited time; see `running` for the rest."""
        if self._closed is None:
            self._closed = asyncio.create_task(self._close())
        await asyncio.shield(self._closed)  # closing continues when the client that requested it leaves

    async def _close(self) -> None:
        self._closing = True
        self._estimates.stop("The engine is ending.")
        self._sweeps.stop()
        self._runs.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wait_until_idle(), self._limits.stop_seconds)
        limit = self._limits.close_seconds
        services = (
            self._data, self._explore, self._labs, self._sweeps, self._pictures, self._estimates, self._watch,
            self._run_files, self._compare, self._evaluations, self._copies,
        )  # fmt: skip
        threads = (self._files, self._describing)
        await asyncio.gather(*(each.close() for each in services), *(each.close(limit) for each in threads))

    @property
    def running(self) -> list[str]:
        """The active run, and the files that running threads use."""
        job = [self._runs.active] if self._runs.active else []
        users = (
            self._explore, self._labs, self._sweeps, self._pictures, self._files, self._describing, self._watch,
            self._estimates, self._data, self._run_files, self._compare, self._evaluations, self._copies,
        )  # fmt: skip
        return [*job, *(path for user in users for path in user.running)]

    def _emit(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)
        self._watch.note(event)

    def _report(self, event: RunChanged | RunRemoved) -> None:
        """Emit what a request has changed; rows of the engine's own runs are newer than their files."""
        view = self._runs.views.get(event.run)
        if isinstance(event, RunChanged) and view is not None:
            self._runs.label(event.run, event.row)
        else:
            self._emit(event)

    async def _off_loop(self, function: Callable[..., Any], *arguments: Any, about: str) -> Any:
        """Run a function that reads or changes small files."""
        return await self._files.run(function, *arguments, about=about, limit=self._limits.answer_seconds)

    async def _probe(self, *paths: Path | str) -> None:
        await probe_files(self._files, [Path(path) for path in paths], self._limits.probe_seconds)

    async def _read_experiment(self, text: str) -> ExperimentConfig:
        """Return an experiment after a probe of its files; its ``data`` may be a path, so reading it uses files too."""
        config = await self._off_loop(ExperimentConfig.from_toml, text, about="a file of the experiment")
        await self._probe(*config_paths(config))
        return config

    async def _describe_off_loop(self, function: Callable[[ExperimentConfig], Any], config: ExperimentConfig) -> Any:
        about = format_paths(config_paths(config))
        return await self._data.reads.run(self._describing, config.data, function, config, about=about)

    def _refuse_closing(self) -> None:
        if self._closing:
            cause = "It has been stopped."
            raise Refused(ErrorInfo(title="The engine is ending", cause=cause, action="Start it again."))

    # -- experiments -----------------------------------------------------------------------------------------------

    async def _describe(self, request: ask.Describe) -> ask.Description:
        return await self._describe_off_loop(describe, await self._read_experiment(request.config))

    async def _estimate(self, request: EstimateTime) -> TimeEstimate:
        number = self._estimates.arrive()
        config = await self._read_experiment(request.config)
        await self._describe_off_loop(check, config)
        self._refuse_closing()
        return await self._estimates.estimate(config, number)

    async def _run(self, request: ask.Run) -> ask.RunAccepted:
        config = await self._read_experiment(request.config)
        await self._describe_off_loop(check, config)
        path, row = await self._off_loop(_create, config, request.folder, about=request.folder)
        return self._enqueue(str(path), config, RunView(row, config.to_toml()), resume=False)

    async def _resume_from_disk(self, request: ask.ResumeFromDisk) -> ask.RunAccepted:
        self._guard.refuse_unfinished(request.run, "resumed")
        with self._guard.changing(request.run):
            await self._probe(request.run)
            config = await self._off_loop(read_config, Path(request.run), about=request.run)
            await self._probe(*config_paths(config))
            # Checked before the run is queued, so that a refused run keeps its state.
            await self._describe_off_loop(lambda config: require_same_data(config, Path(request.run)), config)
            snapshot = await self._snapshot(request.run)
            if snapshot.row.elsewhere:
                await self._raise_not_active(request.run)
            self._guard.refuse_unfinished(request.run, "resumed")  # another client may have resumed it meanwhile
            run = str(Path(request.run))  # without a trailing slash, for example
            self._watch.drop(run)
            return self._enqueue(run, config, RunView.from_snapshot(snapshot), resume=True)

    def _enqueue(self, run: str, config: ExperimentConfig, view: RunView, *, resume: bool) -> ask.RunAccepted:
        self._refuse_closing()  # closing may have started while the run's directory was created
        self._estimates.stop("A run has started, and a measurement would slow it down.")
        known = self._estimates.known(config)
        units = None if known is None else known.units
        seconds = math.nan if known is None else time_estimate(config, known.units, known.preparation).seconds
        self._runs.add(run, view, QueuedRun(config=config, resume=resume, units=units, seconds=seconds))
        return ask.RunAccepted(run=run)

    # -- the active run --------------------------------------------------------------------------------------------

    async def _pause(self, request: ask.Pause) -> ask.Done:
        (await self._require_active(request.run)).control.pause()
        return ask.Done()

    async def _resume(self, request: ask.Resume) -> ask.Done:
        (await self._require_active(request.run)).control.resume()
        return ask.Done()

    async def _stop(self, request: ask.Stop) -> ask.Done:
        if self._runs.remove(request.run):
            row = await self._off_loop(_mark_stopped, Path(request.run), about=request.run)
            self._runs.apply(RunChanged(run=request.run, row=row))
        elif not self._sweeps.stop_run(request.run):
            (await self._require_active(request.run)).control.stop(request.scope)
        return ask.Done()

    async def _require_active(self, run: str) -> TrainingJob:
        self._sweeps.refuse_elsewhere(run)
        return self._runs.job_of(run) or await self._raise_not_active(run)

    async def _raise_not_active(self, run: str) -> NoReturn:
        try:
            state = await self._off_loop(read_state, Path(run), about=run)
        except RunError:
            state = None
        if state is not None and state.row.elsewhere:
            title, cause = "The run belongs to another process", f"Process {state.pid} trains {state.row.name}."
            action = "Control it where it was started. Ctrl-C in its terminal stops it."
        else:
            title, cause = "The run is not active", f"{Path(run).name} has ended or is queued."
            action = "Open it from the table of runs."
        raise Refused(ErrorInfo(title=title, cause=cause, action=action))

    # -- saved runs ------------------------------------------------------------------------------------------------

    async def _list(self, request: ask.ListRuns) -> ask.RunList:
        folder, found = await self._off_loop(_scan, request.folder, self._watch.known, about=request.folder)
        rows, unreadable = rows_of(found.values())
        views = self._runs.views
        rows = [views[row.run].row if row.run in views else row for row in rows]
        self._watch.watch(folder, found | {row.run: SeenRun(row) for row in rows if row.run in views})
        return ask.RunList(folder=folder, rows=rows, unreadable=unreadable)

    def _row_of(self, run: str) -> RunRow | None:
        """Return the row of a run that the engine trains or will train; None for any other run."""
        view = self._runs.views.get(run)
        return None if view is None else view.row

    async def _open(self, request: ask.OpenRun) -> ask.Snapshot:
        run = request.run
        view = self._watch.view_of(run) or self._runs.views.get(run)
        if view is None:
            await self._probe(run)
            live = await self._read_run(read_live_run, run)
            if live is None:
                return thinned(await self._read_run(_read_snapshot, run))
            view = self._watch.follow(live)
        return thinned(view.snapshot())

    async def _read_figures(self, request: ask.ReadFigures) -> ask.Snapshot:
        view = self._runs.views.get(request.run)
        if view is not None:
            return view.snapshot(figures_only=True)
        await self._probe(request.run)
        return await self._read_run(read_figures, request.run)

    async def _snapshot(self, run: str) -> ask.Snapshot:
        await self._probe(run)
        return await self._read_run(_read_snapshot, run)

    async def _read_run(self, function: Callable[[str], Any], run: str) -> Any:
        return await self._files.run(function, run, about=run, limit=self._limits.work_seconds)

    # -- the engine itself -------------------------------------------------------------------------------------

    async def _status(self, request: ask.Status) -> ask.EngineStatus:
        del request
        return engine_status(clients=len(self._listeners), active=self._runs.active, queue=self._runs.state)

    async def _shutdown(self, request: ask.Shutdown) -> ask.Done:
        del request
        await self.close()
        return ask.Done()


def _create(config: ExperimentConfig, folder: str) -> tuple[Path, RunRow]:
    path = create_run(
        Path(folder).expanduser(), config, teacher=teacher_label(config), student=flow_summary(config.student)
    )
    return path, read_row(path)


def _scan(folder: str, known: Callable[[str], Mapping[str, SeenRun]]) -> tuple[str, dict[str, SeenRun]]:
    path = Path(folder).expanduser().absolute()
    return str(path), scan_listed(path, known(str(path)))


def _read_snapshot(run: str) -> ask.Snapshot:
    return open_run(run).snapshot()


def _mark_stopped(run: Path) -> RunRow:
    row = msgspec.structs.replace(read_row(run), state="stopped")
    write_row(run, row)
    return row
