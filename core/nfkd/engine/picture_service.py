"""Requests for stored pictures, in threads of their own, so that a slow drive delays no other request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfkd.engine.file_probe import probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.pictures import (
    ListPictures,
    PictureList,
    ReadPictures,
    ReadSampleSeries,
    SampleSeries,
    StagePictures,
)
from nfkd.runs.pictures import list_pictures, read_pictures, read_series


class PictureService:
    """Reads stored pictures; belongs to the running loop.

    Parameters
    ----------
    limits
        How long requests may wait for files.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = RequestThreads("pictures", 2, limits)

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._threads.running

    async def close(self) -> None:
        """Wait a limited time for the threads."""
        await self._threads.close(self._limits.close_seconds)

    async def list(self, request: ListPictures) -> PictureList:
        """Return the steps with stored pictures."""
        return await self._read(list_pictures, request.run, request.seed)

    async def read(self, request: ReadPictures) -> StagePictures:
        """Return the pictures of a stage at a step."""
        return await self._read(read_pictures, request.run, request.seed, request.stage, request.step)

    async def series(self, request: ReadSampleSeries) -> SampleSeries:
        """Return the samples of a stage over its steps."""
        return await self._read(read_series, request.run, request.seed, request.stage, request.frames)

    async def _read(self, function: Callable[..., Any], run: str, *arguments: Any) -> Any:
        await probe_files(self._threads, [Path(run)], self._limits.probe_seconds)
        return await self._threads.run(function, Path(run), *arguments, about=run, limit=self._limits.work_seconds)
