"""Smooth curves, put them on a scale and decimate them to what a screen can show, before they are drawn."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from nfkd.protocol.view import GrowableArray
from nfkd_gui.plotting.axes import Scale

_BINS = 1500
_GROUP = 16
"""Entries of which a level of `Extremes` keeps two."""
_BLOCK = 256
"""Values that are smoothed by one matrix product."""


def decimate(x: np.ndarray, y: np.ndarray, bins: int = _BINS) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum and the maximum of each bin of a line, at their own x.

    Parameters
    ----------
    x, y
        (n,); a line of at most ``2·bins`` points is returned unchanged. A bin without finite points becomes a gap.
    bins
        Number of bins, about the plot's width in pixels.
    """
    if len(x) <= 2 * bins:
        return x, y
    width = -(-len(x) // bins)
    rows = np.full(-(-len(x) // width) * width, np.nan)  # the last bin may be short
    rows[: len(y)] = y
    rows = rows.reshape(-1, width)
    kept = (_extremes(rows) + width * np.arange(len(rows))[:, None]).ravel()
    gaps = np.repeat(~np.isfinite(rows).any(axis=1), 2)
    return x[kept], np.where(gaps, np.nan, y[kept])


def _extremes(rows: np.ndarray) -> np.ndarray:
    """Return the columns of the finite minimum and maximum of each row, in order, (rows, 2)."""
    finite = np.isfinite(rows)
    low = np.where(finite, rows, np.inf).argmin(axis=1)
    high = np.where(finite, rows, -np.inf).argmax(axis=1)
    return np.sort(np.stack([low, high], axis=1), axis=1)


def position(x: np.ndarray, value: float, side: Literal["left", "right"] = "left") -> int:
    """Return where a value stands among ascending x, as `numpy.searchsorted`, which copies integer x for a float."""
    if x.dtype.kind == "i" and len(x):
        low, high = int(x[0]) - 1, int(x[-1]) + 1
        value = min(max(value, low), high)
        value = math.ceil(value) if side == "left" else math.floor(value)
    return int(np.searchsorted(x, value, side=side))


class Extremes:
    """Indices of the minima and maxima of a growing line, in groups of several sizes.

    They let any part of a line of millions of points be decimated in a fraction of a millisecond.
    """

    def __init__(self) -> None:
        self._levels: list[GrowableArray] = []

    def extend(self, y: np.ndarray) -> None:
        """Take in the points of a line after those of the last call; `y` is the whole line, (n,)."""
        level, entries = 0, len(y)
        while entries >= _GROUP:
            if level == len(self._levels):
                self._levels.append(GrowableArray(np.int64))
            self._extend_level(level, entries, y)
            entries = len(self._levels[level])
            level += 1

    def _extend_level(self, level: int, entries: int, y: np.ndarray) -> None:
        done = len(self._levels[level]) // 2 * _GROUP
        end = entries // _GROUP * _GROUP
        if end == done:
            return
        source = np.arange(done, end) if level == 0 else self._levels[level - 1].values[done:end]
        groups = source.reshape(-1, _GROUP)
        kept = np.take_along_axis(groups, _extremes(y[groups]), axis=1)
        self._levels[level].extend(kept.ravel())

    def between(self, first: int, last: int, least: int) -> np.ndarray:
        """Return indices from `first` to `last` (exclusive) that keep all extremes; `least` or more where there are."""
        found: np.ndarray = np.arange(first, last) if last - first < least * _GROUP else np.empty(0, np.int64)
        for level in reversed(self._levels) if not len(found) else ():
            indices = level.values
            part = indices[np.searchsorted(indices, first) : np.searchsorted(indices, last)]
            if len(part) >= least:
                rest = np.arange(max(first, int(part[-1]) + 1), last)  # points that are in no group of this level yet
                return np.concatenate([np.arange(first, part[0])[:_GROUP], part, rest])
        return found if len(found) else np.arange(first, last)


class Line:
    """A growing line: smoothed, on a scale, and decimated to the part and the width that are shown."""

    def __init__(self) -> None:
        self._smoother = Smoother()
        self._clear()
        self._made: tuple[float, Scale] = (0.0, Scale())

    def _clear(self) -> None:
        self._y = GrowableArray(np.float64)
        self._extremes = Extremes()
        self.low, self.high = np.inf, -np.inf
        """The lowest and the highest position."""

    @property
    def y(self) -> np.ndarray:
        """(n,), the positions on the scale."""
        return self._y.values

    def update(self, values: np.ndarray, weight: float, scale: Scale) -> None:
        """Show these values; only new ones are processed where nothing else has changed."""
        if (weight, scale) != self._made or len(values) < len(self._y):
            self._made = weight, scale
            self._clear()
        smooth = self._smoother(values, weight)
        fresh = scale.apply(smooth[len(self._y) :])
        if not len(fresh):
            return
        self._y.extend(fresh)
        self._extremes.extend(self.y)
        self.low = min(self.low, float(np.min(fresh, initial=np.inf, where=~np.isnan(fresh))))
        self.high = max(self.high, float(np.max(fresh, initial=-np.inf, where=~np.isnan(fresh))))

    def part(self, x: np.ndarray, low: float, high: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the points between two x, with a neighbour at each side, decimated to `bins`; `x` ascends, (n,)."""
        first = max(position(x, low) - 1, 0)
        last = min(position(x, high, "right") + 1, len(self.y))
        indices = self._extremes.between(first, max(first, last), 4 * bins)
        return decimate(x[indices], self.y[indices], bins)


class Smoother:
    """Bias-corrected exponential moving average, as in TensorBoard, that only processes the new points of a curve."""

    def __init__(self) -> None:
        self._restart(0.0)

    def _restart(self, weight: float) -> None:
        self._weight = weight
        self._out = GrowableArray(np.float64)
        self._sum = self._norm = 0.0

    def __call__(self, values: np.ndarray, weight: float) -> np.ndarray:
        """Return the smoothed line, (n,).

        Parameters
        ----------
        values
            (n,), the values of the last call and new ones; a shorter curve is smoothed from its start.
        weight
            Weight of the previous average, in [0, 1); 0 does not smooth.
        """
        if weight == 0:
            return values
        if weight != self._weight or len(values) < len(self._out):
            self._restart(weight)
        fresh = values[len(self._out) :]
        finite = np.isfinite(fresh)
        sums, self._sum = _filter(np.where(finite, fresh, 0.0), finite, weight, self._sum)
        norms, self._norm = _filter(finite.astype(np.float64), finite, weight, self._norm)
        self._out.extend(np.divide(sums, norms, out=np.full(len(fresh), np.nan), where=norms > 0))
        return self._out.values


def _filter(values: np.ndarray, counted: np.ndarray, weight: float, before: float) -> tuple[np.ndarray, float]:
    """Return s with s = weight·s + (1 − weight)·value at each counted value, and its end; s starts at `before`.

    Blocks of values are multiplied with a triangular matrix of powers of the weight; only their ends are sequential.
    """
    kept = values[counted]
    if not len(kept):
        return np.full(len(values), before), before
    block = min(_BLOCK, len(kept))
    rows = np.zeros(-(-len(kept) // block) * block)
    rows[: len(kept)] = kept
    rows = rows.reshape(-1, block)
    ages = np.arange(block)[:, None] - np.arange(block)
    rows = rows @ (np.where(ages >= 0, (1 - weight) * weight ** np.maximum(ages, 0.0), 0.0)).T
    decay = weight ** np.arange(1, block + 1)
    starts = np.empty(len(rows))
    for number, end in enumerate(rows[:, -1].tolist()):
        starts[number] = before
        before = end + before * decay[-1]
    sums = (rows + starts[:, None] * decay).ravel()[: len(kept)]
    first = starts[0]
    places = np.cumsum(counted) - 1
    return np.where(places >= 0, sums[np.maximum(places, 0)], first), float(sums[-1])
