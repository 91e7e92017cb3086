"""Data sets, for clients: a look at one, its download with progress, and those that the user has named."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from threading import Event as Flag

from nfkd.config import ConfigError, DataConfig
from nfkd.config.named import dataset_names, datasets_folder, kind_label, parse_data, parse_data_toml
from nfkd.config.toml import toml_text
from nfkd.data import DataError, NotFetchedError, fetch_dataset, load_dataset
from nfkd.data.preview import preview_dataset
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.engine.touching import config_paths, format_paths, touch
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
    tell
        Told the progress.
    cancelled
        When it is set, the next progress raises `Cancelled`.

    Attributes
    ----------
    total
        Bytes of all files; 0 where they are not known.
    heard
        Time of the last bytes that came (`time.monotonic`).
    """

    def __init__(self, data: str, tell: Callable[[DataProgress], None], cancelled: Flag) -> None:
        self._data, self._tell, self._cancelled = data, tell, cancelled
        self.total = 0
        self._come: dict[str, int] = {}
        self._told = 0.0
        self.heard = time.monotonic()

    def __call__(self, file: str, done: int, total: int) -> None:
        """Take the progress of one file; `total` of it is 0 where unknown."""
        if self._cancelled.is_set():
            raise Cancelled
        if self._come.get(file) != done:
            self.heard = time.monotonic()
        self._come[file] = done
        now = time.monotonic()
        if now - self._told >= _BETWEEN or done == total:
            self._told = now
            self._tell(DataProgress(data=self._data, file=file, done=sum(self._come.values()), total=self.total))


class DataDesk:
    """Serves the requests about data sets; belongs to the running loop.

    Parameters
    ----------
    tell
        Told every event, in the loop's thread.
    limits
        How long requests may wait for files.
    """

    def __init__(self, tell: Callable[[DataProgress], None], limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell, self._limits = tell, limits
        self._look = RequestThreads("look at data", 1, limits)
        self._downloads = RequestThreads("download", 4, limits)
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._fetches: list[tuple[str, Flag]] = []

    @property
    def running(self) -> list[str]:
        """What threads still work at or wait for."""
        return [*self._look.running, *self._downloads.running]

    async def close(self) -> None:
        """End the downloads at their next piece, and wait for the threads for a limited time."""
        for _, flag in self._fetches:
            flag.set()
        limit = self._limits.close_seconds
        await asyncio.gather(*(threads.close(limit) for threads in (self._look, self._downloads)))

    async def preview(self, request: PreviewData) -> DataPreview:
        """Return a look at a data set, or what is wrong with it."""
        config = parse_data_toml(request.config)
        paths = config_paths(config)
        await touch(self._look, paths, self._limits.touch_seconds)
        return await self._look.run(preview_dataset, config, about=format_paths(paths), limit=self._limits.work_seconds)

    async def list(self, request: ListData) -> DataList:
        """Return the data sets that the user has named."""
        del request
        about = str(datasets_folder())
        return await self._look.run(_named, about=about, limit=self._limits.answer_seconds)

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
            async with self._alone[config.kind]:
                await self._download(config, fetch[1])
        finally:
            self._fetches.remove(fetch)
        return Done()

    async def cancel(self, request: CancelFetch) -> Done:
        """End the downloads of a kind of data."""
        for kind, flag in self._fetches:
            if kind == request.data:
                flag.set()
        return Done()

    async def _download(self, config: DataConfig, flag: Flag) -> None:
        def tell(event: DataProgress) -> None:
            self._loop.call_soon_threadsafe(self._tell, event)

        tally = Tally(config.kind, tell, flag)
        about = f"the files of {kind_label(config.kind)}"
        limit = self._limits.work_seconds
        await self._downloads.run(_fetch, config, tally, about=about, limit=limit, heard=lambda: tally.heard)


def _fetch(config: DataConfig, tally: Tally) -> None:
    title = f"{kind_label(config.kind)} was not downloaded"
    tally.total = missing_size(config)
    try:
        fetch_dataset(config, tally)
    except Cancelled as error:
        action = "Download it again to go on where it stopped."
        raise RunError(title, "The download was cancelled.", action) from error
    except DataError as error:
        raise RunError(title, "; ".join(problem.message for problem in error.problems)) from error


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
        return NamedData(name=name, config="", problem=str(error))
