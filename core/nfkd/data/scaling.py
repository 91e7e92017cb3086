"""Scaling of vectors, fitted on the training part alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.config.data import Scaling
from nfkd.data.examples import Examples, in_memory

_OUTPUT = np.float32
_FITTED = 2**24
_BOUND = 1e-7  # scikit-learn's: what lies this near to an end, as value or as rank, is at the end
_KNOTS = 1000


class Scaler(ABC):
    """A map of each column to one that a flow learns easily.

    Attributes
    ----------
    log_volume
        Log-determinant of the map, nats, where it is the same at every point and the map can be undone everywhere;
        None otherwise.
    affine
        Centre and width of the way back, x = z·width + centre, each (features,) float64; None where it is not affine.
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
        """Return scaled rows, (N, features) float32; what is too large for that becomes infinite."""
        return _in_numpy(self.scale, values)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return the rows before the scaling, (N, features) float32."""
        return _in_numpy(self.unscale, values)


def _in_numpy(function: Any, values: np.ndarray) -> np.ndarray:
    # Copied, for torch warns of arrays that it may not write to.
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
    """Each column's ranks as a Gaussian, as scikit-learn's QuantileTransformer has it.

    The rank is interpolated between the knots, which are quantiles of the training rows at equal distances: the map is
    Φ⁻¹ of a piecewise linear function, flat beyond the first and the last knot. It cannot be undone everywhere, so its
    volume is left out of likelihoods.

    Parameters
    ----------
    knots
        (features, knots), rising in each row.
    """

    log_volume = None

    def __init__(self, knots: np.ndarray) -> None:
        self._knots = np.ascontiguousarray(knots, np.float64)
        self._ranks = np.linspace(0, 1, knots.shape[1])

    @classmethod
    def fit(cls, train: np.ndarray) -> QuantileScaler:
        """Return a scaler with the knots of the training rows, (N, features)."""
        from sklearn.preprocessing import QuantileTransformer

        transformer = QuantileTransformer(n_quantiles=min(_KNOTS, len(train)), random_state=0).fit(train)
        return cls(np.asarray(transformer.quantiles_).T)

    def scale(self, x: Tensor) -> Tensor:
        """Return Φ⁻¹ of the ranks; in a stretch of equal knots, the middle of their ranks."""
        columns, ranks = zip(x.unbind(1), _on(x, self._knots), strict=True), _on(x, self._ranks)
        # ε is the spacing of floats at one: scikit-learn's clip, which its inverse takes to the ends.
        least, most = _BOUND - np.finfo(np.float64).eps, 1 - (_BOUND - np.finfo(np.float64).eps)
        scaled = []
        for column, knots in columns:
            upper, lower = _interpolate(column, knots, ranks), -_interpolate(-column, -knots.flip(0), -ranks.flip(0))
            rank = (0.5 * (upper + lower)).masked_fill(column + _BOUND > knots[-1], 1)
            rank = rank.masked_fill(column - _BOUND < knots[0], 0)
            scaled.append(torch.special.ndtri(rank.clamp(least, most)))
        return torch.stack(scaled, dim=1)

    def unscale(self, z: Tensor) -> Tensor:
        """Return the rows before the scaling; what lay beyond the training part's ends comes back at them."""
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
    """Return the piecewise linear function through (knots, values) at x, constant beyond the ends, as `numpy.interp`.

    Where knots are equal, the last of their values counts.
    """
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
        Plain values; they may come from a file that nobody has checked.
    features
        How many columns it is for.

    Raises
    ------
    ValueError
        When they describe no scaler of so many columns; the message says what is wrong.
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
    _require(knots.shape[1] >= 2 and bool((np.diff(knots) >= 0).all()), "the knots of a column do not rise")
    return QuantileScaler(knots)


def _numbers(fields: Any, name: str) -> np.ndarray:
    try:
        values = np.asarray(fields.get(name), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{name} holds other things than numbers"
        raise ValueError(msg) from error
    _require(bool(np.isfinite(values).all()), f"{name} has numbers that are not finite")
    return values


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def fit_scaler(kind: Scaling, train: np.ndarray) -> Scaler | None:
    """Return a scaler fitted on the training rows, (N, features), or None for *none*.

    Standard: mean and standard deviation. Robust: median and the distance of the quartiles, or the standard deviation
    of a column whose quartiles coincide. No column may be constant.
    """
    if kind == "none":
        return None
    if kind == "quantile":
        return QuantileScaler.fit(train)
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
