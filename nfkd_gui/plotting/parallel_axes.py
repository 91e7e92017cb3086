"""Axes of parallel coordinates: where values stand, and which lines pass brushes. No widgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nfkd.config.run_filter import Value

_DECADE = 10.0
_MARGIN = 0.04
"""Distance of the lowest and the highest value from the ends of an axis, as a share of it."""


@dataclass(frozen=True)
class ParallelAxis:
    """An axis and the positions of all lines on it.

    Attributes
    ----------
    name, title
        The value it shows, and its text.
    positions
        (lines,) from 0 (bottom) to 1; NaN for a line without a value.
    labels
        Texts with their positions: every category, or the lowest and the highest value.
    categories
        Whether values are categories.
    logarithmic
        Whether positions are those of the logarithms.
    """

    name: str
    title: str
    positions: np.ndarray
    labels: tuple[tuple[float, str], ...]
    categories: bool = False
    logarithmic: bool = False


@dataclass(frozen=True)
class Brush:
    """A range of an axis."""

    axis: str
    low: float
    high: float
    """Positions, from 0 to 1; those of an axis include both ends."""

    def moved(self, by: float) -> Brush:
        """Return the range elsewhere on its axis; it keeps its size and stays on the axis."""
        by = min(max(by, -self.low), 1 - self.high)
        return Brush(self.axis, self.low + by, self.high + by)


@dataclass(frozen=True)
class AxisSource:
    """What an axis shows.

    Attributes
    ----------
    values
        One for each line; None for a line without a value.
    form
        Writes a value.
    flipped
        Whether smaller values stand higher, as for figures of which smaller is better.
    """

    name: str
    title: str
    values: Sequence[Value]
    form: Callable[[Value], str] = field(repr=False)
    flipped: bool = False


def make_axis(source: AxisSource) -> ParallelAxis:
    """Return an axis: of categories if a value is a text or a switch, else of numbers, logarithmic from a decade on."""
    known = [value for value in source.values if value is not None]
    if any(isinstance(value, (str, bool)) for value in known):
        return _category_axis(source)
    numbers = np.array([math.nan if value is None else float(value) for value in source.values], np.float64)
    finite = numbers[np.isfinite(numbers)]
    logarithmic = spans_decade(finite)
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = np.log(numbers) if logarithmic else numbers
    levels = np.where(np.isfinite(levels), levels, np.nan)
    if not len(finite):
        return ParallelAxis(source.name, source.title, levels, ())
    low, high = float(np.nanmin(levels)), float(np.nanmax(levels))
    shares = (levels - low) / (high - low) if high > low else np.where(np.isfinite(levels), 0.5, np.nan)
    if source.flipped:
        shares = 1 - shares
    positions = _MARGIN + (1 - 2 * _MARGIN) * shares
    ends = [float(finite.min()), float(finite.max())]
    if low == high:
        labels = [(0.5, source.form(ends[0]))]
    else:
        labels = list(
            zip((_inside(0.0), _inside(1.0)), map(source.form, ends[:: -1 if source.flipped else 1]), strict=True)
        )
    return ParallelAxis(source.name, source.title, positions, tuple(labels), logarithmic=logarithmic)


def _category_axis(source: AxisSource) -> ParallelAxis:
    kinds = [(type(value), value) for value in source.values]  # True equals 1
    written = {kind: source.form(kind[1]) for kind in set(kinds)}  # once each: many lines have few categories
    texts = [written[kind] for kind in kinds]
    places = {text: rank for rank, text in enumerate(sorted(set(texts), key=_order))}
    step = 1 / max(len(places) - 1, 1)
    where = {text: _inside(rank * step if len(places) > 1 else 0.5) for text, rank in places.items()}
    positions = np.array([where[text] for text in texts], np.float64)
    labels = tuple((place, text) for text, place in where.items())
    return ParallelAxis(source.name, source.title, positions, labels, categories=True)


def _order(text: str) -> tuple[bool, str]:
    """Return a key that puts what means nothing at the bottom."""
    return text not in {"–", "none", "off"}, text.casefold()


def _inside(share: float) -> float:
    """Return a position with a margin at both ends of the axis."""
    return _MARGIN + (1 - 2 * _MARGIN) * share


def spans_decade(values: np.ndarray, factor: float = _DECADE) -> bool:
    """Return whether finite values are all positive, and the largest is at least `factor` times the smallest."""
    if not len(values) or values.min() <= 0:
        return False
    return math.log(values.max()) - math.log(values.min()) >= math.log(factor)  # the ratio itself may overflow


def passing(axes: Iterable[ParallelAxis], brushes: Iterable[Brush], count: int) -> np.ndarray:
    """Return which of `count` lines pass, (count,) bool: on each axis with brushes, a line must be inside one of them.

    Brushes of axes that are not there do not count.
    """
    found, every = np.ones(count, bool), list(brushes)
    for axis in axes:
        ranges = [brush for brush in every if brush.axis == axis.name]
        if ranges:
            inside = np.zeros(count, bool)
            for brush in ranges:
                inside |= (axis.positions >= brush.low) & (axis.positions <= brush.high)
            found &= inside
    return found


def nearest_line(lines: np.ndarray, places: np.ndarray, x: float, y: float) -> tuple[int, float]:
    """Return the line nearest to a point, and its vertical distance; (−1, infinity) without one.

    Parameters
    ----------
    lines
        (lines, axes) heights at the axes, NaN where a line has none.
    places
        (axes,) the x of the axes, ascending.
    """
    if lines.size == 0:
        return -1, math.inf
    if len(places) == 1:
        heights = lines[:, 0]
    else:
        left = int(np.clip(np.searchsorted(places, x) - 1, 0, len(places) - 2))
        share = min(max((x - places[left]) / (places[left + 1] - places[left]), 0.0), 1.0)
        heights = (1 - share) * lines[:, left] + share * lines[:, left + 1]
    away = np.nan_to_num(np.abs(heights - y), nan=np.inf)
    best = int(away.argmin())
    return (best, float(away[best])) if math.isfinite(away[best]) else (-1, math.inf)


def spread(heights: np.ndarray, apart: float) -> np.ndarray:
    """Return the shifts by which lines at the same height of an axis are drawn side by side, (lines,).

    Lines count as at the same height if they are less than half of `apart` away from each other.
    """
    shifts = np.zeros(len(heights))
    order = [index for index in np.argsort(heights, kind="stable").tolist() if math.isfinite(heights[index])]
    together: list[int] = []
    for index in [*order, -1]:
        if together and (index < 0 or heights[index] - heights[together[-1]] >= apart / 2):
            for rank, member in enumerate(sorted(together)):
                shifts[member] = (rank - (len(together) - 1) / 2) * apart
            together = []
        if index >= 0:
            together.append(index)
    return shifts
