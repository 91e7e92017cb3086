"""What the likelihood panel computes of log-densities: histograms, correlation and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_TAIL = 0.005


def finite(values: np.ndarray) -> np.ndarray:
    """Return the values that are finite."""
    return values[np.isfinite(values)]


def auc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Return the share of pairs in which the value of the first set is higher; ties count half.

    It is the area under the ROC curve of a detector that calls examples with low values foreign (Mann & Whitney 1947).
    NaN if a set has no finite value.
    """
    first, second = finite(higher), np.sort(finite(lower))
    if not len(first) or not len(second):
        return float("nan")
    below = np.searchsorted(second, first, side="left")
    not_above = np.searchsorted(second, first, side="right")
    return float((below + not_above).mean() / (2 * len(second)))


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of the pairs that are finite; NaN for fewer than two, or for constant values."""
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def span(sets: Mapping[str, np.ndarray], tail: float = _TAIL) -> tuple[float, float]:
    """Return a range that has all but the tails of each set; a single value gets a range around it."""
    known = [kept for values in sets.values() if len(kept := finite(values))]
    if not known:
        return 0.0, 1.0
    low = min(float(np.quantile(values, tail)) for values in known)
    high = max(float(np.quantile(values, 1 - tail)) for values in known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def histograms(
    sets: Mapping[str, np.ndarray], bins: int, within: tuple[float, float]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the edges of even bins, (bins + 1,), and the share of each set in them, in per cent of its finite values.

    Values outside the range are in no bin, but count.
    """
    edges = np.linspace(*within, bins + 1)
    shares = {}
    for name, values in sets.items():
        kept = finite(values)
        shares[name] = 100 * np.histogram(kept, edges)[0] / max(len(kept), 1)
    return edges, shares


def outside(sets: Mapping[str, np.ndarray], within: tuple[float, float]) -> int:
    """Return how many values of all sets a range leaves out, with those that are not finite."""
    low, high = within
    return sum(int((~((values >= low) & (values <= high))).sum()) for values in sets.values())
