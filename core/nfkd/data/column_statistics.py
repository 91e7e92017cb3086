"""Statistics of columns of rows that may be larger than memory.

The rows are read in chunks. No result depends on their order, nor on whether they are in memory or on disk: a table
gives the same bits either way. Sums are exact sums of rounded values (`_Sum`), all else is order statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nfkd.data.examples import Examples, in_any_order, in_memory, take
from nfkd.data.progress import Progress
from nfkd.data.results import Keep, computed

CHUNK = 2**21
"""Values that are read at a time."""
_BLOCK = 2**23  # values of some whole columns
_MOST = 2**25  # rows of which percentiles and distinct values are found; with more, the first of a split
_SMALLEST = -900  # binary exponent of values whose sums have no subnormal parts

Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class RowSource:
    """Rows to compute statistics of.

    Attributes
    ----------
    rows
        (N, columns).
    change
        Starts a pass over the rows: returns what is applied to each chunk of them, in their order, such as noise.
    keep, name
        Keeps results, and the name of the rows there.
    """

    rows: Examples
    change: Callable[[], Change] | None = None
    keep: Keep = computed
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and columns."""
        return self.rows.shape

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all rows in float64, in any order unless they are changed."""
        rows = self._fast if self.change is None else self.rows
        change = None if self.change is None else self.change()
        for _, chunk in chunks_of(rows):
            values = chunk.astype(np.float64, copy=False)
            yield values if change is None else change(values)

    def pick(self, index: np.ndarray) -> np.ndarray:
        """Return some rows in float64, by their indices."""
        if self.change is None:
            return np.asarray(take(self.rows, index)[:], np.float64)
        ascending, back = np.unique(index, return_inverse=True)
        start, found = 0, list[np.ndarray]()
        for chunk in self.chunks():
            inside = ascending[np.searchsorted(ascending, start) : np.searchsorted(ascending, start + len(chunk))]
            found.append(chunk[inside - start])
            start += len(chunk)
        return np.concatenate(found)[back]

    def columns(self, indices: Sequence[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index and the values of some columns, (rows,) float64; of all by default.

        With more than 33 million rows, those of the first ones.
        """
        if len(self.rows) > _MOST:
            yield from RowSource(take(self.rows, slice(_MOST)), self.change).columns(indices)
            return
        chosen = np.arange(self.shape[1]) if indices is None else np.asarray(indices, int)
        size = max(1, _BLOCK // max(1, len(self.rows)))
        for first in range(0, len(chosen), size):
            some = chosen[first : first + size]
            yield from zip(some.tolist(), self._read_columns(some), strict=True)

    def _read_columns(self, indices: np.ndarray) -> np.ndarray:
        """Return some columns, (columns, rows)."""
        block, start = np.empty((len(indices), len(self.rows))), 0
        for chunk in self.chunks():
            block[:, start : start + len(chunk)] = chunk[:, indices].T
            start += len(chunk)
        return block

    def percentiles(self, percents: list[int]) -> np.ndarray:
        """Return percentiles, (percents, columns), as `numpy.percentile`."""
        return np.stack([np.percentile(values, percents) for _, values in self.columns()], axis=1)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest value of each column, without NaN; both NaN if it has no other."""
        low, high = np.array(self.keep(f"bounds of {self.name}", self._find_bounds))
        return low, high

    def _find_bounds(self) -> list[list[float]]:
        low = high = np.full(self.shape[1], np.nan)
        for chunk in self.chunks():
            low, high = np.fmin(low, np.fmin.reduce(chunk, axis=0)), np.fmax(high, np.fmax.reduce(chunk, axis=0))
        return [low.tolist(), high.tolist()]

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the standard deviation of each column, which has no NaN."""
        count, (low, high) = len(self.rows), self.bounds
        total = _Sum(np.maximum(np.abs(low), np.abs(high)), count)
        for chunk in self.chunks():
            total.add(chunk)
        mean = total.value() / count
        reach = np.frexp(np.maximum(high - mean, mean - low))[1]
        scale = np.ldexp(1.0, -np.maximum(reach, _SMALLEST))  # no square is too large or too small
        squares = _Sum(np.ones_like(mean), count)
        for chunk in self.chunks():
            squares.add(((chunk - mean) * scale) ** 2)
        return mean, np.sqrt(squares.value() / count) / scale

    @cached_property
    def _fast(self) -> Examples:
        return in_any_order(self.rows)


def chunks_of(rows: Examples) -> Iterator[tuple[int, np.ndarray]]:
    """Yield all rows in their order, in chunks, each with the index of its first row; report long reads from disk."""
    size, progress = max(1, CHUNK // max(1, rows.shape[1])), Progress(at_once=False)
    for start in range(0, len(rows), size):
        if not in_memory(rows):
            progress(f"Reading the rows from disk: {start:,} of {len(rows):,} so far.")
        yield start, np.asarray(rows[start : start + size])


class _Sum:
    """Sums of columns that do not depend on the order of the rows.

    Each value is split into multiples of two fixed powers of two, so that every sum of these is exact in float64; the
    rest is below 2⁻⁵⁰ of the largest value for up to 2²⁷ rows (Demmel & Nguyen 2013, *Fast reproducible floating-point
    summation*, with known bounds).

    Parameters
    ----------
    largest
        The largest absolute value of each column.
    count
        Number of rows.
    """

    def __init__(self, largest: np.ndarray, count: int) -> None:
        bits = 53 - count.bit_length()
        exponent = np.maximum(np.frexp(largest)[1], _SMALLEST)
        self._coarse, self._fine = np.ldexp(1.0, exponent - bits), np.ldexp(1.0, exponent - 2 * bits)
        self._high, self._low = np.zeros(len(largest)), np.zeros(len(largest))

    def add(self, rows: np.ndarray) -> None:
        """Add some rows, (n, columns)."""
        coarse = np.rint(rows / self._coarse) * self._coarse
        self._high += coarse.sum(axis=0)
        self._low += (np.rint((rows - coarse) / self._fine) * self._fine).sum(axis=0)

    def value(self) -> np.ndarray:
        """Return the sums, (columns,)."""
        return self._high + self._low
