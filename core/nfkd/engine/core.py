"""The engine itself: requests in, replies and events out. Lives on an asyncio loop; the transport is elsewhere."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

import nfkd
from nfkd.config import ComputeConfig, ConfigError, ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.engine.data import DataDesk
from nfkd.engine.explore import Explorer
from nfkd.engine.explore_desk import Explore, ExploreDesk
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.engine.touching import config_paths, format_paths, touch
from nfkd.flows.architectures import flow_summary
from nfkd.planning.describe import check, describe
from nfkd.planning.devices import device_name, resolve_device, thread_count
from nfkd.planning.plans import teacher_label
from nfkd.protocol import requests as ask
from nfkd.protocol.events import Event, RunChanged, RunEvent, RunRemoved
from nfkd.protocol.records import ErrorInfo, RunRow
from nfkd.protocol.view import RunView
from nfkd.runs.deleting import delete_run
from nfkd.runs.layout import create_run, list_runs, read_config, read_row, rename_run, write_row
from nfkd.runs.reader import open_run
from nfkd.training.control import LiveWeights, NotTraining
from nfkd.training.job import TrainingJob, explain
from nfkd.training.same_data import require_same_data

_NAMED = 10  # files in a message
Listener = Callable[[Event], None]


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A request that was not served.

    Attributes
    ----------
    error
        Why, in words.
    problems
        Where, when the experiment was at problem.
    """

    def __init__(self, error: ErrorInfo, problems: list[ConfigProblem] | None = None) -> None:
        self.error = error
        self.problems = problems or []
        super().__init__(f"{error.title}: {error.cause}")


@dataclass(frozen=True)
class _Pending:
    run: Path
    config: ExperimentConfig
    resume: bool


class Engine:
    """Answers requests and performs runs, one at a time; the rest queue.

    Make it in a coroutine: it belongs to the running loop. Listeners are called in the loop's thread. Whatever touches
    files runs in `RequestThreads`, never in the loop's thread.

    Parameters
    ----------
    limits
        How long requests may wait for files.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Listener] = []
        self._queue: OrderedDict[str, _Pending] = OrderedDict()
        self._job: TrainingJob | None = None
        self._closing = False
        self._closed: asyncio.Task[None] | None = None
        self._views: dict[str, RunView] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._changing: set[str] = set()
        self._explore = ExploreDesk(self._limits)
        self._files = RequestThreads("files", 4, self._limits)
        self._describing = RequestThreads("describe", 1, self._limits)
        self._data = DataDesk(self._announce, self._limits)
        self._handlers: dict[type, Callable[[Any], Any]] = {
            ask.Describe: self._describe,
            ask.Run: self._run,
            ask.ResumeFromDisk: self._resume_from_disk,
            ask.Pause: self._pause,
            ask.Resume: self._resume,
            ask.Stop: self._stop,
            ask.ListRuns: self._list,
            ask.OpenRun: self._open,
            ask.RenameRun: self._rename,
            ask.DeleteRun: self._delete,
            ask.Sample: functools.partial(self._interactive, Explorer.sample),
            ask.Interpolate: functools.partial(self._interactive, Explorer.interpolate),
            ask.Trace: functools.partial(self._interactive, Explorer.trace),
            ask.PreviewData: self._data.preview,
            ask.FetchData: self._data.fetch,
            ask.CancelFetch: self._data.cancel,
            ask.ListData: self._data.list,
            ask.Status: self._status,
            ask.Shutdown: self._shutdown,
        }

    @property
    def idle(self) -> bool:
        """Whether nothing trains and nothing waits to."""
        return self._idle.is_set()

    async def until_idle(self) -> None:
        """Wait until nothing trains and nothing waits to."""
        await self._idle.wait()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told every event; returns how to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def answer(self, request: ask.Request) -> ask.Reply:
        """Serve a request.

        Raises
        ------
        Refused
            With the reason, when it cannot be served.
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
        """Stop the active run, forget the queue, and end every thread, in limited time; `running` tells the rest."""
        if self._closed is None:
            self._closed = asyncio.create_task(self._close())
        await asyncio.shield(self._closed)  # a client that asked for it may leave meanwhile

    async def _close(self) -> None:
        self._closing = True
        self._queue.clear()
        if self._job is not None:
            self._job.control.stop("run")
        else:
            self._idle.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.until_idle(), self._limits.stop_seconds)
        limit = self._limits.close_seconds
        await asyncio.gather(
            self._data.close(), self._explore.close(), self._files.close(limit), self._describing.close(limit)
        )

    @property
    def running(self) -> list[str]:
        """What threads still work at or wait for: files, and the active run."""
        job = [str(self._job.run_directory)] if self._job else []
        return [*job, *self._explore.running, *self._files.running, *self._describing.running, *self._data.running]

    async def _off_loop(self, function: Callable[..., Any], *arguments: Any, about: str) -> Any:
        """Run what reads or changes small files."""
        return await self._files.run(function, *arguments, about=about, limit=self._limits.answer_seconds)

    async def _touched(self, *paths: Path | str) -> None:
        """Wait until files answer, for a short time."""
        await touch(self._files, [Path(path) for path in paths], self._limits.touch_seconds)

    async def _read_experiment(self, text: str) -> ExperimentConfig:
        """Return an experiment whose files answer; its ``data`` may be a path, which is looked at."""
        config = await self._off_loop(ExperimentConfig.from_toml, text, about="a file of the experiment")
        await self._touched(*config_paths(config))
        return config

    async def _describe_off_loop(self, function: Callable[[ExperimentConfig], Any], config: ExperimentConfig) -> Any:
        about = format_paths(config_paths(config))
        return await self._describing.run(function, config, about=about, limit=self._limits.work_seconds)

    @contextmanager
    def _change(self, run: str) -> Iterator[None]:
        """Keep other requests from changing a run's directory at the same time."""
        if run in self._changing:
            cause = f"Another request changes {Path(run).name} at this moment."
            raise Refused(ErrorInfo(title="The run is being changed", cause=cause, action="Try again."))
        self._changing.add(run)
        try:
            yield
        finally:
            self._changing.discard(run)

    # -- experiments -----------------------------------------------------------------------------------------------

    async def _describe(self, request: ask.Describe) -> ask.Description:
        return await self._describe_off_loop(describe, await self._read_experiment(request.config))

    async def _run(self, request: ask.Run) -> ask.RunAccepted:
        config = await self._read_experiment(request.config)
        await self._describe_off_loop(check, config)
        path, row = await self._off_loop(_create, config, request.folder, about=request.folder)
        return self._enqueue(_Pending(path, config, resume=False), RunView(row, config.to_toml()))

    async def _resume_from_disk(self, request: ask.ResumeFromDisk) -> ask.RunAccepted:
        self._refuse_living(request.run, "resumed")
        with self._change(request.run):
            await self._touched(request.run)
            config = await self._off_loop(read_config, Path(request.run), about=request.run)
            await self._touched(*config_paths(config))
            # Before the run is queued: one that has ended stays as it is.
            await self._describe_off_loop(lambda config: require_same_data(config, Path(request.run)), config)
            snapshot = await self._snapshot(request.run)
            self._refuse_living(request.run, "resumed")  # another client may have been quicker meanwhile
            return self._enqueue(_Pending(Path(request.run), config, resume=True), RunView.from_snapshot(snapshot))

    async def _snapshot(self, run: str) -> ask.Snapshot:
        await self._touched(run)
        return await self._files.run(lambda: open_run(run).snapshot(), about=run, limit=self._limits.work_seconds)

    def _refuse_closing(self) -> None:
        if self._closing:
            raise Refused(
                ErrorInfo(title="The engine is ending", cause="It was told to stop.", action="Start it again.")
            )

    def _enqueue(self, pending: _Pending, view: RunView) -> ask.RunAccepted:
        self._refuse_closing()  # it may have been told while the run's directory was made
        run = str(pending.run)
        view.row = msgspec.structs.replace(view.row, state="queued", cause="")
        view.error = None
        self._views[run] = view
        self._queue[run] = pending
        self._idle.clear()
        self._take(RunChanged(run=run, row=view.row))
        if self._job is None:
            self._next()
        return ask.RunAccepted(run=run)

    def _next(self) -> None:
        if not self._queue:
            self._idle.set()
            return
        _, pending = self._queue.popitem(last=False)

        def emit(event: RunEvent) -> None:
            self._loop.call_soon_threadsafe(self._take, event)

        def on_end() -> None:
            self._loop.call_soon_threadsafe(self._ended)

        self._job = TrainingJob(
            pending.run,
            pending.config,
            emit,
            resume=pending.resume,
            on_end=on_end,
        )
        self._job.start()

    def _ended(self) -> None:
        if self._job is not None:
            self._job.join()
            self._views.pop(str(self._job.run_directory), None)
        self._job = None
        self._next()

    def _take(self, event: RunEvent) -> None:
        view = self._views.get(event.run)
        if view is not None:
            view.apply(event)
        self._announce(event)

    def _announce(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    # -- the active run --------------------------------------------------------------------------------------------

    async def _pause(self, request: ask.Pause) -> ask.Done:
        self._active(request.run).control.pause()
        return ask.Done()

    async def _resume(self, request: ask.Resume) -> ask.Done:
        self._active(request.run).control.resume()
        return ask.Done()

    async def _stop(self, request: ask.Stop) -> ask.Done:
        if self._queue.pop(request.run, None) is not None:
            self._views.pop(request.run)
            row = await self._off_loop(_withdraw, Path(request.run), about=request.run)
            self._take(RunChanged(run=request.run, row=row))
        else:
            self._active(request.run).control.stop(request.scope)
        return ask.Done()

    def _active(self, run: str) -> TrainingJob:
        if self._job is None or str(self._job.run_directory) != run:
            raise Refused(
                ErrorInfo(
                    title="The run is not active",
                    cause=f"{Path(run).name} has ended or waits in the queue.",
                    action="Open it from the table of runs.",
                )
            )
        return self._job

    # -- runs on disk ----------------------------------------------------------------------------------------------

    async def _list(self, request: ask.ListRuns) -> ask.RunList:
        folder, rows, unreadable = await self._off_loop(_look_into, request.folder, about=request.folder)
        living: dict[str, RunRow] = {run: view.row for run, view in self._views.items()}
        return ask.RunList(folder=folder, rows=[living.get(row.run) or row for row in rows], unreadable=unreadable)

    async def _open(self, request: ask.OpenRun) -> ask.Snapshot:
        view = self._views.get(request.run)
        if view is not None:
            return view.snapshot()
        return await self._snapshot(request.run)

    async def _rename(self, request: ask.RenameRun) -> ask.RunAccepted:
        self._refuse_living(request.run, "renamed")
        with self._change(request.run):
            path = await self._off_loop(rename_run, Path(request.run), request.name, about=request.run)
        self._take(RunRemoved(run=request.run, new=str(path)))
        return ask.RunAccepted(run=str(path))

    async def _delete(self, request: ask.DeleteRun) -> ask.Done:
        self._refuse_living(request.run, "deleted")
        with self._change(request.run):
            kept = await self._files.run(
                delete_run, Path(request.run), about=request.run, limit=self._limits.work_seconds
            )  # the trash may be on another drive: everything is copied then
        self._take(RunRemoved(run=request.run))
        return ask.Done(note=_describe_kept(kept))

    def _refuse_living(self, run: str, verb: str) -> None:
        if run in self._views:
            cause = f"{Path(run).name} is still training or waiting."
            raise Refused(ErrorInfo(title=f"The run cannot be {verb}", cause=cause, action="Stop it first."))

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _interactive(self, function: Explore, request: Any) -> Any:
        return await self._explore.answer(function, request, await self._live_weights(request.run))

    async def _live_weights(self, run: str) -> LiveWeights | None:
        if self._job is None or str(self._job.run_directory) != run:
            return None
        try:
            wanted = asyncio.wrap_future(self._job.control.live_weights())
            return await asyncio.wait_for(wanted, self._limits.work_seconds)
        except NotTraining:
            return None
        except TimeoutError as error:
            cause = f"{Path(run).name} made no step within {self._limits.work_seconds:g} s."
            raise Refused(ErrorInfo(title="The run does not answer", cause=cause, action="See its log.")) from error

    async def _status(self, request: ask.Status) -> ask.EngineStatus:
        del request
        compute = ComputeConfig()
        device = resolve_device(compute)
        return ask.EngineStatus(
            version=nfkd.__version__,
            torch=str(torch.__version__),
            device=str(device),
            device_name=device_name(device),
            threads=thread_count(compute),
            pid=os.getpid(),
            clients=len(self._listeners),
            active=str(self._job.run_directory) if self._job else "",
            queue=list(self._queue),
        )

    async def _shutdown(self, request: ask.Shutdown) -> ask.Done:
        del request
        await self.close()
        return ask.Done()


def _create(config: ExperimentConfig, folder: str) -> tuple[Path, RunRow]:
    path = create_run(
        Path(folder).expanduser(), config, teacher=teacher_label(config), student=flow_summary(config.student)
    )
    return path, read_row(path)


def _withdraw(run: Path) -> RunRow:
    """Mark a run that never began as stopped."""
    row = msgspec.structs.replace(read_row(run), state="stopped")
    write_row(run, row)
    return row


def _describe_kept(kept: list[Path]) -> str:
    """Say what a deleted run's directory still holds; nothing where it is gone."""
    if not kept:
        return ""
    more = f" and {len(kept) - _NAMED:,} more" if len(kept) > _NAMED else ""
    return f"Not made by NFKD, and left where it is: {', '.join(map(str, kept[:_NAMED]))}{more}."


def _look_into(folder: str) -> tuple[str, list[RunRow], list[str]]:
    path = Path(folder).expanduser()
    rows, unreadable = list_runs(path)
    return str(path), rows, unreadable
