"""Points for the lab from a file with two columns of numbers."""

from __future__ import annotations

import numpy as np

from nfkd.config import ConfigError, ConfigProblem, DataConfig
from nfkd.config.lab import FEWEST_POINTS, MAX_POINTS
from nfkd.data import DataError, load_dataset
from nfkd.protocol.lab import LabPoints

_DIGITS = 4


def read_points(config: DataConfig) -> LabPoints:
    """Return the rows of a table with two columns, at most 5,000 of them, in a random order.

    Raises
    ------
    ConfigError
        When the file cannot be read, does not have two columns, or has too few rows.
    """
    try:
        dataset = load_dataset(config)
    except DataError as error:
        raise ConfigError(error.problems) from error
    if dataset.event_shape != (2,) or dataset.context_features:
        size = "×".join(map(str, dataset.event_shape))
        message = f"gives {size} values a row: choose two columns, and no conditioning"
        raise ConfigError([ConfigProblem("data.columns", message)])
    splits = (dataset.train, dataset.validation, dataset.test)
    rows = np.concatenate([np.asarray(split.values[:], np.float64) for split in splits])
    if len(rows) < FEWEST_POINTS:
        message = f"has {len(rows):,} usable rows: the lab needs at least {FEWEST_POINTS}"
        raise ConfigError([ConfigProblem("data.path", message)])
    some = np.random.default_rng(0).permutation(len(rows))[:MAX_POINTS]
    values = rows[some]
    deviation = values.std(axis=0)
    return LabPoints(
        points=np.round((values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1), _DIGITS),
        columns=list(dataset.columns),
        rows=len(rows),
    )
