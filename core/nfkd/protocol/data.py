"""Requests about data sets and their replies: previews, downloads and the user's named data sets."""

from __future__ import annotations

import msgspec
import numpy as np

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.records import Message


class PreviewData(Message, frozen=True):
    """Preview a data set without downloading it. Returns `DataPreview`."""

    config: str
    """The ``[data]`` table as TOML text."""


class FetchData(Message, frozen=True):
    """Download the missing files of a data set, with `DataProgress` events. Returns `Done` at the end."""

    config: str


class CancelFetch(Message, frozen=True):
    """Cancel the download of a kind of data, such as ``mnist``; complete files are kept. Returns `Done`."""

    data: str


class CancelReading(Message, frozen=True):
    """Cancel the loading of a data set for previews and descriptions, by its ``[data]`` table. Returns `Done`."""

    config: str


class ListData(Message, frozen=True):
    """List the user's named data sets. Returns `DataList`."""


class ColumnStatistics(Message, frozen=True):
    """A column of the training split in its original unit; `missing` counts missing values in the whole file."""

    name: str
    low: float
    mean: float
    deviation: float
    high: float
    missing: int = 0


class UnusedColumn(Message, frozen=True):
    """A column of a table that is not used, and why, such as ``holds true and false; name it to use it as 1 and 0``.

    `usable` tells whether it holds numbers, so that it is used where the config names it.
    """

    name: str
    reason: str
    usable: bool = False


class DataPreview(Message, frozen=True):
    """A preview of a data set.

    Where `problems` is not empty, only these, the download fields, `suggested` and, if known, `event_shape` and
    `reading` are set.

    Attributes
    ----------
    summary
        Such as ``digits: 1,259 train, 269 validation, 269 test, 1×8×8``.
    counts
        Examples in the training, validation and test split.
    split
        How the rows of a table are split, such as ``split in the order of the rows``; empty if at random.
    unit
        Unit of the likelihood, such as ``bits/dim``.
    levels
        Levels of an image's channels; 0 for vectors.
    images
        The first training images, (n, channels, height, width) uint8 from black to white, downscaled if large.
    points
        Some training examples of two features in their original unit, (n, 2) float32.
    columns
        Statistics of each feature of vectors.
    reading
        How a table was read, such as ``separated by ;, decimal comma, Windows-1252``; may be empty.
    unused
        The first columns of a table that are not used.
    more_unused
        Number of other columns that are not used.
    suggested
        Settings that fit the user's files better than those of the config, such as the size of a folder's images.
    warnings
        What makes columns hard to model: repeated values, and rows far from all others.
    may_fetch, size
        Whether the files are missing and can be downloaded, and their size in bytes (0 where unknown).
    by_hand
        How to download them by hand: the addresses and the folder.
    """

    problems: list[ConfigProblem] = msgspec.field(default_factory=list[ConfigProblem])
    summary: str = ""
    counts: list[int] = msgspec.field(default_factory=list[int])
    split: str = ""
    event_shape: list[int] = msgspec.field(default_factory=list[int])
    context_features: int = 0
    unit: str = ""
    levels: int = 0
    images: np.ndarray | None = None
    points: np.ndarray | None = None
    columns: list[ColumnStatistics] = msgspec.field(default_factory=list[ColumnStatistics])
    reading: str = ""
    unused: list[UnusedColumn] = msgspec.field(default_factory=list[UnusedColumn])
    more_unused: int = 0
    suggested: dict[str, int | bool] = msgspec.field(default_factory=dict[str, int | bool])
    warnings: list[ConfigProblem] = msgspec.field(default_factory=list[ConfigProblem])
    may_fetch: bool = False
    size: int = 0
    by_hand: str = ""


class NamedData(Message, frozen=True):
    """A user's named data set: its ``[data]`` table as TOML text, or why it cannot be read."""

    name: str
    config: str
    problem: str = ""


class DataList(Message, frozen=True):
    """The user's named data sets."""

    named: list[NamedData]
