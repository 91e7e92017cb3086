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
    of_matrix, of_bias
        The gradients by both, after `backward` of each step.
    """

    of_matrix: Tensor
    of_bias: Tensor
    _trained = False

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        self._stacked = (matrix, bias)
        self._matrices = matrix.unbind()
        self._biases = bias.unsqueeze(2).unbind()

    def prepare(self) -> None:
        """Make room for the gradients."""
        self.of_matrix, self.of_bias = (torch.empty_like(each) for each in self._stacked)
        self._of_matrices, self._of_biases = self.of_matrix.unbind(), self.of_bias.unbind()
        self._trained = True

    def forward(self, step: int, x: Tensor) -> Tensor:
        """Return W·x + b, (outputs, B)."""
        return torch.addmm(self._biases[step], self._matrices[step], x)

    def backward(self, step: int, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient by x; keep those by W and b after `prepare`."""
        if self._trained:
            torch.mm(gradient, x.t(), out=self._of_matrices[step])
            torch.sum(gradient, 1, out=self._of_biases[step])
        return self._matrices[step].t().mm(gradient)


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

    def forward(self, step: int, x: Tensor) -> Tensor:
        """Return s ⊙ x_o + b, (D, B)."""
        return torch.addcmul(self._biases[step], x.index_select(0, self._orders[step]), self._scales[step])

    def backward(self, step: int, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient by x; keep those by s and b after `prepare`."""
        if self._trained:
            ordered = x.index_select(0, self._orders[step])
            torch.sum(ordered.mul_(gradient), 1, out=self._of_matrices[step])
            torch.sum(gradient, 1, out=self._of_biases[step])
        return (gradient * self._scales[step]).index_select(0, self._inverses[step])


class ConstantSteps(LinearSteps):
    """Biases alone, at K steps."""

    def forward(self, step: int, x: Tensor) -> Tensor:
        """Return b, (outputs, 1)."""
        return self._biases[step]

    def backward(self, step: int, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient, (outputs, 1); keep it after `prepare`."""
        if self._trained:
            self._of_biases[step].copy_(gradient.squeeze(1))
        return gradient


class NetworkSteps(ABC):
    """A network at K steps.

    Parameters
    ----------
    linears
        Its layers, from input to output.
    """

    def __init__(self, linears: Sequence[LinearSteps]) -> None:
        self._linears = linears

    @abstractmethod
    def forward(self, step: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs, (outputs, B), and the inputs of all layers but the first."""

    @abstractmethod
    def backward(self, step: int, gradient: Tensor, x: Tensor, hidden: Sequence[Tensor]) -> Tensor:
        """Return the gradient by x."""

    @property
    def kept(self) -> int:
        """How many tensors `forward` returns for `backward`."""
        return len(self._linears) - 1


class PerceptronSteps(NetworkSteps):
    """Linear layers with ReLUs between them."""

    def forward(self, step: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs and the hidden layers after their ReLUs."""
        hidden: list[Tensor] = []
        *first, last = self._linears
        for linear in first:
            x = linear.forward(step, x).relu_()
            hidden.append(x)
        return last.forward(step, x), hidden

    def backward(self, step: int, gradient: Tensor, x: Tensor, hidden: Sequence[Tensor]) -> Tensor:
        """Return the gradient by x."""
        for linear, h in zip(reversed(self._linears[1:]), reversed(hidden), strict=True):
            gradient = _through_relu(linear.backward(step, gradient, h), h)
        return self._linears[0].backward(step, gradient, x)


class ResidualSteps(NetworkSteps):
    """`nfkd.flows.networks.ResidualNetwork`: a layer, blocks h + L₂(relu(L₁(relu(h)))), and L(relu(h))."""

    def forward(self, step: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs, and the inputs of the layers after the first, all after a ReLU."""
        first, *blocks, last = self._linears
        h, hidden = first.forward(step, x), []
        for one, two in zip(blocks[::2], blocks[1::2], strict=True):
            outer = h.relu()
            inner = one.forward(step, outer).relu_()
            hidden += [outer, inner]
            h = two.forward(step, inner).add_(h)
        hidden.append(h.relu_())
        return last.forward(step, h), hidden

    def backward(self, step: int, gradient: Tensor, x: Tensor, hidden: Sequence[Tensor]) -> Tensor:
        """Return the gradient by x."""
        first, *blocks, last = self._linears
        gradient = _through_relu(last.backward(step, gradient, hidden[-1]), hidden[-1])
        for number in range(len(blocks) - 2, -1, -2):
            outer, inner = hidden[number], hidden[number + 1]
            through = _through_relu(blocks[number + 1].backward(step, gradient, inner), inner)
            gradient = _through_relu(blocks[number].backward(step, through, outer), outer).add_(gradient)
        return first.backward(step, gradient, x)


def _through_relu(gradient: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(gradient, output, 0)
