"""The colours of matching errors, for the Matching panel and the drawing of the flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QColor

from nfkd_gui.theme import tokens

if TYPE_CHECKING:
    import pyqtgraph as pg

_TINY = 1e-12
_NARROWEST = 0.1
"""Least width of a scale, in powers of ten."""


def match_map() -> pg.ColorMap:
    """Return the colours of matching errors, from low to high."""
    import pyqtgraph as pg  # it takes long to load, and the first screen has no plots

    stops = [QColor(colour) for colour in tokens().match]
    return pg.ColorMap(np.linspace(0, 1, len(stops)), stops)


def log_errors(errors: np.ndarray) -> np.ndarray:
    """Return log₁₀ of errors; NaN where the training diverged."""
    return np.log10(np.maximum(np.where(np.isfinite(errors), errors, np.nan), _TINY))


@dataclass(frozen=True)
class ErrorScale:
    """A logarithmic scale of colours.

    Attributes
    ----------
    low, high
        log₁₀ of the errors at its ends.
    """

    low: float = 0.0
    high: float = _NARROWEST

    @classmethod
    def of(cls, errors: Sequence[np.ndarray]) -> ErrorScale | None:
        """Return the scale from the smallest to the largest of all finite errors; None if there are none."""
        logs = np.concatenate([log_errors(np.asarray(each)).ravel() for each in errors]) if errors else np.empty(0)
        known = logs[np.isfinite(logs)]
        if not len(known):
            return None
        low = float(known.min())
        return cls(low, max(float(known.max()), low + _NARROWEST))

    def colour(self, error: float) -> QColor:
        """Return the colour of an error."""
        share = (float(log_errors(np.array(error))) - self.low) / (self.high - self.low)
        found = np.asarray(match_map().map(np.array([min(max(share, 0.0), 1.0)])))[0]
        return QColor(*(int(channel) for channel in found[:3]))
