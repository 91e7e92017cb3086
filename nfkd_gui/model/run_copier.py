"""Copies runs of another machine to this one, over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Signal

from nfkd.files import is_taken
from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import ListRuns, Reply, Request
from nfkd.remote.copying import RunCopy, Steps, copying
from nfkd.remote.errors import RemoteError
from nfkd.remote.hosts import EngineHost
from nfkd.remote.ssh import reconnect_pauses
from nfkd.text import name_problem
from nfkd_gui.link.connection import ClientFactory
from nfkd_gui.link.engine_client import EngineClient, EngineError
from nfkd_gui.model.machines import Machines

_Result = TypeVar("_Result")


class RunCopier(QObject):
    """Copies runs one after the other; what is incomplete at the end is removed.

    A cut connection is restored as the studio's, and the copy goes on where it was. Files are written in a thread.

    Parameters
    ----------
    machines
        Makes the clients.
    second
        Length of a second of the pauses; shorter in tests.
    """

    began = Signal(str)
    """The directory of the run that is copied now, on the other machine."""
    progressed = Signal(object, object)
    """Bytes that are done, and all bytes, of this run."""
    waited = Signal(str)
    """The connection was cut; carries the reason."""
    copied = Signal(str)
    """The directory of a complete copy."""
    failed = Signal(object)
    """An `ErrorInfo`: why this run and the rest were not copied."""
    ended = Signal()
    """All runs are copied, or it failed; not after `cancel`."""

    def __init__(self, machines: Machines, parent: QObject | None = None, *, second: float = 1.0) -> None:
        super().__init__(parent)
        self._machines, self._second = machines, second
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """Whether a copy is under way."""
        return self._task is not None

    def start(self, host: EngineHost, listed: str, runs: Sequence[str], folder: Path) -> None:
        """Copy runs of a machine into a folder of this one; `listed` is their folder of runs there."""
        self._task = asyncio.ensure_future(self._copy_all(host, listed, runs, folder))

    def cancel(self) -> None:
        """End without the run that is copied now."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _copy_all(self, host: EngineHost, listed: str, runs: Sequence[str], folder: Path) -> None:
        pool = ThreadPoolExecutor(1, thread_name_prefix="copy")
        try:
            for run in runs:
                self.began.emit(run)
                target = _free_path(folder, PurePosixPath(run.replace("\\", "/")).name)
                copy = _Copy(self, partial(self._machines.client_of, host), pool, self._second)
                await copy.execute(run, target, listed)
                self.copied.emit(str(target))
        except EngineError as error:
            self.failed.emit(error.error)
        except RemoteError as error:
            self.failed.emit(error.error)
        except OSError as error:
            self.failed.emit(_not_written(error))
        finally:
            pool.shutdown()
        self._task = None
        self.ended.emit()


class _Copy:
    """The copy of one run: connects, performs the steps, and connects again after a cut."""

    def __init__(self, copier: RunCopier, make_client: ClientFactory, pool: ThreadPoolExecutor, second: float) -> None:
        self._copier, self._make_client, self._pool, self._second = copier, make_client, pool, second
        self._loop = asyncio.get_running_loop()

    async def execute(self, run: str, target: Path, listed: str) -> None:
        target_copy = copying(run, target, self._report)
        copy = await self._in_thread(target_copy.__enter__)
        try:
            await self._copy(copy, listed)
        except BaseException as error:
            await asyncio.shield(self._in_thread(target_copy.__exit__, type(error), error, error.__traceback__))
            raise
        await self._in_thread(target_copy.__exit__, None, None, None)

    async def _copy(self, copy: RunCopy, listed: str) -> None:
        pauses = reconnect_pauses()
        reached = False
        while True:
            client = self._make_client(_ignore, _ignore)
            try:
                await client.start()
                await client.request(ListRuns(folder=listed))
                reached = True
                await self._perform(client, copy.steps())
            except EngineError as error:
                if client.connected or not (reached and client.reconnects):
                    raise
                self._copier.waited.emit(error.error.title)
            else:
                return
            finally:
                await client.close()
            await asyncio.sleep(next(pauses) * self._second)

    async def _perform(self, client: EngineClient, steps: Steps) -> None:
        reply: Reply | None = None
        try:
            while (request := await self._in_thread(_advance, steps, reply)) is not None:
                reply = await client.request(request)
        finally:
            await asyncio.shield(self._in_thread(steps.close))

    def _report(self, done: int, total: int) -> None:
        """Report the progress, from the thread."""
        self._loop.call_soon_threadsafe(self._copier.progressed.emit, done, total)

    async def _in_thread(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.wrap_future(self._pool.submit(function, *arguments))


def _advance(steps: Steps, reply: Reply | None) -> Request | None:
    """Return the next request of a copy; None at its end."""
    try:
        return next(steps) if reply is None else steps.send(reply)
    except StopIteration:
        return None


def _free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder that does not exist: with this name if this system allows it, or with a number."""
    name = "run" if name_problem(name) else name
    number, free = 2, folder / name
    while is_taken(free):
        free, number = folder / f"{name}-{number}", number + 1
    return free


def _not_written(error: OSError) -> ErrorInfo:
    return ErrorInfo(
        title="The run was not copied", cause=str(error), action="Choose another folder, or free some disk space."
    )


def _ignore(_message: Event | ErrorInfo) -> None:
    """Do nothing: only the replies count."""
