"""Repeated values in columns: whole numbers, few distinct values, and spikes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SPIKE = 0.1
"""A value in more than this share of the rows is a spike."""
SPIKE_ATOMS = 0.01
"""Where a column is dequantized, values in at least this share of the rows count as repeated."""
_FEW = 256
_REPEATED = 0.5
_DECIMALS = range(10)
_PRECISIONS = 1e-14, 1e-7  # of values in double and in single precision
_CERTAIN = 0.05  # of a step: the error of a value may be this large
_TYPICAL = 100  # steps: a wider typical distance makes a step meaningless


@dataclass(frozen=True, eq=False)
class Repeats:
    """How often the values of a column are repeated.

    Attributes
    ----------
    distinct, counts
        The distinct values, ascending, and the rows of each.
    discrete
        Whether the column is discrete: spikes aside, at least half of the rows have a value that others have too, and
        there are at most 256 distinct values or only whole numbers.
    """

    distinct: np.ndarray
    counts: np.ndarray
    discrete: bool

    @classmethod
    def of(cls, values: np.ndarray) -> Repeats:
        """Count the values of a column, (N,) finite float64."""
        distinct, counts = np.unique(values, return_counts=True)
        rest = counts[counts <= SPIKE * len(values)]
        repeated = rest[rest > 1].sum() >= _REPEATED * rest.sum()
        few = len(distinct) <= _FEW or bool((distinct == np.rint(distinct)).all())
        return cls(distinct, counts, bool(repeated and few))

    @property
    def share(self) -> float:
        """Share of the rows with the most frequent value."""
        return float(self.counts.max() / self.counts.sum())

    @property
    def mode(self) -> float:
        """The most frequent value."""
        return float(self.distinct[self.counts.argmax()])

    @property
    def suspicious(self) -> bool:
        """Whether a density of the column has no maximum that few examples can show: it is discrete or has a spike."""
        return len(self.distinct) > 1 and (self.discrete or self.share > SPIKE)


def find_step(distinct: np.ndarray) -> tuple[float, float] | None:
    """Return origin and step of values at whole multiples of a step; None if there is no such step.

    The smallest distance, or for decimal numbers the greatest common divisor of the distances. There is none if typical
    neighbours are more than 100 steps apart.

    Parameters
    ----------
    distinct
        The distinct values, ascending.
    """
    if len(distinct) < 2:
        return None
    step, smallest = _decimal_step(distinct), _smallest_step(distinct)
    if step is None or (smallest is not None and not math.isclose(step, smallest, rel_tol=1e-3)):
        step = smallest or step  # the decimal step of the same size is more exact
    if step is None or np.median(np.diff(distinct)) > _TYPICAL * step:
        return None
    origin = float(distinct[0] - np.rint(distinct[0] / step) * step)
    return (0.0 if abs(origin) < 1e-6 * step else origin), step


def _decimal_step(distinct: np.ndarray) -> float | None:
    for precision in _PRECISIONS:
        for decimals in _DECIMALS:
            scaled = distinct * 10.0**decimals
            whole, error = np.rint(scaled), precision * np.abs(scaled) + 1e-9
            if error.max() < _CERTAIN and (np.abs(scaled - whole) <= error).all():
                return float(np.gcd.reduce(np.diff(whole).astype(np.int64))) / 10.0**decimals
    return None


def _smallest_step(distinct: np.ndarray) -> float | None:
    step = float(np.diff(distinct).min())
    multiples = (distinct - distinct[0]) / step
    whole = np.rint(multiples)
    if (np.abs(multiples - whole) > 1e-4).any():
        return None
    return float(distinct[-1] - distinct[0]) / float(whole[-1])
