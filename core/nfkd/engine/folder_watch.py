"""Watches folders of runs for changes by other processes."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.events import Event, RunChanged, RunRemoved
from nfkd.runs.errors import RunError
from nfkd.runs.finding import MAX_LEVELS
from nfkd.runs.folder_scan import SeenRun, changes, scan_runs

_MAX_FOLDERS = 4
_MAX_SHARE = 0.05  # of the time, for scans
Listed = Callable[[str], str | None]
"""Returns the watched folder that a path is below; None for other paths."""


class FolderWatch:
    """Scans the folders that clients listed, and reports changes to their runs. Belongs to the running loop.

    A folder is scanned again only when the scan before has ended: one that does not answer holds one thread.

    Parameters
    ----------
    report
        Called with the events.
    is_reported
        Returns whether another part of the engine reports the changes of a run.
    is_wanted
        Returns whether anybody receives the events; if not, nothing is scanned.
    threads
        The threads that scan.
    limits
        `watch_seconds` is used.
    """

    def __init__(
        self,
        report: Callable[[RunChanged | RunRemoved], None],
        is_reported: Callable[[str], bool],
        is_wanted: Callable[[], bool],
        threads: RequestThreads,
        limits: Limits,
    ) -> None:
        self._report, self._is_reported, self._is_wanted = report, is_reported, is_wanted
        self._threads, self._limits = threads, limits
        self._folders: OrderedDict[str, _Folder] = OrderedDict()

    def watch(self, folder: str, runs: Mapping[str, SeenRun]) -> None:
        """Watch a folder from now on; `runs` is what clients know of it. Only the last few folders are watched."""
        if folder not in self._folders:
            watched = self._folders[folder] = _Folder(runs)
            watched.task = asyncio.create_task(self._scan_repeatedly(Path(folder), watched))
        self._folders.move_to_end(folder)
        if len(self._folders) > _MAX_FOLDERS:
            self._folders.popitem(last=False)[1].stop()

    def known(self, folder: str) -> Mapping[str, SeenRun]:
        """Return the runs of a watched folder as clients know them; none of any other folder."""
        watched = self._folders.get(folder)
        return {} if watched is None else dict(watched.runs)

    def top_of(self, path: str) -> str | None:
        """Return the watched folder that a path is below, the highest of several; None for other paths."""
        return next((str(folder) for folder in reversed(Path(path).parents) if str(folder) in self._folders), None)

    def note(self, event: Event) -> None:
        """Take an event that clients get, so that it is not reported again."""
        if isinstance(event, RunChanged | RunRemoved):
            for folder in Path(event.run).parents[: MAX_LEVELS + 1]:
                watched = self._folders.get(str(folder))
                if watched is not None:
                    watched.note(event)

    def close(self) -> None:
        """End the watch."""
        for watched in self._folders.values():
            watched.stop()
        self._folders.clear()

    async def _scan_repeatedly(self, path: Path, watched: _Folder) -> None:
        pause = self._limits.watch_seconds
        while True:
            await asyncio.sleep(pause)
            if not self._is_wanted():
                continue
            started = time.monotonic()
            watched.noted.clear()
            try:
                found = await self._threads.run(scan_runs, path, dict(watched.runs), about=str(path), limit=math.inf)
            except (OSError, RunError):  # the folder cannot be read now; clients keep the rows that they have
                continue
            for event in watched.update(found, self._is_reported):
                self._report(event)
            pause = max(self._limits.watch_seconds, (time.monotonic() - started) / _MAX_SHARE)


class _Folder:
    """A watched folder.

    Attributes
    ----------
    runs
        The runs as clients know them.
    noted
        The runs with events since the current scan began; its result may be older than these events.
    """

    def __init__(self, runs: Mapping[str, SeenRun]) -> None:
        self.runs = dict(runs)
        self.noted: set[str] = set()
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def note(self, event: RunChanged | RunRemoved) -> None:
        self.noted.add(event.run)
        if isinstance(event, RunChanged):
            self.runs[event.run] = SeenRun(event.row)
        else:
            self.runs.pop(event.run, None)

    def update(self, found: dict[str, SeenRun], is_reported: Callable[[str], bool]) -> list[RunChanged | RunRemoved]:
        """Take the result of a scan, and return the changes that clients do not know yet."""
        unknown: list[RunChanged | RunRemoved] = []
        before = self.runs
        self.runs = found
        for event in changes(before, found):
            if event.run not in self.noted and not is_reported(event.run):
                unknown.append(event)
            elif event.run in before:
                found[event.run] = SeenRun(before[event.run].row)
            else:
                del found[event.run]
        return unknown
