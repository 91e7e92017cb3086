"""Requests about data sets, and the engine's replies: a look at one, its download, those that the user has named."""

from __future__ import annotations

import msgspec
import numpy as np

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.events import Message


class PreviewData(Message, frozen=True):
    """What is in this data set? Nothing is downloaded. Answered by `DataPreview`."""

    config: str
    """The ``[data]`` table as TOML text."""


class FetchData(Message, frozen=True):
    """Download what this data set lacks; `DataProgress` tells how far it is. Answered by `Done` at the end."""

    config: str


class CancelFetch(Message, frozen=True):
    """End the download of this kind of data; what has come is kept for the next. Answered by `Done`."""

    data: str
    """The kind, such as ``mnist``."""


class ListData(Message, frozen=True):
    """Which data sets has the user named? Answered by `DataList`."""


class ColumnStatistics(Message, frozen=True):
    """A column of the training part in its original unit.

    `missing` counts the values that the whole file lacks in it.
    """

    name: str
    low: float
    mean: float
    deviation: float
    high: float
    missing: int = 0


class DataPreview(Message, frozen=True):
    """A look at a data set; where `problems` is not empty, only they and the download count.

    Attributes
    ----------
    words
        Such as ``digits: 1,259 train, 269 validation, 269 test, 1×8×8``.
    counts
        Examples of the training, the validation and the test part.
    unit
        Of the likelihood, such as ``bits/dim``.
    levels
        Of an image's channels; 0 for vectors.
    images
        The first training images, (n, channels, height, width) uint8 from black to white; large ones are made smaller.
    points
        Some training examples of two features in their original unit, (n, 2) float32.
    columns
        For vectors: what is in each feature.
    may_fetch, size
        Whether the files are missing and can be downloaded, and their size in bytes (0 where unknown).
    by_hand
        Where to get them without the engine, and where to put them.
    """

    problems: list[ConfigProblem] = msgspec.field(default_factory=list[ConfigProblem])
    summary: str = ""
    counts: list[int] = msgspec.field(default_factory=list[int])
    event_shape: list[int] = msgspec.field(default_factory=list[int])
    context_features: int = 0
    unit: str = ""
    levels: int = 0
    images: np.ndarray | None = None
    points: np.ndarray | None = None
    columns: list[ColumnStatistics] = msgspec.field(default_factory=list[ColumnStatistics])
    may_fetch: bool = False
    size: int = 0
    by_hand: str = ""


class NamedData(Message, frozen=True):
    """A data set that the user has named: its ``[data]`` table as TOML text, or why it cannot be read."""

    name: str
    config: str
    problem: str = ""


class DataList(Message, frozen=True):
    """The data sets that the user has named."""

    named: list[NamedData]
