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
        columns = list(zip(*parameters, strict=True))
        self._scales = [
            (torch.stack(column) if factor == 1 else torch.stack(column).mul_(factor)).exp_()
            for column, factor in zip(columns[2::3], factors, strict=True)
        ]
        self._biases = [
            torch.stack(column).mul_(scale) for column, scale in zip(columns[1::3], self._scales, strict=True)
        ]
        self._hidden, self._inputs = columns[0][0].shape[:2]
        self._outputs = len(columns[6][0])
        self._set_matrices(self._new_matrices(len(parameters)))
        # Each weight is read once, and its matrix written once.
        for weights, scale, views in zip(columns[::3], self._scales, self._arranged(self._matrices), strict=True):
            for weight, factor, view in zip(
                weights, scale[..., None, None, None].unbind(), views.unbind(), strict=True
            ):
                torch.mul(weight, factor, out=view)

    def _set_matrices(self, matrices: Sequence[Tensor]) -> None:
        self._matrices = list(matrices)
        self._steps = list(zip(*(each.unbind() for each in matrices), strict=True))

    @abstractmethod
    def _new_matrices(self, count: int) -> list[Tensor]:
        """Return a buffer for a matrix of each convolution at every step, (K, …)."""

    @abstractmethod
    def _arranged(self, matrices: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return views of matrices, (…, rows, columns), as weights, (…, outputs, inputs, side, side)."""

    @abstractmethod
    def new_hidden(self, *, keeps: bool) -> Tensor:
        """Return buffers for the hidden layers of a step: all that `backward` needs, or what `forward` needs."""

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
        """Forget the matrices, gradients and buffers of the passes; return the matrices, which `prepare` needs.

        The graph keeps this object as long as the loss.
        """
        matrices, self._matrices, self._steps = self._matrices, [], []
        self._grad_weights, self._grad_biases, self._grad_scales = [], [], []
        self._grad_matrices, self._products, self._step_views = [], [], []
        self._forget_buffers()
        return matrices

    @abstractmethod
    def _forget_buffers(self) -> None:
        """Forget the buffers of the passes."""

    def prepare(self, matrices: Sequence[Tensor], *, trained: bool) -> Tensor:
        """Allocate buffers for gradients, by parameters if trained; return the buffer for those by the outputs."""
        self._set_matrices(matrices)
        self._trained = trained
        if trained:
            self._grad_biases = [torch.empty_like(each) for each in self._scales]
            self._grad_scales = [torch.empty_like(each) for each in self._scales]
            self._grad_matrices = [self._scales[0].new_zeros(each.shape[1:]) for each in matrices]
            products = [torch.empty_like(each) for each in self._grad_matrices]
            grad_weights, self._products = self._arranged(self._grad_matrices), products
            self._grad_weights = [each.new_empty(len(self._steps), *each.shape) for each in grad_weights]
            scales = [each[..., None, None, None].unbind() for each in self._scales]
            totals = [each.unbind() for each in self._grad_weights], [each.unbind() for each in self._grad_scales]
            self._step_views = list(zip(grad_weights, self._arranged(products), scales, *totals, strict=True))
        return self._prepare()

    def _unfold_step(self, step: int) -> None:
        """Set the gradients by the weights of a step, and by its scales except for the biases.

        Done at each step, while those by its matrices are in the cache.
        """
        for gradient, matrix, product in zip(self._grad_matrices, self._steps[step], self._products, strict=True):
            torch.mul(gradient, matrix, out=product)
        for gradient, product, scales, grad_weights, grad_scales in self._step_views:
            torch.mul(gradient, scales[step], out=grad_weights[step])
            torch.sum(product, (1, 2, 3), out=grad_scales[step])

    @abstractmethod
    def _prepare(self) -> Tensor:
        """Allocate buffers for a pass backwards; return that for the gradients by the outputs."""

    @abstractmethod
    def backward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the gradient by x, which the next call overwrites; keep those by the parameters of the step.

        Parameters
        ----------
        step, x, hidden
            As for `forward`.
        """

    def gradients(self) -> list[list[Tensor]]:
        """Return the gradients by the parameters of each step, after `backward` of all steps; `release` follows."""
        found: list[Sequence[Tensor]] = []
        for number, (grad_weight, grad_bias, grad_scale, factor) in enumerate(
            zip(self._grad_weights, self._grad_biases, self._grad_scales, self._factors, strict=True)
        ):
            grad_log_scale = grad_scale.addcmul_(grad_bias, self._biases[number])
            if factor != 1:
                grad_log_scale.mul_(factor)
            found += [each.unbind() for each in (grad_weight, grad_bias * self._scales[number], grad_log_scale)]
        return [list(each) for each in zip(*found, strict=True)]
