"""Networks of equal steps of a flow, with gradients by hand; examples last: (features, B)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class LinearSteps:
    """A linear layer at K steps: matrices, (K, outputs, inputs), and biases, (K, outputs).

    Attributes
    ----------
    matrix, bias
        The matrices and biases.
    outputs
        How many rows the layer returns.
    grad_matrix, grad_bias
        The gradients by both, after `backward` of each step.
    """

    grad_matrix: Tensor
    grad_bias: Tensor
    _trained = False

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        self.matrix, self.bias = matrix, bias
        self.outputs = bias.shape[1]
        self._matrices = matrix.unbind()
        self._biases = bias.unsqueeze(2).unbind()
        self._transposed: Sequence[Tensor] = ()

    def replace(self, matrix: Tensor, bias: Tensor) -> None:
        """Replace the values of the matrices and biases."""
        for own, new in ((self.matrix, matrix), (self.bias, bias)):
            if own is not new:
                own.copy_(new)

    def prepare(self) -> None:
        """Allocate buffers for the gradients, once."""
        if self._trained:
            return
        self.grad_matrix, self.grad_bias = torch.empty_like(self.matrix), torch.empty_like(self.bias)
        self._grad_matrices, self._grad_biases = self.grad_matrix.unbind(), self.grad_bias.unbind()
        self._trained = True

    def forward(self, step: int, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return W·x + b, (outputs, B); in `out` if it is given."""
        return torch.addmm(self._biases[step], self._matrices[step], x, out=out)

    def backward(self, step: int, gradient: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the gradient by x, in `out` if it is given; keep those by W and b after `prepare`."""
        self._learn(step, gradient, x)
        return torch.mm(self._transposes()[step], gradient, out=out)

    def backward_into(self, step: int, gradient: Tensor, x: Tensor, total: Tensor) -> None:
        """Add the gradient by x to a total; keep those by W and b after `prepare`."""
        self._learn(step, gradient, x)
        total.addmm_(self._transposes()[step], gradient)

    def _transposes(self) -> Sequence[Tensor]:
        if not self._transposed:
            self._transposed = self.matrix.transpose(1, 2).unbind()
        return self._transposed

    def _learn(self, step: int, gradient: Tensor, x: Tensor) -> None:
        if self._trained:
            torch.mm(gradient, x.t(), out=self._grad_matrices[step])
            torch.sum(gradient, 1, out=self._grad_biases[step])


class OrderedSteps(LinearSteps):
    """s ⊙ x_o + b at K steps.

    Parameters
    ----------
    scale, bias
        (K, D).
    orders, inverses
        o and its inverse, (K, D).
    """

    def __init__(self, scale: Tensor, bias: Tensor, orders: Tensor, inverses: Tensor) -> None:
        super().__init__(scale, bias)
        self._scales, self._orders, self._inverses = scale.unsqueeze(2).unbind(), orders.unbind(), inverses.unbind()

    def forward(self, step: int, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return s ⊙ x_o + b, (D, B)."""
        return torch.addcmul(self._biases[step], x.index_select(0, self._orders[step]), self._scales[step], out=out)

    def backward(self, step: int, gradient: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the gradient by x; keep those by s and b after `prepare`."""
        if self._trained:
            ordered = x.index_select(0, self._orders[step])
            torch.sum(ordered.mul_(gradient), 1, out=self._grad_matrices[step])
            torch.sum(gradient, 1, out=self._grad_biases[step])
        return torch.index_select(gradient * self._scales[step], 0, self._inverses[step], out=out)


class ConstantSteps(LinearSteps):
    """Biases alone, at K steps."""

    def forward(self, step: int, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return b, (outputs, 1)."""
        return self._biases[step]

    def backward(self, step: int, gradient: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the gradient, (outputs, 1); keep it after `prepare`."""
        if self._trained:
            self._grad_biases[step].copy_(gradient.squeeze(1))
        return gradient


class NetworkSteps(ABC):
    """A network at K steps.

    Parameters
    ----------
    linears
        Its layers, from input to output.

    Attributes
    ----------
    kept
        What `backward` needs of the forward passes; of another object with the same layers, if it is set.
    """

    kept: list[Tensor]

    def __init__(self, linears: Sequence[LinearSteps]) -> None:
        self._linears = linears
        self.kept = []

    @abstractmethod
    def begin(self, like: Tensor, count: int, *, keeps: bool) -> None:
        """Allocate buffers for `count` steps with as many examples as `like`, (…, B); for one if nothing is kept."""

    @abstractmethod
    def forward(self, step: int, x: Tensor, out: Tensor | None) -> Tensor:
        """Return the outputs, (outputs, B); in `out` if it is given."""

    @abstractmethod
    def begin_backward(self, kept: list[Tensor]) -> None:
        """Allocate buffers for the gradients of steps of which this was kept."""

    @abstractmethod
    def backward(self, step: int, gradient: Tensor, x: Tensor, total: Tensor) -> None:
        """Add the gradient by x to a total."""


class PerceptronSteps(NetworkSteps):
    """Linear layers with ReLUs between them; kept are the hidden layers after their ReLUs, (K, width, B) each."""

    def begin(self, like: Tensor, count: int, *, keeps: bool) -> None:
        """Allocate buffers for the hidden layers."""
        sizes = [(count if keeps else 1, linear.outputs, like.shape[-1]) for linear in self._linears[:-1]]
        self.kept = [like.new_empty(size) for size in sizes]
        self._hidden = [list(each.unbind()) * (1 if keeps else count) for each in self.kept]

    def forward(self, step: int, x: Tensor, out: Tensor | None) -> Tensor:
        """Return the outputs."""
        *first, last = self._linears
        for linear, hidden in zip(first, self._hidden, strict=True):
            x = linear.forward(step, x, hidden[step]).relu_()
        return last.forward(step, x, out)

    def begin_backward(self, kept: list[Tensor]) -> None:
        """Allocate buffers for the gradients by the hidden layers of one step."""
        self._hidden = [list(each.unbind()) for each in kept]
        gradients = [torch.empty_like(each[0]) for each in kept]
        self._back = list(zip(self._linears[1:], self._hidden, gradients, strict=True))[::-1]

    def backward(self, step: int, gradient: Tensor, x: Tensor, total: Tensor) -> None:
        """Add the gradient by x to a total."""
        for linear, hidden, buffer in self._back:
            h = hidden[step]
            gradient = _through_relu(linear.backward(step, gradient, h, buffer), h, buffer)
        self._linears[0].backward_into(step, gradient, x, total)


class ResidualSteps(NetworkSteps):
    """`nfkd.flows.networks.ResidualNetwork`: a layer, blocks h + L₂(relu(L₁(relu(h)))), and L(relu(h)).

    Kept are the inputs of the layers after the first, all after a ReLU, for each step.
    """

    def begin(self, like: Tensor, count: int, *, keeps: bool) -> None:
        """Keep what `backward` needs, or nothing."""
        self._keeps = keeps

    def forward(self, step: int, x: Tensor, out: Tensor | None) -> Tensor:
        """Return the outputs."""
        first, *blocks, last = self._linears
        h = first.forward(step, x)
        for one, two in zip(blocks[::2], blocks[1::2], strict=True):
            outer = h.relu()
            inner = one.forward(step, outer).relu_()
            self._keep(outer, inner)
            h = two.forward(step, inner).add_(h)
        self._keep(h.relu_())
        return last.forward(step, h, out)

    def begin_backward(self, kept: list[Tensor]) -> None:
        """Use what was kept."""
        self.kept = kept

    def backward(self, step: int, gradient: Tensor, x: Tensor, total: Tensor) -> None:
        """Add the gradient by x to a total."""
        first, *blocks, last = self._linears
        count = len(self._linears) - 1
        hidden = self.kept[step * count : (step + 1) * count]
        gradient = _through_relu(last.backward(step, gradient, hidden[-1]), hidden[-1])
        for number in range(len(blocks) - 2, -1, -2):
            outer, inner = hidden[number], hidden[number + 1]
            through = _through_relu(blocks[number + 1].backward(step, gradient, inner), inner)
            gradient = _through_relu(blocks[number].backward(step, through, outer), outer).add_(gradient)
        first.backward_into(step, gradient, x, total)

    def _keep(self, *values: Tensor) -> None:
        if self._keeps:
            self.kept += values


def _through_relu(gradient: Tensor, output: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the gradient by the input of a ReLU; in `out` if it is given."""
    if out is None:
        return _RELU_BACKWARD(gradient, output, 0)
    return _RELU_BACKWARD_INTO(gradient, output, 0, grad_input=out)


_RELU_BACKWARD = torch.ops.aten.threshold_backward.default
_RELU_BACKWARD_INTO = torch.ops.aten.threshold_backward.grad_input
