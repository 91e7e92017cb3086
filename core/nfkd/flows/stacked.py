"""Linear layers of several equal steps of a flow, with their norms and masks folded for all steps at once.

Parameters of K steps are stacked, (K, …). Gradients are by hand. States have the examples last, (features, B): halves
and parameters are then rows, contiguous in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from nfkd.flows.fused_networks import ConstantSteps, LinearSteps, OrderedSteps

Tensors = Sequence[Tensor]


class StackedLinear(ABC):
    """The matrices and biases of a linear layer at K steps.

    Attributes
    ----------
    count
        Parameters of the layer at each step.
    """

    count: int

    @abstractmethod
    def fold(self, parameters: Tensors) -> Tensors:
        """Return matrices, (K, outputs, inputs), biases, (K, outputs), and what else `unfold` needs."""

    @abstractmethod
    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradient by each stacked parameter from those by the matrices and the biases."""

    def steps(self, folded: Tensors) -> LinearSteps:
        """Return the layer with its folded parameters."""
        return LinearSteps(folded[0], folded[1])


class Normed(StackedLinear):
    """W and b, scaled by exp(c·s) for each output: a layer followed by a norm, or Glow's last layer.

    Parameters
    ----------
    factor
        c.
    groups
        P: outputs (n, P) are reordered to (P, n); 1 leaves the order.
    offset
        Added to the last n outputs.
    """

    count = 3

    def __init__(self, factor: float = 1.0, groups: int = 1, offset: float = 0.0) -> None:
        self._factor, self._groups, self._offset = factor, groups, offset

    def fold(self, parameters: Tensors) -> Tensors:
        """Return W·exp(c·s) and b·exp(c·s) plus the offset, reordered; both and exp(c·s) in their own order."""
        matrix, bias, log_scale = parameters
        scale = (log_scale if self._factor == 1 else self._factor * log_scale).exp()
        matrix, bias = matrix * scale.unsqueeze(2), bias * scale
        groups = bias.shape[1] // self._groups, self._groups
        moved = _exchanged(bias, groups)
        if self._offset:
            moved = moved.clone()
            moved[:, moved.shape[1] - groups[0] :] += self._offset
        return _exchanged(matrix, groups), moved, matrix, bias, scale

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradients by W, b and s."""
        _, _, matrix, bias, scale = folded
        groups = self._groups, bias.shape[1] // self._groups
        grad_matrix, grad_bias = _exchanged(grad_matrix, groups), _exchanged(grad_bias, groups)
        grad_scale = (grad_matrix * matrix).sum(2).addcmul_(grad_bias, bias)
        if self._factor != 1:
            grad_scale = grad_scale.mul_(self._factor)
        return grad_matrix * scale.unsqueeze(2), grad_bias * scale, grad_scale


class Bare(StackedLinear):
    """W and b as they are."""

    count = 2

    def fold(self, parameters: Tensors) -> Tensors:
        """Return W and b."""
        return parameters

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradients as they are."""
        return grad_matrix, grad_bias


class Constant(StackedLinear):
    """Parameters (n, P) of a transform that are the same for all examples, in the order (P, n)."""

    count = 1

    def fold(self, parameters: Tensors) -> Tensors:
        """Return them, (K, P, n), and as biases, (K, P·n)."""
        matrix = parameters[0].transpose(1, 2).contiguous()
        return matrix, matrix.flatten(1)

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradient, (K, n, P)."""
        return (grad_bias.view_as(folded[0]).transpose(1, 2),)

    def steps(self, folded: Tensors) -> LinearSteps:
        """Return the constants of each step."""
        return ConstantSteps(folded[0], folded[1])


class Masked(StackedLinear):
    """W times a mask, and b, with inputs or outputs in the order of the data.

    Parameters
    ----------
    mask
        (outputs, inputs).
    columns, rows
        (K, inputs) and (K, outputs): for each input or output of the folded layer, its index in the layer's own order;
        None where the orders are the same.
    """

    count = 2

    def __init__(self, mask: Tensor, columns: Tensor | None = None, rows: Tensor | None = None) -> None:
        self._mask, self._columns, self._rows = mask, columns, rows
        self._own_columns = None if columns is None else columns.argsort(1)
        self._own_rows = None if rows is None else rows.argsort(1)

    def fold(self, parameters: Tensors) -> Tensors:
        """Return W·mask and b, reordered."""
        matrix, bias = parameters
        return _reordered(matrix * self._mask, self._columns, self._rows), _ordered(bias, self._rows)

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradients by W and b, in the layer's own order."""
        own = _reordered(grad_matrix, self._own_columns, self._own_rows)
        return own * self._mask, _ordered(grad_bias, self._own_rows)


def _exchanged(values: Tensor, groups: tuple[int, int]) -> Tensor:
    """Return values, (K, a·b, …), in the order (K, b·a, …)."""
    if 1 in groups:
        return values
    return values.view(len(values), *groups, *values.shape[2:]).transpose(1, 2).reshape(values.shape)


def _ordered(values: Tensor, index: Tensor | None) -> Tensor:
    return values if index is None else values.gather(1, index)


def _reordered(matrix: Tensor, columns: Tensor | None, rows: Tensor | None) -> Tensor:
    if columns is not None:
        matrix = matrix.gather(2, columns.unsqueeze(1).expand_as(matrix))
    if rows is not None:
        matrix = matrix.gather(1, rows.unsqueeze(2).expand_as(matrix))
    return matrix


class StackedMixing(StackedLinear):
    """The linear map before a coupling, with its norm, at K steps."""

    @abstractmethod
    def log_det(self, folded: Tensors) -> Tensor:
        """Return log|det|, (K,)."""

    @abstractmethod
    def add_grad_log_det(self, gradients: Tensors, grad_log_det: Tensor) -> None:
        """Add the gradients of log|det| to those that `unfold` returned, given the gradient by it, (K,)."""


class LU(StackedMixing):
    """The matrices of `LUMixing` with their norms folded; see there.

    Parameters
    ----------
    permutation, sign
        Stacked buffers of the layers.
    """

    count = 5

    def __init__(self, permutation: Tensor, sign: Tensor) -> None:
        self._permutation, self._sign = permutation, sign

    def fold(self, parameters: Tensors) -> Tensors:
        """Return A = W·diag(exp(s)), A·b, P·L, U·diag(exp(s)), the diagonal, exp(s), b and its logarithm's terms."""
        lower, upper, log_diagonal, offset, log_scale = parameters
        scale, diagonal = log_scale.exp(), self._sign * log_diagonal.exp()
        permuted = torch.baddbmm(self._permutation, self._permutation, lower.tril(-1))
        scaled = upper.triu(1)
        scaled.diagonal(dim1=1, dim2=2).copy_(diagonal)
        scaled = scaled.mul_(scale.unsqueeze(1))
        matrix = torch.bmm(permuted, scaled)
        bias = (matrix * offset.unsqueeze(1)).sum(2)
        return matrix, bias, permuted, scaled, diagonal, scale, offset, log_diagonal + log_scale

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradients by the parameters."""
        matrix, _, permuted, scaled, diagonal, scale, offset, _ = folded
        grad_matrix = torch.baddbmm(grad_matrix, grad_bias.unsqueeze(2), offset.unsqueeze(1))
        grad_offset = torch.bmm(grad_bias.unsqueeze(1), matrix).squeeze(1)
        grad_scaled = torch.bmm(permuted.transpose(1, 2), grad_matrix)
        grad_permuted = torch.bmm(grad_matrix, scaled.transpose(1, 2))
        grad_lower = torch.bmm(self._permutation.transpose(1, 2), grad_permuted).tril_(-1)
        grad_log_scale = (grad_scaled * scaled).sum(1)
        grad_upper = grad_scaled.mul_(scale.unsqueeze(1))
        grad_log_diagonal = grad_upper.diagonal(dim1=1, dim2=2) * diagonal
        return grad_lower, grad_upper.triu_(1), grad_log_diagonal, grad_offset, grad_log_scale

    def log_det(self, folded: Tensors) -> Tensor:
        """Return Σ(d + s)."""
        return folded[-1].sum(1)

    def add_grad_log_det(self, gradients: Tensors, grad_log_det: Tensor) -> None:
        """Add to the gradients by d and s."""
        gradients[2].add_(grad_log_det.unsqueeze(1))
        gradients[4].add_(grad_log_det.unsqueeze(1))


class Ordered(StackedMixing):
    """Norms followed by fixed orders: y_c = (x_o(c) + b_o(c))·exp(s_o(c)).

    Parameters
    ----------
    orders
        o, (K, D).
    """

    count = 2

    def __init__(self, orders: Tensor) -> None:
        self._orders, self._own = orders, orders.argsort(1)

    def fold(self, parameters: Tensors) -> Tensors:
        """Return exp(s) and b·exp(s), both reordered, and s."""
        offset, log_scale = parameters
        scale = log_scale.exp().gather(1, self._orders)
        return scale, offset.gather(1, self._orders) * scale, log_scale

    def unfold(self, folded: Tensors, grad_matrix: Tensor, grad_bias: Tensor) -> Tensors:
        """Return the gradients by b and s."""
        scale, bias, _ = folded
        grad_log_scale = torch.addcmul(grad_bias * bias, grad_matrix, scale)
        return (grad_bias * scale).gather(1, self._own), grad_log_scale.gather(1, self._own)

    def steps(self, folded: Tensors) -> LinearSteps:
        """Return the mixing with its folded parameters."""
        return OrderedSteps(folded[0], folded[1], self._orders, self._own)

    def log_det(self, folded: Tensors) -> Tensor:
        """Return Σs."""
        return folded[-1].sum(1)

    def add_grad_log_det(self, gradients: Tensors, grad_log_det: Tensor) -> None:
        """Add to the gradient by s."""
        gradients[1].add_(grad_log_det.unsqueeze(1))
