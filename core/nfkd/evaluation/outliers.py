"""Figures that a few examples decide."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nfkd.data import Dataset
from nfkd.data.column_warnings import far_rows
from nfkd.data.files import list_names
from nfkd.protocol.events import StageSummary
from nfkd.text import feature_names

_MOST = 0.1  # of the examples
_HALF = 0.5


def dominating(values: np.ndarray) -> int:
    """Return how many examples decide the mean of their values; 0 where no few do.

    It is the smallest k such that the k values farthest from the median make up more than half of the sum of all
    distances from the median, Σ|v − median|. It counts only where k is at most 10 % of the examples, or 1, and the
    mean is farther from the median than the quartiles are from each other: such a mean describes no usual example. For
    normally distributed values, k is about 24 % of them.

    Parameters
    ----------
    values
        (N,), such as each example's negative log-likelihood.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return 0
    low, middle, high = np.percentile(values, [25, 50, 75])
    if abs(values.mean() - middle) <= high - low:
        return 0
    distances = np.sort(np.abs(values - middle))[::-1]
    count = int(np.searchsorted(np.cumsum(distances), _HALF * distances.sum(), side="right")) + 1
    return count if count <= max(1, _MOST * len(values)) else 0


def outlier_note(summaries: Iterable[StageSummary], dataset: Dataset | None) -> str:
    """Return a sentence about figures that a few examples decide; empty if there are none.

    Parameters
    ----------
    summaries
        Of the stages that have ended.
    dataset
        Their data, for the names of columns; None if it is not known.
    """
    found = [summary for summary in summaries if summary.outliers > 0]
    if not found:
        return ""
    counts = sorted({int(summary.outliers) for summary in found})
    rows = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    examples = "" if dataset is None else f" of {len(dataset.test):,}"
    flows = ", ".join(dict.fromkeys(summary.stage for summary in found))
    columns = far_columns(dataset)
    where = f" with extreme values in {list_names(columns)}" if columns else ""
    action = ' set data.scaling = "quantile", or leave these rows out' if columns else " look at these examples"
    return (
        f"A few examples decide the likelihoods ({flows}): {rows}{examples} test examples{where} make up more than "
        f"half of the deviation of a mean. Do not rely on it:{action}."
    )


def far_columns(dataset: Dataset | None) -> list[str]:
    """Return the columns of a table in which some rows are far from all others."""
    if dataset is None or dataset.first_rows is None:
        return []
    names = feature_names(dataset.event_shape[0], dataset.columns)
    return [names[index] for index in np.flatnonzero(far_rows(dataset.first_rows).any(axis=0)).tolist()]
