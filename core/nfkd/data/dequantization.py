"""Uniform noise for columns with repeated values, whose density has no maximum (docs/data.md, *Repeated values*).

A flow can make a density on single values as high as it likes, and the likelihood grows without limit. With noise u
uniform in [0, 1) of a step's width d, y = x + d·u has a density, and log P(x) ≥ E[log p(y)] + log d (Uria et al. 2013,
arXiv 1306.0186; Theis et al. 2016, arXiv 1511.01844).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.data.repeats import SPIKE_ATOMS, Repeats, find_step

_EDGE = 1e-9  # of a step: what rounding may move a value across the edge of its cell
_SAME = 1e-6  # relative difference of equal values in single precision


class ColumnNoise(ABC):
    """The noise of a column.

    Attributes
    ----------
    log_volume
        What is added to log p(y), nats.
    shifts
        Whether values are moved apart, so that y is not in the units of x.
    """

    log_volume: float
    shifts: bool

    @abstractmethod
    def spread(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return y for values x, (N,) float64, and noise in [0, 1)."""

    @abstractmethod
    def collect(self, y: Tensor) -> Tensor:
        """Return the values x of y, (N,) float64: the exact inverse of `spread` for any noise."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which `Dequantizer.from_list` makes the same noise."""


class GridNoise(ColumnNoise):
    """Values origin + k·step with whole k become origin + (k + u)·step; log_volume is log step."""

    shifts = False

    def __init__(self, origin: float, step: float) -> None:
        self.origin, self.step = origin, step
        self.log_volume = math.log(step)

    def spread(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return origin + (k + u)·step; a value between two steps counts as the nearer one."""
        return self._value(((x - self.origin) / self.step).round() + noise)

    def collect(self, y: Tensor) -> Tensor:
        """Return the largest step up to y."""
        return self._value(((y - self.origin) / self.step + _EDGE).floor())

    def _value(self, k: Tensor) -> Tensor:
        inverse = round(1 / self.step)  # 3/10 is nearer to 0.3 than 3·0.1
        exact = inverse > 0 and 1 / inverse == self.step
        return self.origin + (k / inverse if exact else k * self.step)

    def to_dict(self) -> dict[str, Any]:
        """Return origin and step."""
        return {"kind": "grid", "origin": self.origin, "step": self.step}


class AtomNoise(ColumnNoise):
    """Single values, the atoms, become intervals of a width; all values above an atom move up by that width.

    y = x + w·(number of atoms below x), plus w·u if x is an atom. Between the atoms the map keeps lengths, so
    densities there stay those of x. If all values are atoms, log_volume is log w, and P(x) is bounded as for a grid. If
    other values have a density, log_volume is 0: the likelihood is then that of x with a probability of w·p(y) for an
    atom, as if each atom were an interval of width w.
    """

    shifts = True

    def __init__(self, values: Sequence[float], width: float, *, every: bool) -> None:
        self.values, self.width, self.every = [float(value) for value in values], width, every
        self.log_volume = math.log(width) if every else 0.0

    def spread(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return x with intervals in place of the atoms; values equal to an atom in single precision are that atom."""
        atoms = x.new_tensor(self.values)
        nearest = (torch.searchsorted(atoms, x.contiguous()) - 1).clamp(0, len(atoms) - 1)
        for index in (nearest, (nearest + 1).clamp_max(len(atoms) - 1)):
            close = (x - atoms[index]).abs() <= _SAME * atoms[index].abs()
            x = torch.where(close, atoms[index], x)
        below = torch.searchsorted(atoms, x.contiguous())
        is_atom = atoms[below.clamp_max(len(atoms) - 1)] == x
        return x + self.width * below + torch.where(is_atom, self.width * noise, torch.zeros_like(noise))

    def collect(self, y: Tensor) -> Tensor:
        """Return the atoms of their intervals, and other values moved back."""
        atoms = y.new_tensor(self.values)
        starts = atoms + self.width * torch.arange(len(atoms), dtype=atoms.dtype, device=atoms.device)
        passed = torch.searchsorted(starts - _EDGE * self.width, y.contiguous(), right=True)
        last = (passed - 1).clamp_min(0)
        inside = (passed > 0) & (y < starts[last] + self.width)
        return torch.where(inside, atoms[last], y - self.width * passed)

    def to_dict(self) -> dict[str, Any]:
        """Return the atoms and their width."""
        return {"kind": "atoms", "values": self.values, "width": self.width, "every": self.every}


@dataclass(frozen=True, eq=False)
class Dequantizer:
    """The noise of some columns of a table, by their index."""

    columns: Mapping[int, ColumnNoise]

    @property
    def log_volume(self) -> float:
        """The sum over the columns of what is added to log p(y), nats."""
        return sum(noise.log_volume for noise in self.columns.values())

    @property
    def shifts(self) -> bool:
        """Whether a column's values are moved apart."""
        return any(noise.shifts for noise in self.columns.values())

    def spread(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return rows with noise, (N, features) float64; without a generator, at the middles of the cells."""
        size = len(x), len(self.columns)
        if generator is None:
            noise = torch.full(size, 0.5, dtype=torch.float64)
        else:
            noise = torch.rand(size, generator=generator, dtype=torch.float64, device=generator.device)
        noise, rows = noise.clamp_max(1 - 2 * _EDGE).to(x.device), x.clone()
        for position, (column, method) in enumerate(self.columns.items()):
            rows[:, column] = method.spread(x[:, column], noise[:, position])
        return rows

    def collect(self, y: Tensor) -> Tensor:
        """Return the rows of rows with noise, (N, features) float64."""
        rows = y.clone()
        for column, method in self.columns.items():
            rows[:, column] = method.collect(y[:, column])
        return rows

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain values from which `from_list` makes the same noise."""
        return [{"column": column, **noise.to_dict()} for column, noise in self.columns.items()]

    @staticmethod
    def from_list(fields: Any, features: int) -> Dequantizer:
        """Return what `to_list` described, possibly in an untrusted file.

        Raises
        ------
        ValueError
            If it describes no noise of so many columns; the message says what is wrong.
        """
        try:
            columns = {int(each["column"]): _parse(each) for each in fields}
        except (TypeError, KeyError, OverflowError, AttributeError) as error:
            msg = "its noise of columns is incomplete"
            raise ValueError(msg) from error
        if not columns or not all(0 <= column < features for column in columns):
            msg = "its noise is that of other columns"
            raise ValueError(msg)
        return Dequantizer(columns)


def _parse(fields: Mapping[str, Any]) -> ColumnNoise:
    try:
        numbers = [float(fields[name]) for name in ("origin", "step", "width") if name in fields]
        values = np.asarray(fields.get("values", [0.0]), np.float64)
    except ValueError as error:
        msg = "its noise of columns holds values that are not numbers"
        raise ValueError(msg) from error
    positive = numbers[-1] > 0 and values.ndim == 1 and len(values) > 0 and bool((np.diff(values) > 0).all())
    if not positive or not np.isfinite([*numbers, *values]).all():
        msg = "its noise of columns has impossible numbers"
        raise ValueError(msg)
    if fields["kind"] == "grid":
        return GridNoise(float(fields["origin"]), float(fields["step"]))
    return AtomNoise(values.tolist(), float(fields["width"]), every=bool(fields["every"]))


def column_noise(values: np.ndarray) -> ColumnNoise | None:
    """Return the noise for a column's values, (N,) finite float64; None if no value is repeated.

    Whole numbers and other values at equal distances get noise of that step. Few values at other distances are all
    atoms, of the width of their mean distance. In other columns, the atoms are values in at least 1 % of the rows, of
    the width of the interquartile range of the rest.
    """
    found = Repeats.of(values)
    step = find_step(found.distinct)
    if found.discrete and step is not None:
        return GridNoise(*step)
    if found.discrete and len(found.distinct) > 1:
        width = float(np.ptp(found.distinct)) / (len(found.distinct) - 1)
        return AtomNoise(found.distinct.tolist(), width, every=True)
    atoms = found.distinct[found.counts >= max(SPIKE_ATOMS * len(values), 2)]
    if len(atoms):
        rest = values[~np.isin(values, atoms)]
        low, high = np.percentile(rest, [25, 75])
        return AtomNoise(atoms.tolist(), float(high - low) or float(rest.std()) or 1.0, every=False)
    return None if step is None else GridNoise(*step)
