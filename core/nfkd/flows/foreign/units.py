"""The units that a foreign teacher works in, and the map to them from NFKD's scaled values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from nfkd.flows.layer import Layer, sum_each

TeacherUnits = Literal["scaled", "data"] | tuple[float, float]
"""``scaled``, ``data``, or for images the range that their pixels were scaled to; see `wrap_teacher`."""
AffineMap = tuple[Tensor, Tensor]
"""Centre and width of the map z·width + centre; each has the shape of z or one number."""


def checked_units(units: object, event_shape: Sequence[int]) -> TeacherUnits:
    """Validate the units of a flow for examples of a shape.

    Raises
    ------
    TypeError
        When they are not a string or two numbers.
    ValueError
        When the string is unknown, or the range is not finite, not increasing, or not for images.
    """
    if isinstance(units, str):
        if units not in {"scaled", "data"}:
            msg = f"units={units!r}: choose 'scaled', 'data', or for images a range (low, high)"
            raise ValueError(msg)
        return "data" if units == "data" else "scaled"
    if not isinstance(units, Sequence) or len(units) != 2 or not all(_is_number(end) for end in units):
        msg = f"units={units!r}: give 'scaled', 'data', or for images a range of two numbers, (low, high)"
        raise TypeError(msg)
    low, high = float(units[0]), float(units[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        msg = f"units={units!r}: give a range from a lower to a higher number"
        raise ValueError(msg)
    if len(event_shape) != 3:
        shape = "×".join(map(str, event_shape))
        msg = f"units={units!r}: a range is for images, and this flow is for vectors of {shape}: choose scaled or data"
        raise ValueError(msg)
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def describe_units(units: TeacherUnits) -> str:
    """Return units as they are noted in a run's experiment, such as `` units:data``; empty for scaled units."""
    if isinstance(units, tuple):
        return f" units:{units[0]!r}..{units[1]!r}"
    return "" if units == "scaled" else f" units:{units}"


class Rescale(Layer):
    """The fixed affine map y = x·width + centre; log|det| = Σ log width.

    Parameters
    ----------
    centre, width
        Each has the shape of an example or one number; widths are positive.
    """

    centre: Tensor
    width: Tensor
    log_width: Tensor

    def __init__(self, centre: Tensor, width: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("centre", centre.to(dtype))
        self.register_buffer("width", width.to(dtype))
        self.register_buffer("log_width", width.log().to(dtype))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x·width + centre and the log-determinant."""
        return x * self.width + self.centre, sum_each(self.log_width.expand_as(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (y − centre)/width."""
        return (y - self.centre) / self.width
