"""Reports what other processes do with runs: in folders that clients listed, and with runs that they opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nfkd.engine.folder_watch import FolderWatch
from nfkd.engine.limits import Limits
from nfkd.engine.run_follower import RunFollower
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.events import Event
from nfkd.protocol.view import RunView
from nfkd.runs.folder_scan import SeenRun
from nfkd.runs.live_run import LiveRun


class RunWatch:
    """Watches folders and follows open runs; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with the events.
    is_own
        Returns whether the engine itself trains a run, or will train it.
    is_wanted
        Returns whether anybody receives the events.
    limits
        `watch_seconds` and the limits of threads are used.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        is_own: Callable[[str], bool],
        is_wanted: Callable[[], bool],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._threads = RequestThreads("watch", 4, limits)
        self._follower = RunFollower(emit, is_wanted, self._threads, limits)

        def is_reported(run: str) -> bool:
            return is_own(run) or self._follower.view_of(run) is not None

        self._folders = FolderWatch(emit, is_reported, is_wanted, self._threads, limits)

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._threads.running

    def watch(self, folder: str, runs: Mapping[str, SeenRun]) -> None:
        """Watch a folder from now on; `runs` is what clients know of it."""
        self._folders.watch(folder, runs)

    def known(self, folder: str) -> Mapping[str, SeenRun]:
        """Return the runs of a watched folder as clients know them; none of any other folder."""
        return self._folders.known(folder)

    def top_of(self, path: str) -> str | None:
        """Return the watched folder that a path is below; None for other paths."""
        return self._folders.top_of(path)

    def view_of(self, run: str) -> RunView | None:
        """Return the state of a run that is followed; None for any other run. A client has opened it."""
        self._follower.opened(run)
        return self._follower.view_of(run)

    def follow(self, live: LiveRun) -> RunView:
        """Follow a run of another process until it ends, and return its state."""
        return self._follower.follow(live)

    def drop(self, run: str) -> None:
        """Follow a run no longer, because the engine trains it now."""
        self._follower.drop(run)

    def note(self, event: Event) -> None:
        """Take an event that clients get."""
        self._folders.note(event)
        self._follower.note(event)

    async def close(self) -> None:
        """End all of this, in limited time."""
        self._folders.close()
        self._follower.close()
        await self._threads.close(self._limits.close_seconds)
