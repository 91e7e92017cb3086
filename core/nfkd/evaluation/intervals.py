"""95 % intervals of metrics: of means, of quantiles, and of any other statistic of examples by a jackknife."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import scipy

from nfkd.evaluation.metrics import CONFIDENCE

GROUPS = 20
"""Groups of examples that the jackknife leaves out in turn."""
_NORMAL = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_NAN = float("nan")
Statistic = Callable[..., Sequence[float]]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes
    ----------
    value
        The value; NaN where it cannot be computed.
    low, high
        Ends of the interval; NaN where there is none.
    count
        Number of examples, samples or timings.
    """

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return a value that is counted, not estimated."""
        return cls(float(value), float(value), float(value), 1)


def mean_estimate(values: np.ndarray, weights: np.ndarray | None = None, *, least: float = -math.inf) -> Estimate:
    """Return the mean over examples ± 1.96 standard errors.

    The examples are the unit. Their standard error is ``sd / √N``; with weights w it is that of the ratio
    ``Σ w v / Σ w``: ``√(N/(N − 1) Σ w² (v − mean)²) / Σ w`` (Cochran 1977, section 2.11).

    Parameters
    ----------
    values, weights
        (N,) each.
    least
        Smallest possible mean, to which the interval is limited.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if not count or not np.isfinite(values).all():
        return Estimate(_NAN, _NAN, _NAN, count)
    mean = float(np.average(values, weights=weights))
    if count < 2:
        return Estimate(mean, _NAN, _NAN, count)
    squares = float(np.square(weights * (values - mean)).sum())
    half = _NORMAL * math.sqrt(squares * count / (count - 1)) / float(weights.sum())
    return Estimate(mean, max(least, mean - half), mean + half, count)


def normal_estimate(value: float, error: float, count: int, limits: tuple[float, float]) -> Estimate:
    """Return a value ± 1.96 standard errors, within the limits of its possible values."""
    half = _NORMAL * error
    if not math.isfinite(half):
        return Estimate(value, _NAN, _NAN, count)
    return Estimate(value, max(limits[0], value - half), min(limits[1], value + half), count)


def quantile_estimate(values: np.ndarray, level: float) -> Estimate:
    """Return a quantile with the interval between two order statistics.

    The interval holds for any distribution: the number of values below the quantile is binomial (David & Nagaraja 2003,
    *Order Statistics*, section 7.1). An end is NaN where there are too few values for it.

    Parameters
    ----------
    values
        (N,) independent values, such as timings.
    level
        Such as 0.5 for the median.
    """
    values = np.sort(np.asarray(values, np.float64))
    count = len(values)
    tail = (1 - CONFIDENCE) / 2
    low = int(scipy.stats.binom.ppf(tail, count, level)) - 1  # P(fewer values below the quantile) ≤ tail
    high = int(scipy.stats.binom.isf(tail, count, level))
    first, last = (float(values[end]) if 0 <= end < count else _NAN for end in (low, high))
    return Estimate(float(np.quantile(values, level, method="higher")), first, last, count)


def jackknife(
    statistic: Statistic,
    sizes: Sequence[int],
    ranges: Sequence[tuple[float, float]],
    *,
    groups: int = GROUPS,
    on_group: Callable[[], None] = lambda: None,
) -> list[Estimate]:
    """Return statistics of one or more sets of examples with intervals by the delete-group jackknife.

    Each set is divided at random into `groups` groups. The statistics are computed again without the k-th group of
    every set. The standard error is ``√((G − 1)/G Σ_k (θ_k − mean θ)²)``, and the interval θ ± t·SE with Student's t of
    G − 1 degrees. It holds also for statistics that are not smooth, since the groups are large (Shao & Wu 1989, Annals
    of Statistics 17:1176).

    The unit is the example, and in a comparison of two sets both the example and the sample. A bootstrap is not used:
    it draws examples twice, which changes nearest neighbours and adds to distances whose true value is zero. The
    interval is for the expected value of the statistic *at this number of examples*. For a distance it is above zero
    even between equal distributions; the reference says by how much.

    Parameters
    ----------
    statistic
        Called with an index array for each set, sorted; returns the values.
    sizes
        Number of examples of each set.
    ranges
        Smallest and largest possible value of each statistic, to which its interval is limited.
    groups
        At most so many.
    on_group
        Called before each computation; may raise.
    """
    everything = [np.arange(size) for size in sizes]
    on_group()
    values = np.asarray(statistic(*everything), np.float64)
    count = min(sizes)
    groups = min(groups, count)
    if groups < 2 or not np.isfinite(values).all():
        return [Estimate(float(value), _NAN, _NAN, count) for value in values]
    rng = np.random.default_rng(0)
    parts = [np.array_split(rng.permutation(size), groups) for size in sizes]
    without = np.array([_without(statistic, everything, [part[k] for part in parts], on_group) for k in range(groups)])
    errors = np.sqrt((groups - 1) / groups * np.square(without - without.mean(axis=0)).sum(axis=0))
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * errors
    return [
        Estimate(float(value), float(max(least, value - width)), float(min(most, value + width)), count)
        for value, width, (least, most) in zip(values, half, ranges, strict=True)
    ]


def _without(
    statistic: Statistic, everything: Sequence[np.ndarray], groups: Sequence[np.ndarray], on_group: Callable[[], None]
) -> np.ndarray:
    on_group()
    return np.asarray(statistic(*(np.setdiff1d(all_, group) for all_, group in zip(everything, groups, strict=True))))
