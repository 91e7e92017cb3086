"""The data sets by their configs."""

from __future__ import annotations

from typing import Any

import numpy as np

from nfkd.config import DataConfig, DigitsConfig, Fault, TwoMoonsConfig
from nfkd.data.dataset import DataError, Dataset

_DIGIT_LEVELS = 17
_LEAST = 8  # the live pictures interpolate between four pairs


def load_dataset(config: DataConfig) -> Dataset:
    """Load, or draw, the data set of a config; the same config always gives the same parts.

    Raises
    ------
    DataError
        When a part would be too small.
    """
    values, name, levels = _digits() if isinstance(config, DigitsConfig) else _two_moons(config)
    order = np.random.default_rng(config.split_seed).permutation(len(values))
    validation = round(config.validation_fraction * len(values))
    test = round(config.test_fraction * len(values))
    faults = [
        Fault(f"data.{part}_fraction", f"gives {count} examples of {len(values)}: at least {_LEAST} are needed")
        for part, count in (("validation", validation), ("test", test))
        if count < _LEAST
    ]
    if faults:
        raise DataError(faults, tuple(values.shape[1:]))
    parts = np.split(values[order], [validation, validation + test])
    return Dataset(name=name, validation=parts[0], test=parts[1], train=parts[2], levels=levels)


def _digits() -> tuple[np.ndarray, str, int]:
    from sklearn.datasets import load_digits  # takes a second to import

    bunch: Any = load_digits()
    return bunch.images.astype(np.uint8)[:, None], "digits", _DIGIT_LEVELS


def _two_moons(config: TwoMoonsConfig) -> tuple[np.ndarray, str, None]:
    from sklearn.datasets import make_moons

    points, _ = make_moons(config.count, noise=config.noise, random_state=config.split_seed)
    return np.asarray(points, np.float32), "two moons", None
