"""Warnings before a run about columns of a table: repeated values, and rows far from all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nfkd.config import ConfigProblem, DataConfig
from nfkd.config.data import TableConfig
from nfkd.data.dataset import Dataset
from nfkd.data.files import list_names
from nfkd.data.repeats import Repeats, find_step
from nfkd.text import feature_names

_NAMED = 3  # columns with a warning of their own
FAR = 100
"""A row is far from the others if a value is more than so many interquartile ranges from the median."""
_RANGES = (25, 75), (5, 95), (1, 99)  # percentiles, the first two that differ


def column_warnings(config: DataConfig, dataset: Dataset) -> list[ConfigProblem]:
    """Return warnings about the columns of a user's table; none for other data.

    Parameters
    ----------
    config
        Of the data.
    dataset
        The loaded data.
    """
    rows = dataset.first_rows
    if rows is None or not isinstance(config, TableConfig):
        return []
    names = feature_names(rows.shape[1], dataset.columns)
    return _repeat_warnings(dataset, rows, names) + _range_warnings(config, rows, names)


def _repeat_warnings(dataset: Dataset, rows: np.ndarray, names: Sequence[str]) -> list[ConfigProblem]:
    noisy = () if dataset.dequantizer is None else dataset.dequantizer.columns
    found = {index: Repeats.of(rows[:, index]) for index in range(rows.shape[1]) if index not in noisy}
    found = {names[index]: repeats for index, repeats in found.items() if repeats.suspicious}
    why = "a density can be as high as it likes on single values, so the figure falls with every step"
    if len(found) > _NAMED:
        message = (
            f"{len(found):,} columns have repeated values ({list_names(list(found))}): {why}. Dequantize them "
            '(data.dequantize = ["auto"]), or use them as conditioning (data.context)'
        )
        return [ConfigProblem("data.dequantize", message, ("auto",))]
    return [
        ConfigProblem(
            "data.dequantize",
            f"column {name} {_describe(repeats)}: {why}. Dequantize it (data.dequantize), or use it as conditioning "
            "(data.context)",
            (name,),
        )
        for name, repeats in found.items()
    ]


def _describe(repeats: Repeats) -> str:
    most = f"{repeats.mode:.6g} in {100 * repeats.share:.0f} % of the rows"
    if not repeats.discrete:
        return f"has a spike, the value {most}"
    step = find_step(repeats.distinct)
    steps = "" if step is None else f" in steps of {step[1]:.6g}"
    return f"has only {len(repeats.distinct):,} distinct values{steps} ({most})"


def _range_warnings(config: TableConfig, rows: np.ndarray, names: Sequence[str]) -> list[ConfigProblem]:
    if config.scaling == "quantile":
        return []
    far = far_rows(rows)
    wide = {names[index]: int(count) for index, count in enumerate(far.sum(axis=0)) if count}
    if not wide:
        return []
    each = [f"{name} ({count:,} of {len(rows):,} rows)" for name, count in wide.items()]
    message = (
        f"more than {FAR} interquartile ranges from the median are values of {list_names(each)}: a few rows will make "
        'up most of the figures. Set data.scaling = "quantile", or leave these rows out'
    )
    return [ConfigProblem("data.scaling", message, "quantile")]


def far_rows(rows: np.ndarray) -> np.ndarray:
    """Return which values are far from those of most rows, a bool for each value of (N, features).

    Where the quartiles are equal, the distance of other percentiles takes their place.
    """
    middle, width = np.median(rows, axis=0), np.zeros(rows.shape[1])
    for low, high in _RANGES:
        bounds = np.percentile(rows, [low, high], axis=0)
        width = np.where(width > 0, width, bounds[1] - bounds[0])
    return (np.abs(rows - middle) > FAR * width) & (width > 0)
