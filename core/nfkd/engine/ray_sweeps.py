"""Executes sweeps on a Ray cluster in a thread beside the queue of runs, and passes on their events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nfkd.config import ConfigError
from nfkd.engine.run_queue import RunQueue
from nfkd.files import is_taken
from nfkd.protocol.events import LogLine, RunChanged
from nfkd.protocol.queue import RayCluster
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, read_config
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from nfkd.sweeps import Sweep, SweepLoop, SweptRun
from nfkd.sweeps.ray_cluster import connected
from nfkd.sweeps.ray_executor import ray_executors

Begin = Callable[[bool], Sweep]
"""Returns a sweep whose folder is written, for several runs at the same time or not."""


class RaySweeps:
    """Executes one sweep at a time on a cluster; belongs to the running loop.

    Parameters
    ----------
    queue
        Gets the events and the state of the runs.
    """

    def __init__(self, queue: RunQueue) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._active: dict[str, tuple[Sweep, SweepLoop]] = {}
        self._runs: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def sweeps(self) -> list[Sweep]:
        """The sweep that is executed, if there is one."""
        return [sweep for sweep, _ in self._active.values()]

    @property
    def running(self) -> list[str]:
        """The folder of the sweep that the thread executes."""
        return list(self._active)

    def trains(self, run: str) -> bool:
        """Return whether a run is executed on a cluster."""
        return run in self._runs

    async def start(self, begin: Begin, cluster: RayCluster) -> Sweep:
        """Connect to the cluster, and start a sweep.

        Raises
        ------
        RunError, ConfigError
            When it cannot start; as `connected` and `begin`.
        """
        ready: asyncio.Future[Sweep] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._execute, args=(begin, cluster, ready), name="sweep on Ray", daemon=True
        )
        self._thread.start()
        return await ready

    def stop(self, folder: str) -> bool:
        """Stop the active runs of a sweep with checkpoints, and start no more; return whether it was executed here."""
        found = self._active.get(folder)
        if found is not None:
            found[1].stop()
        return found is not None

    def stop_run(self, run: str) -> bool:
        """Stop the sweep of a run; return whether the run was executed here."""
        return run in self._runs and self.stop(self._runs[run])

    async def close(self, seconds: float) -> None:
        """Stop everything, and wait a limited time for the thread."""
        self._closing = True
        for folder in list(self._active):
            self.stop(folder)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, seconds)

    # --- in the thread --------------------------------------------------------------------------------------------

    def _execute(self, begin: Begin, cluster: RayCluster, ready: asyncio.Future[Sweep]) -> None:
        folder = ""
        try:
            with connected(cluster) as slots:
                sweep = begin(slots > 1)
                folder = str(sweep.directory)
                loop = SweepLoop(
                    sweep,
                    executors=ray_executors(cluster, slots),
                    on_start=lambda run: self._begin_run(sweep, run),
                    on_event=lambda _, event: self._tell(self._queue.apply, event),
                    on_end=lambda run: self._tell(self._end_run, str(sweep.directory / run.name)),
                )
                self._tell(self._begin_sweep, ready, sweep, loop)
                loop.execute()
        except (RunError, ConfigError, OSError) as error:
            self._tell(self._fail, ready, folder, error)
        finally:
            self._tell(self._end_sweep, folder)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop was closed: the engine did not wait any longer
            self._loop.call_soon_threadsafe(function, *arguments)

    def _begin_run(self, sweep: Sweep, run: SweptRun) -> None:
        path = sweep.path(run)
        self._tell(self._add_run, str(sweep.directory), str(path), _view_of(path))

    # --- in the loop ----------------------------------------------------------------------------------------------

    def _begin_sweep(self, ready: asyncio.Future[Sweep], sweep: Sweep, loop: SweepLoop) -> None:
        self._active[str(sweep.directory)] = sweep, loop
        if self._closing:
            loop.stop()
        self._queue.refresh()
        if not ready.done():
            ready.set_result(sweep)

    def _fail(self, ready: asyncio.Future[Sweep], folder: str, error: Exception) -> None:
        if not ready.done():
            ready.set_exception(error)
            return
        text = f"The sweep {Path(folder).name} has ended: {error}"
        self._queue.apply(LogLine(run="", level="error", text=text, time=time.time()))

    def _end_sweep(self, folder: str) -> None:
        self._active.pop(folder, None)
        self._queue.refresh()

    def _add_run(self, folder: str, run: str, view: RunView) -> None:
        self._runs[run] = folder
        self._queue.views[run] = view
        self._queue.apply(RunChanged(run=run, row=view.row))

    def _end_run(self, run: str) -> None:
        self._runs.pop(run, None)
        self._queue.views.pop(run, None)
        self._queue.refresh()


def _view_of(path: Path) -> RunView:
    if is_taken(path / RUN_FILE):
        return RunView.from_snapshot(open_run(str(path)).snapshot())
    return RunView(read_row(path), read_config(path).to_toml())
