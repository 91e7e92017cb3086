"""Interactive requests in threads: the files of a run are touched first, and each thread has an explorer of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nfkd.engine.explore import Explorer
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.engine.touching import config_paths, touch
from nfkd.flows.isolation import plain_torch
from nfkd.runs.layout import EXPERIMENT, read_config
from nfkd.training.control import LiveWeights

Explore = Callable[[Explorer, Any, LiveWeights | None], Any]
"""A method of `Explorer`."""


class ExploreDesk:
    """Serves the requests that `Explorer` answers; belongs to the running loop.

    Parameters
    ----------
    limits
        How long requests may wait for files.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = RequestThreads("explore", 1, limits)
        self._files = RequestThreads("files of runs", 4, limits)
        self._free: list[Explorer] = []
        self._paths: dict[Path, tuple[int, list[Path]]] = {}

    @property
    def running(self) -> list[str]:
        """What threads still work at or wait for."""
        return [*self._threads.running, *self._files.running]

    async def close(self) -> None:
        """Wait for the threads for a limited time."""
        for threads in (self._threads, self._files):
            await threads.close(self._limits.close_seconds)

    async def answer(self, function: Explore, request: Any, live: LiveWeights | None) -> Any:
        """Answer a request about a run; raises what `function` does, and `FilesSilentError`."""
        limits, run = self._limits, request.run
        paths = await self._files.run(self._named, Path(run), about=run, limit=limits.answer_seconds)
        await touch(self._files, [Path(run), *paths], limits.touch_seconds)
        return await self._threads.run(self._explored, function, request, live, about=run, limit=limits.work_seconds)

    def _named(self, run: Path) -> list[Path]:
        """Return the files that a run's experiment names; it is read again only when it has changed."""
        path = run / EXPERIMENT
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        known, paths = self._paths.get(run, (0, []))
        if known != stamp or not stamp:
            paths = config_paths(read_config(run))
            self._paths[run] = stamp, paths
        return paths

    def _explored(self, function: Explore, *arguments: Any) -> Any:
        """Lend an explorer to this thread: one that a slow request still uses serves no other."""
        try:
            explorer = self._free.pop()
        except IndexError:
            explorer = Explorer()
        try:
            with plain_torch():
                torch.set_num_threads(1)
                return function(explorer, *arguments)
        finally:
            if not self._free:
                self._free.append(explorer)
