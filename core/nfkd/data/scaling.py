"""Scaling of vectors, fitted on the training split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.config.tables import Scaling
from nfkd.data.column_statistics import RowSource

_OUTPUT = np.float32
_NARROWEST, _WIDEST = 1e-140, 1e140  # ranges whose squares are neither 0 nor infinite in float64
_BOUND = 1e-7  # scikit-learn's: values or ranks this near to an end are at the end
_KNOTS, _RANKED = 1000, 10_000  # quantiles, and the rows whose quantiles they are: scikit-learn's own number


class Scaler(ABC):
    """An elementwise map of each column to one that a flow learns easily.

    Attributes
    ----------
    log_volume
        Log-determinant of the map, nats, if it is constant and the map is invertible everywhere; otherwise None.
    affine
        Centre and width of the inverse, x = z·width + centre, each (features,) float64; None if it is not affine.
    """

    log_volume: float | None
    affine: tuple[np.ndarray, np.ndarray] | None = None

    @abstractmethod
    def scale(self, x: Tensor) -> Tensor:
        """Return scaled rows; x and the result are (N, features) float64. Gradients flow through."""

    @abstractmethod
    def unscale(self, z: Tensor) -> Tensor:
        """Return the rows before the scaling; z and the result are (N, features) float64. Gradients flow through."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which `scaler_from_dict` makes the same scaler, bit for bit."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return scaled rows, (N, features) float32; values too large for that become infinite."""
        return _in_numpy(self.scale, values)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return the rows before the scaling, (N, features) float32."""
        return _in_numpy(self.unscale, values)


def _in_numpy(function: Any, values: np.ndarray) -> np.ndarray:
    # Copied, since torch warns about read-only arrays.
    return function(torch.from_numpy(np.array(values, np.float64))).to(torch.float32).numpy()


class AffineScaler(Scaler):
    """(x − centre)/width, column by column.

    Parameters
    ----------
    centre, width
        (features,); the widths are positive.
    """

    def __init__(self, centre: np.ndarray, width: np.ndarray) -> None:
        self._centre, self._width = self.affine = centre.astype(np.float64), width.astype(np.float64)
        self.log_volume = -float(np.log(self._width).sum())

    def scale(self, x: Tensor) -> Tensor:
        """Return (x − centre)/width."""
        return (x - _on(x, self._centre)).div_(_on(x, self._width))

    def unscale(self, z: Tensor) -> Tensor:
        """Return z·width + centre."""
        return (z * _on(z, self._width)).add_(_on(z, self._centre))

    def to_dict(self) -> dict[str, Any]:
        """Return centre and width."""
        return {"kind": "affine", "centre": self._centre.tolist(), "width": self._width.tolist()}


class QuantileScaler(Scaler):
    """Each column's ranks mapped to a Gaussian, as by scikit-learn's QuantileTransformer.

    The rank is interpolated between the knots, which are evenly spaced quantiles of the training rows: the map is Φ⁻¹
    of a piecewise linear function, flat beyond the first and the last knot. It is not invertible everywhere, so its
    volume is left out of likelihoods.

    Parameters
    ----------
    knots
        (features, knots), ascending in each row.
    """

    log_volume = None

    def __init__(self, knots: np.ndarray) -> None:
        self._knots = np.ascontiguousarray(knots, np.float64)
        self._ranks = np.linspace(0, 1, knots.shape[1])

    @classmethod
    def fit(cls, train: RowSource) -> QuantileScaler:
        """Return a scaler with the knots of the training rows, (N, features)."""
        from sklearn.preprocessing import QuantileTransformer
        from sklearn.utils import resample

        index = np.arange(train.shape[0])
        if len(index) > _RANKED:  # as scikit-learn chooses them, but before the rows are read
            index = np.asarray(resample(index, replace=False, n_samples=_RANKED, random_state=0))
        count = len(index)
        transformer = QuantileTransformer(n_quantiles=min(_KNOTS, count), subsample=count).fit(train.pick(index))
        return cls(np.asarray(transformer.quantiles_).T)

    def scale(self, x: Tensor) -> Tensor:
        """Return Φ⁻¹ of the ranks; at equal knots, of the mean of their ranks."""
        columns, ranks = zip(x.unbind(1), _on(x, self._knots), strict=True), _on(x, self._ranks)
        # scikit-learn's clip, which its inverse maps to the ends.
        least, most = _BOUND - np.finfo(np.float64).eps, 1 - (_BOUND - np.finfo(np.float64).eps)
        scaled = []
        for column, knots in columns:
            upper, lower = _interpolate(column, knots, ranks), -_interpolate(-column, -knots.flip(0), -ranks.flip(0))
            rank = (0.5 * (upper + lower)).masked_fill(column + _BOUND > knots[-1], 1)
            rank = rank.masked_fill(column - _BOUND < knots[0], 0)
            scaled.append(torch.special.ndtri(rank.clamp(least, most)))
        return torch.stack(scaled, dim=1)

    def unscale(self, z: Tensor) -> Tensor:
        """Return the rows before the scaling; values beyond the training split's range come back at its ends."""
        columns, ranks = zip(z.unbind(1), _on(z, self._knots), strict=True), _on(z, self._ranks)
        rows = []
        for column, knots in columns:
            rank = torch.special.ndtr(column)
            row = torch.where(rank + _BOUND > 1, knots[-1], _interpolate(rank, ranks, knots))
            rows.append(torch.where(rank - _BOUND < 0, knots[0], row))
        return torch.stack(rows, dim=1)

    def to_dict(self) -> dict[str, Any]:
        """Return the knots."""
        return {"kind": "quantile", "knots": self._knots.tolist()}


def _on(like: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, device=like.device)


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return `numpy.interp` of x: piecewise linear, constant beyond the ends; of equal knots, the last one counts."""
    index = (torch.searchsorted(knots, x.detach().contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
    width = knots[index + 1] - knots[index]
    slope = (values[index + 1] - values[index]) / width.masked_fill(width == 0, 1)
    inside = slope * (x - knots[index]) + values[index]
    inside = torch.where(x >= knots[-1], values[-1], inside)
    return torch.where(x < knots[0], values[0], inside)


def scaler_from_dict(fields: object, features: int) -> Scaler:
    """Return the scaler that `Scaler.to_dict` described.

    Parameters
    ----------
    fields
        Plain values, possibly of an untrusted file.
    features
        Number of columns.

    Raises
    ------
    ValueError
        If they describe no scaler of this many columns; the message says what is wrong.
    """
    kind = fields.get("kind") if isinstance(fields, Mapping) else None
    if kind == "affine":
        centre, width = (_numbers(fields, name) for name in ("centre", "width"))
        _require(centre.shape == width.shape == (features,), f"centre and width need {features} numbers each")
        _require(bool((width > 0).all()), "a width is not positive")
        return AffineScaler(centre, width)
    _require(kind == "quantile", "it is neither affine nor quantile")
    knots = _numbers(fields, "knots")
    _require(knots.ndim == 2 and len(knots) == features, f"knots are needed for {features} columns")
    _require(knots.shape[1] >= 2 and bool((np.diff(knots) >= 0).all()), "the knots of a column do not ascend")
    return QuantileScaler(knots)


def _numbers(fields: Any, name: str) -> np.ndarray:
    try:
        values = np.asarray(fields.get(name), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{name} holds values that are not numbers"
        raise ValueError(msg) from error
    _require(bool(np.isfinite(values).all()), f"{name} has values that are not finite")
    return values


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def fit_scaler(kind: Scaling, train: RowSource) -> Scaler | None:
    """Return a scaler fitted on the training rows, (N, features), or None for *none*.

    Standard: mean and standard deviation. Robust: median and interquartile range, or the standard deviation if the
    quartiles coincide. No column may be constant.
    """
    if kind == "none":
        return None
    if kind == "quantile":
        return QuantileScaler.fit(train)
    mean, deviation = train.moments
    if kind == "standard":
        return AffineScaler(mean, deviation)
    low, middle, high = train.percentiles([25, 50, 75])
    return AffineScaler(middle, np.where(high > low, high - low, deviation))


def as_float(values: np.ndarray) -> np.ndarray:
    """Return values as float32; those too large become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(_OUTPUT, copy=False)


def unfit(train: RowSource) -> dict[int, str]:
    """Return the columns of the training rows, (N, features), that no flow can learn, each with the reason."""
    found = {}
    for column, (low, high) in enumerate(zip(*train.bounds, strict=True)):
        if low == high:
            found[column] = f"is {low:g} in every row of the training split: leave it out"
        elif not _NARROWEST < high - low < _WIDEST and not _has_deviation(train, column):
            found[column] = f"goes from {low:g} to {high:g}, which is too wide or too narrow a range: change its unit"
    return found


def _has_deviation(train: RowSource, column: int) -> bool:
    """Return whether the standard deviation of a column is neither 0 nor infinite in float64."""
    _, values = next(train.columns([column]))
    with np.errstate(all="ignore"):
        return bool(0 < values.std() < np.inf)
