"""Data sets, for clients: a look at one, its download with progress, and those that the user has named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Flag

from nfkd.config import ConfigError, DataConfig
from nfkd.config.named import dataset_names, kind_label, parse_data, parse_data_toml
from nfkd.config.toml import toml_text
from nfkd.data import DataError, NotFetchedError, fetch_dataset, load_dataset
from nfkd.data.preview import preview_dataset
from nfkd.protocol.data import CancelFetch, DataList, DataPreview, FetchData, ListData, NamedData, PreviewData
from nfkd.protocol.events import DataProgress
from nfkd.protocol.requests import Done
from nfkd.runs.errors import RunError

_BETWEEN = 0.05  # seconds between two words about a download's progress


class Cancelled(Exception):  # noqa: N818 - it was asked for
    """The download was ended by the user; raised inside of it."""


class Tally:
    """Adds up the progress of a download of several files, and tells it now and then.

    Parameters
    ----------
    data
        The kind of data.
    total
        Bytes of all files; 0 where they are not known.
    tell
        Told the progress.
    cancelled
        When it is set, the next progress raises `Cancelled`.
    """

    def __init__(self, data: str, total: int, tell: Callable[[DataProgress], None], cancelled: Flag) -> None:
        self._data, self._total, self._tell, self._cancelled = data, total, tell, cancelled
        self._come: dict[str, int] = {}
        self._told = 0.0

    def __call__(self, file: str, done: int, total: int) -> None:
        """Take the progress of one file; `total` of it is 0 where unknown."""
        if self._cancelled.is_set():
            raise Cancelled
        self._come[file] = done
        now = time.monotonic()
        if now - self._told >= _BETWEEN or done == total:
            self._told = now
            self._tell(DataProgress(data=self._data, file=file, done=sum(self._come.values()), total=self._total))


class DataDesk:
    """Serves the requests about data sets; belongs to the running loop.

    Parameters
    ----------
    tell
        Told every event, in the loop's thread.
    """

    def __init__(self, tell: Callable[[DataProgress], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._look = ThreadPoolExecutor(1, "look at data")
        self._download = ThreadPoolExecutor(1, "download")
        self._fetches: list[tuple[str, Flag]] = []

    def close(self) -> None:
        """End the downloads at their next piece, and the threads."""
        for _, flag in self._fetches:
            flag.set()
        for threads in (self._look, self._download):
            threads.shutdown(wait=False, cancel_futures=True)

    async def preview(self, request: PreviewData) -> DataPreview:
        """Return a look at a data set, or what is wrong with it."""
        config = parse_data_toml(request.config)
        return await self._loop.run_in_executor(self._look, preview_dataset, config)

    async def list(self, request: ListData) -> DataList:
        """Return the data sets that the user has named."""
        del request
        return await self._loop.run_in_executor(self._look, _named)

    async def fetch(self, request: FetchData) -> Done:
        """Download what a data set lacks; asked twice, the second waits for the first.

        Raises
        ------
        RunError
            When it cannot be had or was cancelled.
        """
        config = parse_data_toml(request.config)
        fetch = config.kind, Flag()
        self._fetches.append(fetch)
        try:
            await self._loop.run_in_executor(self._download, self._fetch, config, fetch[1])
        finally:
            self._fetches.remove(fetch)
        return Done()

    async def cancel(self, request: CancelFetch) -> Done:
        """End the downloads of a kind of data."""
        for kind, flag in self._fetches:
            if kind == request.data:
                flag.set()
        return Done()

    def _fetch(self, config: DataConfig, flag: Flag) -> None:
        def tell(event: DataProgress) -> None:
            self._loop.call_soon_threadsafe(self._tell, event)

        title = f"{kind_label(config.kind)} was not downloaded"
        try:
            fetch_dataset(config, Tally(config.kind, missing_size(config), tell, flag))
        except Cancelled as error:
            action = "Download it again to go on where it stopped."
            raise RunError(title, "The download was cancelled.", action) from error
        except DataError as error:
            raise RunError(title, "; ".join(fault.message for fault in error.faults)) from error


def missing_size(config: DataConfig) -> int:
    """Return the bytes of all files that a data set lacks; 0 where they are not known or none is missing."""
    try:
        load_dataset(config)
    except NotFetchedError as error:
        return error.size
    except DataError:
        return 0  # the download says better what is wrong
    return 0


def _named() -> DataList:
    return DataList(named=[_entry(name) for name in dataset_names()])


def _entry(name: str) -> NamedData:
    try:
        return NamedData(name=name, config=toml_text(parse_data(name)))
    except ConfigError as error:
        return NamedData(name=name, config="", fault=str(error))
