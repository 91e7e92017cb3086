"""Finds the noise for the columns of a table that are dequantized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.column_statistics import RowSource
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.dequantization import ColumnNoise, Dequantizer, column_noise
from nfkd.data.files import list_names
from nfkd.data.repeats import Repeats
from nfkd.data.source import Loaded

AUTO = "auto"
_FIELD = "data.dequantize"


def find_dequantizer(loaded: Loaded, splits: Sequence[DataSplit]) -> Dequantizer | None:
    """Return the noise of the columns that a table asks for; None if there are none.

    Steps and repeated values are those of all splits, so that no value is between two steps.

    Raises
    ------
    DataError
        At ``data.dequantize``, if a column does not exist, is named twice or has no repeated values.
    """
    if not loaded.dequantize:
        return None
    width = splits[0].values.shape[1]
    automatic = loaded.dequantize == (AUTO,) and AUTO not in loaded.columns
    indices = list(range(width)) if automatic else _indices(loaded, width)
    found: dict[int, ColumnNoise] = {}
    for index, values in _columns(splits, indices):
        noise = None if automatic and not Repeats.of(values).suspicious else column_noise(values)
        if noise is not None:
            found[index] = noise
        elif not automatic:
            message = f"column {_names(loaded, width)[index]} has no repeated values: leave it out here"
            raise DataError([ConfigProblem(_FIELD, message)], (width,))
    return Dequantizer({index: found[index] for index in indices if index in found}) if found else None


def _columns(splits: Sequence[DataSplit], indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield some columns of all splits, each with its index."""
    for found in zip(*(RowSource(split.values).columns(indices) for split in splits), strict=True):
        yield found[0][0], np.concatenate([values for _, values in found])


def _names(loaded: Loaded, count: int) -> list[str]:
    return list(loaded.columns) or [str(index) for index in range(count)]


def _indices(loaded: Loaded, count: int) -> list[int]:
    names, problems = _names(loaded, count), list[ConfigProblem]()
    for name in loaded.dequantize:
        if name not in names:
            similar = get_close_matches(name, names, 3, 0.5)
            hint = f"did you mean {' or '.join(similar)}?" if similar else f"there are {list_names(names)}"
            problems.append(ConfigProblem(_FIELD, f"no modelled column has the name {name!r}: {hint}"))
        elif loaded.dequantize.count(name) > 1:
            problems.append(ConfigProblem(_FIELD, f"column {name} is named twice: name it once"))
    if problems:
        raise DataError(list(dict.fromkeys(problems)), (count,))
    return [names.index(name) for name in loaded.dequantize]
