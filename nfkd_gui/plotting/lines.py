"""Decimate curves to what a screen can show, and smooth them, before they are drawn."""

from __future__ import annotations

import numpy as np

_BINS = 1500


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
    finite = np.isfinite(rows)
    low = np.where(finite, rows, np.inf).argmin(axis=1)
    high = np.where(finite, rows, -np.inf).argmax(axis=1)
    indices = np.sort(np.stack([low, high], axis=1), axis=1) + width * np.arange(len(rows))[:, None]
    kept = indices.ravel()
    gaps = np.repeat(~finite.any(axis=1), 2)
    return x[kept], np.where(gaps, np.nan, y[kept])


class Smoother:
    """Bias-corrected exponential moving average, as in TensorBoard, that only processes the new points of a curve."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._out = np.empty(0)
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
        if weight != self._weight or len(values) < len(self._out):
            self._weight, self._out, self._sum, self._norm = weight, np.empty(0), 0.0, 0.0
        fresh = np.empty(len(values) - len(self._out))
        for index, value in enumerate(values[len(self._out) :].tolist()):
            if np.isfinite(value):
                self._sum = weight * self._sum + (1 - weight) * value
                self._norm = weight * self._norm + (1 - weight)
            fresh[index] = self._sum / self._norm if self._norm else np.nan
        self._out = np.concatenate([self._out, fresh])
        return self._out
