"""Scaling of vectors, fitted on the training part alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from nfkd.config.data import Scaling
from nfkd.data.examples import Examples, in_memory

_OUTPUT = np.float32
_FITTED = 2**24


class Scaler(ABC):
    """A map of each column to one that a flow learns easily.

    Attributes
    ----------
    log_volume
        Log-determinant of the map, nats, where it is the same at every point and the map can be undone everywhere;
        None otherwise.
    """

    log_volume: float | None

    @abstractmethod
    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return scaled rows, (N, features) float32."""

    @abstractmethod
    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return the rows before the scaling, (N, features) float32."""


class AffineScaler(Scaler):
    """(x − centre)/width, column by column."""

    def __init__(self, centre: np.ndarray, width: np.ndarray) -> None:
        self._centre, self._width = centre.astype(np.float64), width.astype(np.float64)
        self.log_volume = -float(np.log(self._width).sum())

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return scaled rows."""
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            return ((values - self._centre) / self._width).astype(_OUTPUT)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return the rows before the scaling."""
        return (values * self._width + self._centre).astype(_OUTPUT)


class QuantileScaler(Scaler):
    """Each column's ranks as a Gaussian (scikit-learn's QuantileTransformer): piecewise, so the volume is left out."""

    log_volume = None

    def __init__(self, train: np.ndarray) -> None:
        from sklearn.preprocessing import QuantileTransformer

        self._transformer = QuantileTransformer(
            n_quantiles=min(1000, len(train)), output_distribution="normal", random_state=0
        ).fit(train)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return scaled rows."""
        return np.asarray(self._transformer.transform(values), _OUTPUT)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return the rows before the scaling; what lay beyond the training part's ends comes back at them."""
        return np.asarray(self._transformer.inverse_transform(values), _OUTPUT)


def fit_scaler(kind: Scaling, train: np.ndarray) -> Scaler | None:
    """Return a scaler fitted on the training rows, (N, features), or None for *none*.

    Standard: mean and standard deviation. Robust: median and the distance of the quartiles, or the standard deviation
    of a column whose quartiles coincide. No column may be constant.
    """
    if kind == "none":
        return None
    if kind == "quantile":
        return QuantileScaler(train)
    rows = train.astype(np.float64)
    deviation = rows.std(axis=0)
    if kind == "standard":
        return AffineScaler(rows.mean(axis=0), deviation)
    low, middle, high = np.percentile(rows, [25, 50, 75], axis=0)
    return AffineScaler(middle, np.where(high > low, high - low, deviation))


def as_float(values: np.ndarray) -> np.ndarray:
    """Return values as flows take them, float32."""
    with np.errstate(over="ignore"):
        return values.astype(_OUTPUT, copy=False)


def sample(values: Examples) -> np.ndarray:
    """Return what a scaling is fitted on: all rows of an array in memory, else 16 million values at most.

    The rows of a training part are in random order, so that the first of them are a fair sample.
    """
    return values[:] if in_memory(values) else values[: max(1, _FITTED // values.shape[1])]


def unfit(train: np.ndarray) -> dict[int, str]:
    """Return the columns of the training rows, (N, features), that no flow can learn, with the reason in words."""
    rows = train.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        deviation = rows.std(axis=0)
    found = {}
    for number, (low, high, width) in enumerate(zip(rows.min(axis=0), rows.max(axis=0), deviation, strict=True)):
        if low == high:
            found[number] = f"is {low:g} in every row of the training part: leave it out"
        elif not 0 < width < np.inf:
            found[number] = f"goes from {low:g} to {high:g}, which is no range to calculate with: give it another unit"
    return found
