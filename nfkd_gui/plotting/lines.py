"""What is done to a line before it is drawn: smoothing, and an envelope of what a pixel can show."""

from __future__ import annotations

import numpy as np

_BINS = 1500


def envelope(x: np.ndarray, y: np.ndarray, bins: int = _BINS) -> tuple[np.ndarray, np.ndarray]:
    """Return a line of at most two points a bin that has every bin's lowest and highest point, where they are.

    Parameters
    ----------
    x, y
        (n,); a line of at most ``2·bins`` points comes back as it is. Points that are not finite are kept as gaps
        only where a whole bin has nothing else.
    bins
        About the number of pixels across.
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
    places = np.sort(np.stack([low, high], axis=1), axis=1) + width * np.arange(len(rows))[:, None]
    kept = places.ravel()
    gaps = np.repeat(~finite.any(axis=1), 2)
    return x[kept], np.where(gaps, np.nan, y[kept])


class Smoother:
    """An exponential moving average that goes on where it was when a curve grows.

    As TensorBoard does it, the average is corrected for its start: a constant line stays the line it is.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._out = np.empty(0)
        self._sum = self._norm = 0.0

    def __call__(self, values: np.ndarray, weight: float) -> np.ndarray:
        """Return the smoothed line, (n,).

        Parameters
        ----------
        values
            (n,), the same as at the last call and more; anything shorter begins afresh.
        weight
            Of what came before, 0 (raw) to below 1.
        """
        if weight != self._weight or len(values) < len(self._out):
            self._weight, self._out, self._sum, self._norm = weight, np.empty(0), 0.0, 0.0
        fresh = np.empty(len(values) - len(self._out))
        for place, value in enumerate(values[len(self._out) :].tolist()):
            if np.isfinite(value):
                self._sum = weight * self._sum + (1 - weight) * value
                self._norm = weight * self._norm + (1 - weight)
            fresh[place] = self._sum / self._norm if self._norm else np.nan
        self._out = np.concatenate([self._out, fresh])
        return self._out
