"""The convolutional networks of the image couplings of equal steps: their parameters, with gradients by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class ImageNetworks(ABC):
    """The networks of K equal steps: a 3×3, a 1×1 and a 3×3 convolution, with ReLUs between.

    Images have the examples last, (channels, H, W, B).

    Parameters
    ----------
    parameters
        Nine of every step: weight w, bias b and s of each convolution, with weight w·exp(c·s) and bias b·exp(c·s).
    factors
        c of each convolution.
    """

    def __init__(self, parameters: Sequence[Sequence[Tensor]], factors: Sequence[float]) -> None:
        self._factors = factors
        columns = [torch.stack(column) for column in zip(*parameters, strict=True)]
        self._weights, self._biases = [each.flatten(3) for each in columns[::3]], columns[1::3]
        self._scales = [
            (value if factor == 1 else value.mul_(factor)).exp_()
            for value, factor in zip(columns[2::3], factors, strict=True)
        ]
        self._hidden = self._weights[0].shape[1]

    @abstractmethod
    def new_hidden(self, *, keeps: bool) -> Tensor:
        """Return room for the hidden layers of a step: all that `backward` needs, or what `forward` needs."""

    @abstractmethod
    def forward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the outputs, (outputs, H, W, B), which the next call overwrites.

        Parameters
        ----------
        step
            Which network.
        x
            (inputs, H, W, B).
        hidden
            Of `new_hidden`; set to the hidden layers.
        """

    @abstractmethod
    def prepare(self, *, trained: bool) -> Tensor:
        """Make room for gradients, those by the parameters if trained; return where those by the outputs belong."""

    @abstractmethod
    def backward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the gradient by x, which the next call overwrites; keep those by the parameters of the step.

        Parameters
        ----------
        step, x, hidden
            As for `forward`.
        """

    @abstractmethod
    def _of_folded(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the gradients by each w·exp(c·s), (K, outputs, inputs, 9 or 1), and b·exp(c·s), (K, outputs)."""

    def gradients(self) -> list[list[Tensor]]:
        """Return the gradients by the parameters of each step, after `backward` of all steps."""
        found: list[Sequence[Tensor]] = []
        for number, (of_weight, of_bias) in enumerate(zip(*self._of_folded(), strict=True)):
            scale, factor, side = self._scales[number], self._factors[number], (3, 1, 3)[number]
            of_weight.mul_(scale[..., None, None])
            of_bias.mul_(scale)
            of_log_scale = (of_weight * self._weights[number]).flatten(2).sum(2).addcmul_(of_bias, self._biases[number])
            if factor != 1:
                of_log_scale.mul_(factor)
            found += [each.unbind() for each in (of_weight.unflatten(3, (side, side)), of_bias, of_log_scale)]
        return [list(each) for each in zip(*found, strict=True)]
