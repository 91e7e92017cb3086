"""Values that may not be what they seem: they are reported and never changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.column_statistics import RowSource, chunks_of
from nfkd.data.examples import Examples
from nfkd.data.files import list_names

_SENTINELS = frozenset(
    sign * value for sign in (1.0, -1.0) for value in (99.0, 999.0, 9999.0, 99999.0, 999999.0, 99.99, 999.9, 9999.99)
)
_MOST = 8  # columns in a message
_FAR = 3  # times the range of the other values


def counting_warnings(rows: Examples, names: Sequence[str]) -> tuple[ConfigProblem, ...]:
    """Return a warning for modelled columns, the first ones of the rows, that count the rows, from 0 or 1."""
    first = np.asarray(rows[:1])[0, : len(names)]
    counting = np.flatnonzero((first == 0) | (first == 1))
    for start, chunk in chunks_of(rows) if len(counting) else ():
        expected = first[counting] + np.arange(start, start + len(chunk))[:, None]
        counting = counting[(chunk[:, counting] == expected).all(axis=0)]
        if not len(counting):
            break
    if not len(counting):
        return ()
    found = [names[index] for index in counting.tolist()]
    message = f"{list_names(found)} only counts the rows: if it means nothing, name the other columns"
    return (ConfigProblem("data.columns", message),)


def sentinel_warnings(rows: RowSource, names: Sequence[str]) -> tuple[ConfigProblem, ...]:
    """Return a warning for columns whose lowest or highest value looks like a missing value.

    Such a value is -999 or the like, and further from all others than three times their range.

    Parameters
    ----------
    rows
        (N, columns) float64, NaN where a value is missing.
    names
        Of the columns.
    """
    if not rows.shape[0]:
        return ()
    found: list[tuple[str, str]] = []
    for end in rows.bounds:
        for index in np.flatnonzero(np.isin(end, sorted(_SENTINELS))).tolist():
            _, values = next(rows.columns([index]))
            count = _count_far(values, float(end[index]))
            if count:
                value = f"{end[index]:g}"
                found.append((value, f"{names[index]} ({value} in {count:,} rows)"))
    if not found:
        return ()
    listed = ", ".join(text for _, text in found[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    values = tuple(dict.fromkeys(value for value, _ in found[:_MOST]))
    texts = ", ".join(f'"{value}"' for value in values)
    message = (
        f"columns hold a value far from all others: {listed}{more}. If it stands for a missing value, set "
        f"data.missing_texts = [{texts}]"
    )
    return (ConfigProblem("data.missing_texts", message, values),)


def _count_far(values: np.ndarray, end: float) -> int:
    """Return how often a value occurs if it is far from all others; otherwise 0."""
    others = values[(values != end) & np.isfinite(values)]
    if not len(others):
        return 0
    low, high = float(others.min()), float(others.max())
    gap = low - end if end < low else end - high
    return int((values == end).sum()) if gap > _FAR * (high - low) else 0
