"""A look at a data set: counts, a few images, points or the statistics of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nfkd.config import DataConfig
from nfkd.data.dataset import DataError, Dataset
from nfkd.data.loading import load_dataset
from nfkd.data.source import NotFetchedError
from nfkd.protocol.data import ColumnStatistics, DataPreview

_IMAGES = 64
_SIDE = 64  # pixels; larger images are made smaller
_POINTS = 2000
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_COUNTED = 1_000_000  # rows whose statistics are taken


def preview_dataset(config: DataConfig) -> DataPreview:
    """Return a look at the data set of a config, or what is wrong with it; nothing is downloaded."""
    try:
        dataset = load_dataset(config)
    except NotFetchedError as error:
        return DataPreview(problems=error.problems, may_fetch=True, size=error.size, by_hand=error.by_hand)
    except DataError as error:
        return DataPreview(problems=error.problems)
    return DataPreview(
        summary=dataset.summary,
        counts=[len(part) for part in (dataset.train, dataset.validation, dataset.test)],
        event_shape=list(dataset.event_shape),
        context_features=dataset.context_features,
        unit=dataset.unit,
        levels=dataset.levels or 0,
        images=thumbnails(dataset) if dataset.is_image else None,
        points=_original(dataset, _POINTS) if dataset.event_shape == (2,) else None,
        columns=[] if dataset.is_image else column_statistics(dataset),
    )


def thumbnails(dataset: Dataset, count: int = _IMAGES) -> np.ndarray:
    """Return the first training images, (n, channels, height, width) uint8 from black to white.

    Images of more than 64 pixels across are averaged over squares of pixels until they are not larger.
    """
    raw = np.asarray(dataset.train.values[: min(count, len(dataset.train))])
    levels = raw.astype(np.float32) / ((dataset.levels or 2) - 1)
    return np.rint(_smaller(levels) * 255).astype(np.uint8)


def _smaller(images: np.ndarray) -> np.ndarray:
    count, channels, height, width = images.shape
    square = math.ceil(max(height, width) / _SIDE)
    high, wide = max(1, height // square), max(1, width // square)
    across, down = min(square, width), min(square, height)
    cut = images[:, :, : high * down, : wide * across]
    return cut.reshape(count, channels, high, down, wide, across).mean(axis=(3, 5))


def column_statistics(dataset: Dataset) -> list[ColumnStatistics]:
    """Return what is in each feature of the training part, in its original unit."""
    rows = _original(dataset, _COUNTED).astype(np.float64)
    names = dataset.columns or _numbered(rows.shape[1])
    missing = dataset.missing or (0,) * len(names)
    figures = np.stack([rows.min(axis=0), rows.mean(axis=0), rows.std(axis=0), rows.max(axis=0)], axis=1).tolist()
    return [
        ColumnStatistics(name=name, low=low, mean=mean, deviation=deviation, high=high, missing=count)
        for name, (low, mean, deviation, high), count in zip(names, figures, missing, strict=True)
    ]


def _numbered(count: int) -> Sequence[str]:
    return [f"x{number}".translate(_SUBSCRIPTS) for number in range(1, count + 1)]


def _original(dataset: Dataset, count: int) -> np.ndarray:
    """Return some training examples as they were before the scaling, (n, features) float32."""
    values = np.asarray(dataset.train.values[: min(count, len(dataset.train))])
    return values if dataset.scaler is None else dataset.scaler.undo(values)
