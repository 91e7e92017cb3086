"""Preview of a data set: counts, a few images, points or the statistics of columns."""

from __future__ import annotations

import math

import numpy as np

from nfkd.config import DataConfig
from nfkd.data.column_warnings import column_warnings
from nfkd.data.dataset import DataError, Dataset
from nfkd.data.loading import load_dataset
from nfkd.data.source import NotFetchedError
from nfkd.data.sources import SOURCES
from nfkd.protocol.data import ColumnStatistics, DataPreview, UnusedColumn
from nfkd.text import feature_names

_IMAGES = 64
_SIDE = 64  # pixels; larger images are averaged down
_POINTS = 2000
_ROWS = 1_000_000  # for the statistics of columns
_UNUSED = 500  # columns


def preview_dataset(config: DataConfig) -> DataPreview:
    """Return a preview of the data set of a config, or its problems; nothing is downloaded."""
    try:
        dataset = load_dataset(config)
    except NotFetchedError as error:
        shape = list(error.event_shape or ())
        return DataPreview(
            problems=error.problems, event_shape=shape, may_fetch=True, size=error.size, by_hand=error.by_hand
        )
    except DataError as error:
        return DataPreview(problems=error.problems, reading=error.reading, suggested=suggest_settings(config))
    return DataPreview(
        summary=dataset.summary,
        counts=[len(split) for split in (dataset.train, dataset.validation, dataset.test)],
        split=dataset.split,
        event_shape=list(dataset.event_shape),
        context_features=dataset.context_features,
        unit=dataset.unit,
        levels=dataset.levels or 0,
        images=_thumbnails(dataset) if dataset.is_image else None,
        points=_original(dataset, _POINTS).astype(np.float32) if dataset.event_shape == (2,) else None,
        columns=[] if dataset.is_image else _column_statistics(dataset),
        reading=", ".join(part for part in (dataset.reading, dataset.storage) if part),
        unused=[
            UnusedColumn(name=column.name, reason=column.reason, usable=column.usable)
            for column in dataset.unused[:_UNUSED]
        ],
        more_unused=max(0, len(dataset.unused) - _UNUSED),
        suggested=suggest_settings(config),
        warnings=[*dataset.warnings, *column_warnings(config, dataset)],
    )


def suggest_settings(config: DataConfig) -> dict[str, int | bool]:
    """Return settings that fit the user's files better than those of a config; empty where they cannot be read."""
    try:
        return SOURCES[config.kind].suggest(config)
    except DataError:
        return {}  # the problem is reported anyway


def _thumbnails(dataset: Dataset) -> np.ndarray:
    """Return the first training images, (n, channels, height, width) uint8, averaged down to 64 pixels across."""
    raw = np.asarray(dataset.train.values[:_IMAGES])
    images = raw.astype(np.float32) / ((dataset.levels or 2) - 1)
    count, channels, height, width = images.shape
    square = math.ceil(max(height, width) / _SIDE)
    high, wide = max(1, height // square), max(1, width // square)
    across, down = min(square, width), min(square, height)
    cut = images[:, :, : high * down, : wide * across]
    smaller = cut.reshape(count, channels, high, down, wide, across).mean(axis=(3, 5))
    return np.rint(smaller * 255).astype(np.uint8)


def _column_statistics(dataset: Dataset) -> list[ColumnStatistics]:
    """Return the statistics of each feature of the training split, in its original unit."""
    rows = _original(dataset, _ROWS).astype(np.float64)
    names = feature_names(rows.shape[1], dataset.columns)
    missing = dataset.missing or (0,) * len(names)
    figures = np.stack([rows.min(axis=0), rows.mean(axis=0), rows.std(axis=0), rows.max(axis=0)], axis=1).tolist()
    return [
        ColumnStatistics(name=name, low=low, mean=mean, deviation=deviation, high=high, missing=count)
        for name, (low, mean, deviation, high), count in zip(names, figures, missing, strict=True)
    ]


def _original(dataset: Dataset, count: int) -> np.ndarray:
    """Return the first training examples before the scaling, (n, features)."""
    rows = dataset.first_rows
    if rows is not None and len(rows) >= min(count, len(dataset.train)):
        return rows[:count]
    values = np.asarray(dataset.train.values[:count])
    return values if dataset.dequantizer or dataset.scaler is None else dataset.scaler.undo(values)
