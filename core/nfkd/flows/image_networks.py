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
        self._scales = [
            (value if factor == 1 else value.mul_(factor)).exp_()
            for value, factor in zip(columns[2::3], factors, strict=True)
        ]
        self._biases = [bias.mul_(scale) for bias, scale in zip(columns[1::3], self._scales, strict=True)]
        weights = [each.flatten(3) for each in columns[::3]]
        self._hidden, self._inputs = weights[0].shape[1:3]
        self._outputs = weights[2].shape[1]
        for weight, scale in zip(weights, self._scales, strict=True):
            weight.mul_(scale[..., None, None])
        self._matrices = self._folded(weights)

    @abstractmethod
    def _folded(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Return a matrix of each convolution at every step, (K, …), of the scaled weights, (K, outputs, inputs, …)."""

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

    def release(self) -> list[Tensor]:
        """Forget the matrices, gradients and room of the passes; return the matrices, which `prepare` needs.

        The graph keeps this object as long as the loss.
        """
        matrices, self._matrices, self._of_matrices, self._of_biases = self._matrices, [], [], []
        self._forget_room()
        return matrices

    @abstractmethod
    def _forget_room(self) -> None:
        """Forget the room of the passes."""

    def prepare(self, matrices: Sequence[Tensor], *, trained: bool) -> Tensor:
        """Make room for gradients, those by the parameters if trained; return where those by the outputs belong."""
        self._matrices, self._trained = list(matrices), trained
        self._of_matrices = [torch.zeros_like(each, dtype=self._scales[0].dtype) for each in matrices]
        self._of_biases = [torch.zeros_like(each) for each in self._scales]
        return self._prepare()

    @abstractmethod
    def _prepare(self) -> Tensor:
        """Make room for a pass backwards; return where the gradients by the outputs belong."""

    @abstractmethod
    def backward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the gradient by x, which the next call overwrites; keep those by the parameters of the step.

        Parameters
        ----------
        step, x, hidden
            As for `forward`.
        """

    @abstractmethod
    def _unfolded(self, of_matrices: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients by the weights, (K, outputs, inputs, 9 or 1), from those by the matrices."""

    def gradients(self) -> list[list[Tensor]]:
        """Return the gradients by the parameters of each step, after `backward` of all steps; `release` follows."""
        products = [each * matrix for each, matrix in zip(self._of_matrices, self._matrices, strict=True)]
        of_weights, of_scales = self._unfolded(self._of_matrices), self._unfolded(products)
        found: list[Sequence[Tensor]] = []
        for number, (of_weight, of_bias, factor) in enumerate(
            zip(of_weights, self._of_biases, self._factors, strict=True)
        ):
            scale, side = self._scales[number], (3, 1, 3)[number]
            of_log_scale = of_scales[number].sum((2, 3)).addcmul_(of_bias, self._biases[number])
            if factor != 1:
                of_log_scale.mul_(factor)
            of_weight = of_weight.contiguous().mul_(scale[..., None, None]).unflatten(3, (side, side))
            found += [each.unbind() for each in (of_weight, of_bias * scale, of_log_scale)]
        return [list(each) for each in zip(*found, strict=True)]
