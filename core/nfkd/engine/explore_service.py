"""Interactive requests in threads, each with an `Explorer` of its own, after a probe of the run's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nfkd.engine.explore import Explorer
from nfkd.engine.file_probe import config_paths, probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.flows.isolation import plain_torch
from nfkd.runs.layout import EXPERIMENT, read_config
from nfkd.training.control import LiveWeights

Explore = Callable[[Explorer, Any, LiveWeights | None], Any]
"""A method of `Explorer`."""


class ExploreService:
    """Answers interactive requests about runs; belongs to the running loop.

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
        """The files that running threads use."""
        return [*self._threads.running, *self._files.running]

    async def close(self) -> None:
        """Wait a limited time for the threads."""
        for threads in (self._threads, self._files):
            await threads.close(self._limits.close_seconds)

    async def answer(self, function: Explore, request: Any, live: LiveWeights | None) -> Any:
        """Answer a request; raises the errors of `function`, and `FilesSilentError`."""
        limits, run = self._limits, request.run
        paths = await self._files.run(self._experiment_paths, Path(run), about=run, limit=limits.answer_seconds)
        await probe_files(self._files, [Path(run), *paths], limits.probe_seconds)
        return await self._threads.run(self._explore, function, request, live, about=run, limit=limits.work_seconds)

    def _experiment_paths(self, run: Path) -> list[Path]:
        """Return the files that a run's experiment uses; cached until the experiment changes."""
        path = run / EXPERIMENT
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        cached_stamp, paths = self._paths.get(run, (0, []))
        if cached_stamp != stamp or not stamp:
            paths = config_paths(read_config(run))
            self._paths[run] = stamp, paths
        return paths

    def _explore(self, function: Explore, *arguments: Any) -> Any:
        """Call a method of an explorer that no other thread uses."""
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
