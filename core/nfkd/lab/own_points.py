"""Points for the lab from two columns of a file."""

from __future__ import annotations

import math

import numpy as np

from nfkd.config import ConfigError, ConfigProblem, DataConfig
from nfkd.config.lab import FEWEST_POINTS, MAX_POINTS
from nfkd.data import DataError, load_dataset
from nfkd.protocol.lab import LabPoints
from nfkd.text import feature_names

_DIGITS = 4


def read_points(config: DataConfig) -> LabPoints:
    """Return the rows of a table with two columns, at most 5,000 of them, in a random order.

    Of a table with more columns only their names are returned: two must be chosen in its configuration.

    Raises
    ------
    ConfigError
        When the file cannot be read, has only one column or a conditioning, or has too few rows.
    """
    try:
        dataset = load_dataset(config)
    except DataError as error:
        raise ConfigError(error.problems) from error
    if dataset.context_features:
        raise ConfigError([ConfigProblem("data.context", "must be empty: the lab has no conditioning")])
    count = math.prod(dataset.event_shape)
    if count < 2:
        raise ConfigError([ConfigProblem("data.columns", f"gives {count} value a row: the lab needs two columns")])
    splits = (dataset.train, dataset.validation, dataset.test)
    columns = feature_names(count, dataset.columns)
    if count > 2:
        return LabPoints(points=np.empty((0, 2)), columns=columns, rows=sum(map(len, splits)))
    rows = np.concatenate([dataset.scaled(np.asarray(split.values[:])).astype(np.float64) for split in splits])
    if len(rows) < FEWEST_POINTS:
        message = f"has {len(rows):,} usable rows: the lab needs at least {FEWEST_POINTS}"
        raise ConfigError([ConfigProblem("data.path", message)])
    some = np.random.default_rng(0).permutation(len(rows))[:MAX_POINTS]
    values = rows[some]
    deviation = values.std(axis=0)
    return LabPoints(
        points=np.round((values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1), _DIGITS),
        columns=columns,
        rows=len(rows),
    )
