"""Follows open runs that other processes write, and emits their events."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.files import is_taken
from nfkd.protocol.events import Event, Gap, RunChanged, RunRemoved
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.live_run import FileReplacedError, LiveRun
from nfkd.runs.state import STATE, read_row

_MAX_FOLLOWED = 8
_MAX_OPENED = 64
_MAX_SHARE = 0.1  # of the time, for reading one run


def read_live_run(run: str) -> LiveRun | None:
    """Return a run that another process writes; None for any other run."""
    path = Path(run).absolute()
    return LiveRun(path) if read_row(path).elsewhere else None


class RunFollower:
    """Reads the files of open runs repeatedly, and emits what is new. Belongs to the running loop.

    Snapshots come from `view_of`, so that they agree with the events.

    Parameters
    ----------
    emit
        Called with the events.
    is_wanted
        Returns whether anybody receives the events; if not, nothing is read.
    threads
        The threads that read.
    limits
        `watch_seconds` is used.
    """

    def __init__(
        self, emit: Callable[[Event], None], is_wanted: Callable[[], bool], threads: RequestThreads, limits: Limits
    ) -> None:
        self._emit, self._is_wanted, self._threads, self._limits = emit, is_wanted, threads, limits
        self._opened: OrderedDict[str, None] = OrderedDict()
        self._runs: dict[str, LiveRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def view_of(self, run: str) -> RunView | None:
        """Return the state of a followed run; None if it is not followed."""
        live = self._runs.get(run)
        return None if live is None else live.view

    def opened(self, run: str) -> None:
        """Remember that a client has opened a run: it is followed when another process resumes it."""
        self._opened[run] = None
        self._opened.move_to_end(run)
        if len(self._opened) > _MAX_OPENED:
            self._opened.popitem(last=False)

    def follow(self, live: LiveRun) -> RunView:
        """Follow a run until it ends, and return its state; only the last few runs are followed."""
        run = str(live.path)
        if run not in self._runs:
            self._runs[run] = live
            if run in self._tasks:  # it was resumed: other clients have its old state
                self._emit(Gap())
            else:
                self._start(run)
        return self._runs[run].view

    def note(self, event: Event) -> None:
        """Take an event that clients get: follow an open run that another process resumes, and no removed one."""
        match event:
            case RunChanged(run=run, row=row) if row.elsewhere and run in self._opened and run not in self._tasks:
                self._start(run)
            case RunRemoved(run=run):
                self._opened.pop(run, None)
                self.drop(run)
            case _:
                pass

    def drop(self, run: str) -> None:
        """Follow a run no longer."""
        self._runs.pop(run, None)
        if task := self._tasks.pop(run, None):
            task.cancel()

    def close(self) -> None:
        """Follow no run any more."""
        for run in list(self._tasks):
            self.drop(run)

    def _start(self, run: str) -> None:
        self._tasks[run] = asyncio.create_task(self._follow(run))
        if len(self._tasks) > _MAX_FOLLOWED:
            oldest = next(iter(self._tasks))
            self._opened.pop(oldest, None)
            self.drop(oldest)

    async def _follow(self, run: str) -> None:
        pause = self._limits.watch_seconds
        try:
            while True:
                await asyncio.sleep(pause)
                started = time.monotonic()
                if self._is_wanted() and not await self._continues(run):
                    break
                pause = max(self._limits.watch_seconds, (time.monotonic() - started) / _MAX_SHARE)
        finally:
            if self._tasks.get(run) is asyncio.current_task():
                self._runs.pop(run, None)
                del self._tasks[run]

    async def _continues(self, run: str) -> bool:
        """Emit what is new, and return whether there may be more."""
        try:
            return await self._look(run)
        except (OSError, RunError):
            return not await self._report_removal(run)

    async def _report_removal(self, run: str) -> bool:
        """Report that a run was removed; return False if it was not."""
        with suppress(RunError):  # too many threads wait for files
            if not await self._in_thread(is_taken, Path(run) / STATE, about=run):
                self._emit(RunRemoved(run=run))
                return True
        return False

    async def _look(self, run: str) -> bool:
        live = self._runs.get(run)
        if live is None:
            return await self._read_again(run)
        try:
            return await self._emit_events(live)
        except FileReplacedError:
            return await self._read_again(run)

    async def _emit_events(self, live: LiveRun) -> bool:
        for event in await self._in_thread(live.read_events, about=str(live.path)):
            live.view.apply(event)
            self._emit(event)
        return not live.ended

    async def _read_again(self, run: str) -> bool:
        """Read all of a run again, and let clients ask for snapshots; return whether it still runs."""
        live = await self._in_thread(read_live_run, run, about=run)
        if live is None:
            self._runs.pop(run, None)
        else:
            self._runs[run] = live
        self._emit(Gap())
        return live is not None

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any, about: str) -> Any:
        return await self._threads.run(function, *arguments, about=about, limit=math.inf)
