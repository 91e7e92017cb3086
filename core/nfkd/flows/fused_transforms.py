"""Elementwise transforms with gradients by hand; examples last: values (n, B), parameters (P·n, B).

The parameters are ordered by kind: all n first ones, then all n second ones, and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nfkd.flows.transforms import LARGEST_LOG_SCALE, SIGMOID_OFFSET

_SMALL = 1 << 14
"""Numbers (K, n, B) up to which the logarithms of all steps are computed together; more would leave the cache."""

_LEAST = -87.0
"""Down to here sigmoid(x) is a normal number in single precision; below, its logarithm is x."""


class TransformSteps(ABC):
    """An `Elementwise` transform f at the steps of a pass, from the first to the last, then back.

    Attributes
    ----------
    kept
        What `backward` needs, after `forward` of all steps; set it before `backward`.
    """

    kept: list[Tensor]

    @abstractmethod
    def begin(self, like: Tensor, count: int, *, keeps: bool, sums: bool) -> None:
        """Allocate buffers for `forward` at `count` steps over states like (n, B).

        With `keeps`, `backward` follows; with `sums`, `slopes` may be added up.
        """

    def buffer(self, step: int) -> Tensor | None:
        """Return where the parameters are written, (P·n, B); None for anywhere."""
        return None

    @abstractmethod
    def forward(self, step: int, x: Tensor, parameters: Tensor, out: Tensor) -> None:
        """Set `out`, which may be x if `backward` does not read x, to f(x), (n, B).

        The parameters, which are in `buffer` if there is one, may be overwritten.
        """

    @abstractmethod
    def slopes(self) -> Tensor:
        """Return the sums of log f′ over the rows, (K, B), or their sum over the steps, (1, B)."""

    @abstractmethod
    def backward(self, step: int, x: Tensor, y: Tensor, grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        """Return the gradients by the parameters, given those by f(x), (n, B), and by the sum, (B,).

        They stay until the next step.

        `grad_y` becomes the gradient by x.
        """


class TransformRows(ABC):
    """An `Elementwise` transform f.

    Attributes
    ----------
    reads_input
        Whether `backward` reads x.
    offset
        What is added to the last n parameters before `forward`.
    """

    reads_input: ClassVar[bool] = True
    offset: float = 0.0

    @abstractmethod
    def steps(self) -> TransformSteps:
        """Return f at the steps of a pass."""


class SeparateRows(TransformRows):
    """A transform that is computed for each step separately.

    Attributes
    ----------
    kept
        How many tensors `forward` returns for `backward`.
    """

    kept: ClassVar[int]

    def steps(self) -> TransformSteps:
        """Return f at the steps of a pass."""
        return _SeparateSteps(self)

    @abstractmethod
    def forward(self, x: Tensor, parameters: Tensor, out: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Set `out` to f(x); return the sum of log f′ over the rows, (B,), and what `backward` needs."""

    @abstractmethod
    def backward(self, x: Tensor, y: Tensor, kept: Sequence[Tensor], grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        """Return the gradients by the parameters; `grad_y` becomes that by x."""


class _SeparateSteps(TransformSteps):
    def __init__(self, rows: SeparateRows) -> None:
        self._rows = rows
        self.kept = []

    def begin(self, like: Tensor, count: int, *, keeps: bool, sums: bool) -> None:
        self._keeps, self._slopes = keeps, like.new_zeros(1 if sums else count, like.shape[1])

    def forward(self, step: int, x: Tensor, parameters: Tensor, out: Tensor) -> None:
        slopes, kept = self._rows.forward(x, parameters, out)
        self._slopes[step % len(self._slopes)] += slopes
        if self._keeps:
            self.kept += kept

    def slopes(self) -> Tensor:
        return self._slopes

    def backward(self, step: int, x: Tensor, y: Tensor, grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        size = self._rows.kept
        return self._rows.backward(x, y, self.kept[step * size : (step + 1) * size], grad_y, grad_slopes)


@dataclass(frozen=True)
class ShiftScaleRows(TransformRows):
    """`ShiftScale`, (x + t)·exp(ℓ), with ℓ = log sigmoid(s + 2) or tanh(s); the 2 is the offset."""

    reads_input = False
    tanh: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", 0.0 if self.tanh else SIGMOID_OFFSET)

    def steps(self) -> TransformSteps:
        """Return f at the steps of a pass."""
        return _ShiftScaleSteps(tanh=self.tanh)


class _ShiftScaleSteps(TransformSteps):
    """Kept are exp(ℓ), (K, n, B), and with tanh also ℓ."""

    def __init__(self, *, tanh: bool) -> None:
        self._tanh = tanh
        self.kept = []
        self._gradients: tuple[Tensor, ...] = ()

    def begin(self, like: Tensor, count: int, *, keeps: bool, sums: bool) -> None:
        self._size, self._together = len(like), count * like.numel() <= _SMALL
        self._parameters = like.new_empty(count if self._together else 1, 2 * len(like), like.shape[1])
        self._scales = like.new_empty(count if self._together or keeps else 1, *like.shape)
        self._log_scales = torch.empty_like(self._scales) if self._tanh else self._scales
        scales = self._scales.unbind()
        each = zip(scales, self._log_scales.unbind() if self._tanh else scales, strict=True)
        self._each_scale = list(each) * (count // max(1, len(scales)))
        self._slopes = like.new_zeros(1 if sums else count, like.shape[1])
        repeats = count // max(1, len(self._parameters))
        self._buffers = list(self._parameters.unbind()) * repeats
        self._shifts = list(self._parameters[:, : len(like)].unbind()) * repeats
        self._raws = list(self._parameters[:, len(like) :].unbind()) * repeats
        self.kept = [self._scales, self._log_scales] if self._tanh else [self._scales]

    def buffer(self, step: int) -> Tensor | None:
        return self._buffers[step]

    def forward(self, step: int, x: Tensor, parameters: Tensor, out: Tensor) -> None:
        shift, raw = self._shifts[step], self._raws[step]
        scale, log_scale = self._each_scale[step]
        if self._tanh:
            torch.exp(torch.tanh(raw, out=log_scale), out=scale)
        else:
            torch.sigmoid(raw, out=scale)
        torch.add(x, shift, out=out).mul_(scale)
        if not self._together:
            slopes = (log_scale if self._tanh else _log_sigmoid(raw, scale)).sum(0)
            self._slopes[step % len(self._slopes)] += slopes

    def slopes(self) -> Tensor:
        if not self._together:
            return self._slopes
        if self._tanh:
            return self._log_scales.sum(1)
        return _log_sigmoid(self._parameters[:, self._size :], self._scales).sum(1)

    def backward(self, step: int, x: Tensor, y: Tensor, grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        """Return the gradients; that by t equals that by x."""
        if not self._gradients:
            _, size, batch = self.kept[0].shape
            whole = self.kept[0].new_empty(2 * size, batch)
            self._gradients = whole, whole[:size], whole[size:]
            self._kept_scales = self.kept[0].unbind()
        scale = self._kept_scales[step]
        grad_parameters, grad_x, grad_raw = self._gradients
        torch.mul(grad_y, scale, out=grad_x)
        torch.addcmul(grad_slopes, grad_y, y, out=grad_raw)
        grad_y.copy_(grad_x)
        if self._tanh:
            log_scale = self.kept[1][step]
            grad_raw.mul_(1 - log_scale.square())
        else:
            grad_raw.addcmul_(grad_raw, scale, value=-1)
        return grad_parameters


def _log_sigmoid(raw: Tensor, sigmoid: Tensor) -> Tensor:
    """Return log sigmoid(s) from s and its sigmoid, in half of the time of torch's function."""
    return torch.maximum(sigmoid.log(), raw.clamp(max=_LEAST))


@dataclass(frozen=True)
class AffineRows(SeparateRows):
    """`Affine`, x·exp(α) + β with α = b·tanh(a/b)."""

    kept = 2

    def forward(self, x: Tensor, parameters: Tensor, out: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Set `out` to f(x) and return the sum of α; kept are exp(α) and tanh(a/b)."""
        shift, raw = parameters.chunk(2)
        bounded = raw.mul_(1 / LARGEST_LOG_SCALE).tanh_()
        log_scale = bounded * LARGEST_LOG_SCALE
        slopes = log_scale.sum(0)
        scale = log_scale.exp_()
        torch.addcmul(shift, x, scale, out=out)
        return slopes, (scale, bounded)

    def backward(self, x: Tensor, y: Tensor, kept: Sequence[Tensor], grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        """Return the gradients; that by β equals that by f(x)."""
        scale, bounded = kept
        size = len(grad_y)
        grad_parameters = grad_y.new_empty(2 * size, grad_y.shape[1])
        grad_raw = grad_parameters[size:]
        grad_parameters[:size].copy_(grad_y)
        grad_log_scale = torch.addcmul(grad_slopes, grad_y.mul_(scale), x)
        torch.addcmul(grad_log_scale, grad_log_scale, bounded.square(), value=-1, out=grad_raw)
        return grad_parameters
