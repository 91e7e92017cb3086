"""Scales of the values in plots, and axes that write their ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter

ScaleKind = Literal["linear", "log", "symlog"]
_APART = {"left": 34, "bottom": 72}
"""Pixels between two ticks, at least."""
_OVER, _OVER_LEFT = 20, 7
"""Pixels of a tick's text beyond the end of the axis."""
_LARGE, _SMALL = 1e7, 1e-6
"""Larger ticks, and those with smaller steps, have an exponent."""


@dataclass(frozen=True)
class Scale:
    """Maps values to positions on an axis.

    *linear* is the identity, *log* is log₁₀ y (NaN at or below zero), and *symlog* is sign(y)·log₁₀(1 + |y|/c), which
    is linear below the threshold c and takes any sign.

    Attributes
    ----------
    kind
        The kind of scale.
    threshold
        c of *symlog*, > 0.
    """

    kind: ScaleKind = "linear"
    threshold: float = 1.0

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the positions of values; NaN for those that are not finite or have no position."""
        if self.kind == "symlog":
            return _finite(np.sign(values) * np.log10(1 + np.abs(values) / self.threshold))
        if self.kind == "log":
            return _finite(np.log10(np.where(values > 0, values, np.nan)))
        return _finite(values)

    def invert(self, position: float) -> float:
        """Return the value at a position."""
        position = min(max(position, -300.0), 300.0) if self.kind != "linear" else position
        if self.kind == "symlog":
            return math.copysign(self.threshold * (10 ** abs(position) - 1), position)
        return 10**position if self.kind == "log" else position

    def ticks(self, low: float, high: float, most: int) -> list[float]:
        """Return values for ticks between two positions: round ones, about `most`."""
        first, last = self.invert(low), self.invert(high)
        if self.kind == "linear":
            return _round_values(first, last, most)
        slack = 1e-9 * max(abs(first), abs(last))
        for steps in ((1.0,), (1.0, 2.0, 5.0)):
            found = [value for value in self._powers(first, last, steps) if first - slack <= value <= last + slack]
            if len(found) > 2:
                stride = -(-len(found) // most)
                zero = found.index(0.0) if 0.0 in found else 0
                return found[zero % stride :: stride]
        return [value for value in _round_values(first, last, most) if self.kind == "symlog" or value > 0]

    def _powers(self, first: float, last: float, steps: Sequence[float]) -> list[float]:
        """Return powers of ten times `steps` up to the larger of two values, of both signs for *symlog*."""
        smallest = self.threshold if self.kind == "symlog" else first
        largest = max(abs(first), abs(last))
        if not 0 < smallest <= largest < math.inf:
            return [0.0] if self.kind == "symlog" else []
        exponents = range(math.floor(math.log10(smallest)), math.floor(math.log10(largest)) + 1)
        powers = [step * 10.0**exponent for exponent in exponents for step in steps]
        if self.kind == "log":
            return powers
        powers = [power for power in powers if power >= self.threshold]
        return [*(-power for power in reversed(powers)), 0.0, *powers]


def symlog_threshold(values: np.ndarray) -> float:
    """Return a power of ten at or below most of the sizes of some values; 1 where all are zero."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(10 ** math.floor(math.log10(np.percentile(sizes, 5)))) if len(sizes) else 1.0


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Return at most about `most` multiples of 1, 2 or 5 times a power of ten between two values."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return []
    step = round_step(span / max(most, 1))
    multiples = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    if len(multiples) < 2 <= most:  # one tick says nothing about the scale
        return _round_values(low, high, 2 * most)
    return [number * step for number in multiples]


def round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below a number, > 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9)) * power


def format_ticks(values: Sequence[float]) -> list[str]:
    """Return the values of ticks as text, all with the same decimals where their steps are even."""
    if not values:
        return []
    steps = np.diff(np.asarray(values, dtype=np.float64))
    step = float(steps.min()) if len(steps) else abs(values[0]) or 1.0
    if max(map(abs, values)) >= _LARGE or step < _SMALL or (len(steps) > 1 and not np.allclose(steps, step)):
        texts = [f"{value:,.0f}" if 1 <= abs(value) < _LARGE and value == round(value) else f"{value:.6g}"
                 for value in values]  # fmt: skip
    else:
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        texts = [f"{value:,.{decimals}f}" for value in values]
    return [text.replace("-", "−") for text in texts]


class ScaledAxis(pg.AxisItem):
    """An axis with one level of round ticks on its scale."""

    def __init__(self, orientation: Literal["left", "bottom"]) -> None:
        self.value_scale = Scale()
        super().__init__(orientation)

    @property
    def shown_scale(self) -> Scale:
        """The scale of the ticks; that of pyqtgraph's log mode goes before."""
        return Scale("log") if self.logMode else self.value_scale

    def show_scale(self, scale: Scale) -> None:
        """Write the ticks of another scale."""
        if scale != self.value_scale:
            self.value_scale = scale
            self.picture = None
            self.update()

    def boundingRect(self) -> QRectF:
        """Return the axis with its grid and room for ticks at both ends, which pyqtgraph leaves out beside a grid."""
        if self.orientation == "left":
            return super().boundingRect().adjusted(0, -_OVER_LEFT, 0, _OVER_LEFT)
        return super().boundingRect().adjusted(-_OVER, 0, _OVER, 0)

    def resizeEvent(self, ev: object = None) -> None:
        super().resizeEvent(ev)
        # Qt keeps parts of the cached picture of the former size.
        mode = self.cacheMode()
        self.setCacheMode(self.CacheMode.NoCache)
        self.setCacheMode(mode)

    def generateDrawSpecs(self, p: QPainter) -> Any:
        """Return what is painted; texts of ticks at the ends are moved into the widget, which would cut them."""
        specs, widget = super().generateDrawSpecs(p), self.getViewWidget()
        if specs is None or widget is None or self.orientation != "bottom":
            return specs
        line, ticks, texts = specs
        room = self.mapRectFromScene(QRectF(widget.rect()))
        for rect, _, _ in texts:
            rect.moveRight(min(rect.right(), room.right()))
        return line, ticks, texts

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        low, high = sorted((minVal, maxVal))
        if not (high > low and math.isfinite(high - low)):
            return []
        apart = _APART[self.orientation]
        values = self.shown_scale.ticks(low, high, max(2, round(size / apart)))
        positions = self.shown_scale.apply(np.array(values, np.float64)).tolist() if values else []
        pixel, kept = (high - low) / size, list[float]()
        for position in positions:
            if not kept or position - kept[-1] >= 0.5 * apart * pixel:
                kept.append(position)
        return [(1.0, kept)]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        del scale, spacing
        return format_ticks([float(f"{self.shown_scale.invert(value):.12g}") for value in values])
