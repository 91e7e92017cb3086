"""Requests about data sets: previews, downloads with progress, and the user's named data sets."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from threading import Event as ThreadEvent
from typing import Any

from nfkd.config import ConfigError, DataConfig
from nfkd.config.datasets import dataset_names, datasets_folder, kind_label, parse_data, parse_data_toml
from nfkd.config.paths import config_paths
from nfkd.config.toml import toml_text
from nfkd.data import DataError, NotFetchedError, fetch_dataset, load_dataset
from nfkd.data.preview import preview_dataset
from nfkd.engine.data_reads import DataReads
from nfkd.engine.file_probe import format_paths, probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.protocol.data import (
    CancelFetch,
    CancelReading,
    DataList,
    DataPreview,
    FetchData,
    ListData,
    NamedData,
    PreviewData,
)
from nfkd.protocol.events import DataProgress, DataReading
from nfkd.protocol.requests import Done
from nfkd.runs.errors import RunError

_EVENT_SECONDS = 0.05  # between two progress events of a download


class _Cancelled(Exception):  # noqa: N818 - not an error
    """Raised inside a download that the user has cancelled."""


class _DownloadProgress:
    """Adds up the progress of the files of one download.

    Parameters
    ----------
    kind
        The kind of data.
    on_progress
        Called with an event now and then.
    cancelled
        When it is set, the next progress raises `_Cancelled`.

    Attributes
    ----------
    total
        Bytes of all files; 0 if unknown.
    last_progress
        Time of the last received bytes (`time.monotonic`).
    """

    def __init__(self, kind: str, on_progress: Callable[[DataProgress], None], cancelled: ThreadEvent) -> None:
        self._kind, self._on_progress, self._cancelled = kind, on_progress, cancelled
        self.total = 0
        self._received: dict[str, int] = {}
        self._last_event = 0.0
        self.last_progress = time.monotonic()

    def __call__(self, file: str, done: int, total: int) -> None:
        """Update the progress of one file; its `total` is 0 if unknown."""
        if self._cancelled.is_set():
            raise _Cancelled
        now = time.monotonic()
        if self._received.get(file) != done:
            self.last_progress = now
        self._received[file] = done
        if now - self._last_event >= _EVENT_SECONDS or done == total:
            self._last_event = now
            received = sum(self._received.values())
            self._on_progress(DataProgress(data=self._kind, file=file, done=received, total=self.total))


class DataService:
    """Answers requests about data sets; belongs to the running loop.

    Parameters
    ----------
    emit
        Called with every event, in the loop's thread.
    limits
        How long requests may wait for files.

    Attributes
    ----------
    reads
        Runs what loads a data set.
    """

    def __init__(self, emit: Callable[[DataProgress | DataReading], None], limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._emit, self._limits = emit, limits
        self.reads = DataReads(emit, limits)
        self._previews = RequestThreads("preview data", 1, limits)
        self._downloads = RequestThreads("download", 4, limits)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._fetches: list[tuple[str, ThreadEvent]] = []

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each request."""
        return {
            PreviewData: self.preview,
            CancelReading: self.cancel_reading,
            FetchData: self.fetch,
            CancelFetch: self.cancel,
            ListData: self.list,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return [*self._previews.running, *self._downloads.running]

    async def close(self) -> None:
        """Cancel loads and downloads, and wait a limited time for the threads."""
        self.reads.stop()
        for _, cancelled in self._fetches:
            cancelled.set()
        limit = self._limits.close_seconds
        await asyncio.gather(*(threads.close(limit) for threads in (self._previews, self._downloads)))

    async def preview(self, request: PreviewData) -> DataPreview:
        """Return a preview of a data set, or what is wrong with it."""
        config = parse_data_toml(request.config)
        paths = config_paths(config)
        await probe_files(self._previews, paths, self._limits.probe_seconds)
        return await self.reads.run(self._previews, config, preview_dataset, config, about=format_paths(paths))

    async def cancel_reading(self, request: CancelReading) -> Done:
        """Cancel the loading of a data set for previews and descriptions; a run goes on."""
        self.reads.cancel(toml_text(parse_data_toml(request.config)))
        return Done()

    async def list(self, request: ListData) -> DataList:
        """Return the user's named data sets."""
        del request
        about = str(datasets_folder())
        return await self._previews.run(_list_named, about=about, limit=self._limits.answer_seconds)

    async def fetch(self, request: FetchData) -> Done:
        """Download a data set's missing files; a second request for the same kind waits for the first.

        Raises
        ------
        RunError
            When the download fails or is cancelled.
        """
        config = parse_data_toml(request.config)
        fetch = config.kind, ThreadEvent()
        self._fetches.append(fetch)
        try:
            async with self._locks[config.kind]:
                await self._download(config, fetch[1])
        finally:
            self._fetches.remove(fetch)
        return Done()

    async def cancel(self, request: CancelFetch) -> Done:
        """Cancel the downloads of a kind of data."""
        for kind, cancelled in self._fetches:
            if kind == request.data:
                cancelled.set()
        return Done()

    async def _download(self, config: DataConfig, cancelled: ThreadEvent) -> None:
        def emit(event: DataProgress) -> None:
            self._loop.call_soon_threadsafe(self._emit, event)

        progress = _DownloadProgress(config.kind, emit, cancelled)
        await self._downloads.run(
            _fetch,
            config,
            progress,
            about=f"the files of {kind_label(config.kind)}",
            limit=self._limits.work_seconds,
            last_progress=lambda: progress.last_progress,
        )


def _fetch(config: DataConfig, progress: _DownloadProgress) -> None:
    title = f"{kind_label(config.kind)} was not downloaded"
    progress.total = _missing_size(config)
    try:
        fetch_dataset(config, progress)
    except _Cancelled as error:
        action = "Download it again to continue where it stopped."
        raise RunError(title, "The download was cancelled.", action) from error
    except DataError as error:
        raise RunError(title, "; ".join(problem.message for problem in error.problems)) from error


def _missing_size(config: DataConfig) -> int:
    """Return the bytes of a data set's missing files; 0 if none is missing or the size is unknown."""
    try:
        load_dataset(config)
    except NotFetchedError as error:
        return error.size
    except DataError:
        return 0  # the download gives the better message
    return 0


def _list_named() -> DataList:
    return DataList(named=[_named_data(name) for name in dataset_names()])


def _named_data(name: str) -> NamedData:
    try:
        return NamedData(name=name, config=toml_text(parse_data(name)))
    except ConfigError as error:
        return NamedData(name=name, config="", problem=str(error))
