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
from torch.nn import functional

from nfkd.flows.transforms import LARGEST_LOG_SCALE, SIGMOID_OFFSET


class TransformRows(ABC):
    """An `Elementwise` transform f.

    Attributes
    ----------
    kept
        How many tensors `forward` returns for `backward`.
    reads_input
        Whether `backward` reads x.
    """

    kept: ClassVar[int]
    reads_input: ClassVar[bool] = True

    @abstractmethod
    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return f(x), (n, B), the sum of log f′ over the rows, (B,), and what `backward` needs.

        The parameters may be overwritten.
        """

    @abstractmethod
    def backward(
        self, x: Tensor, y: Tensor, kept: Sequence[Tensor], of_y: Tensor, of_slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients by x and by the parameters, given those by f(x), (n, B), and by the sum, (B,)."""


@dataclass(frozen=True)
class ShiftScaleRows(TransformRows):
    """`ShiftScale`, (x + t)·exp(ℓ), with ℓ = log sigmoid(s + 2) or tanh(s)."""

    kept = 2
    reads_input = False
    tanh: bool

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return f(x) and the sum of ℓ; kept are exp(ℓ) and ℓ."""
        shift, raw = parameters.chunk(2)
        log_scale = raw.tanh_() if self.tanh else functional.logsigmoid(raw.add_(SIGMOID_OFFSET))
        scale = log_scale.exp()
        return (x + shift).mul_(scale), log_scale.sum(0), (scale, log_scale)

    def backward(
        self, x: Tensor, y: Tensor, kept: Sequence[Tensor], of_y: Tensor, of_slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients; that by t equals that by x."""
        scale, log_scale = kept
        of_parameters = scale.new_empty(2 * len(scale), scale.shape[1])
        of_x, of_raw = of_parameters.chunk(2)
        torch.mul(of_y, scale, out=of_x)
        of_log_scale = torch.addcmul(of_slopes, of_y, y)
        if self.tanh:
            torch.mul(of_log_scale, 1 - log_scale.square(), out=of_raw)
        else:
            torch.addcmul(of_log_scale, of_log_scale, scale, value=-1, out=of_raw)
        return of_x, of_parameters


@dataclass(frozen=True)
class AffineRows(TransformRows):
    """`Affine`, x·exp(α) + β with α = b·tanh(a/b)."""

    kept = 2

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return f(x) and the sum of α; kept are exp(α) and tanh(a/b)."""
        shift, raw = parameters.chunk(2)
        bounded = raw.mul_(1 / LARGEST_LOG_SCALE).tanh_()
        log_scale = bounded * LARGEST_LOG_SCALE
        slopes = log_scale.sum(0)
        scale = log_scale.exp_()
        return torch.addcmul(shift, x, scale), slopes, (scale, bounded)

    def backward(
        self, x: Tensor, y: Tensor, kept: Sequence[Tensor], of_y: Tensor, of_slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients; that by β equals that by f(x)."""
        scale, bounded = kept
        of_x = of_y * scale
        of_log_scale = torch.addcmul(of_slopes, of_x, x)
        of_raw = torch.addcmul(of_log_scale, of_log_scale, bounded.square(), value=-1)
        return of_x, torch.cat((of_y, of_raw))
