"""The gradient of each term of the loss, its norm, and weights that balance the norms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nfkd.distillation.ranks import Ranks
from nfkd.flows.flow import Flow

_MOMENTUM = 0.9
_LARGEST_FACTOR = 1e3

_JOINED = 1 << 17
"""Most numbers of a gradient that is copied into one tensor for its norm."""

Weight = float | Tensor
"""A number, or a scalar on the device: reading it would wait for the device."""


class TermGradients:
    """The gradient of each term with respect to a flow's parameters, before its weight, summed over the micro-batches.

    Each term and micro-batch costs a backward pass; the graphs are kept.

    Parameters
    ----------
    flow
        The gradients are with respect to its trained parameters.
    ranks
        The processes that compute parts of each batch: their gradients are added up, too.
    keep
        Whether the sums are kept for `set_gradients`. Otherwise each is dropped after the last micro-batch; an unsplit
        batch then keeps none.
    deferred
        Whether nothing may wait for the device; see `total_norm`.

    Attributes
    ----------
    norms
        The norm of each sum, scalars; empty before the last micro-batch.
    """

    def __init__(self, flow: Flow, ranks: Ranks, *, keep: bool, deferred: bool = False) -> None:
        self._parameters, self._ranks = trained_parameters(flow), ranks
        self._keep, self._deferred = keep, deferred
        self._sums: dict[str, list[Tensor | None]] = {}
        self.norms: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor], *, last: bool) -> None:
        """Add the gradients of a micro-batch's terms, scalars."""
        for name, value in terms.items():
            gradients = torch.autograd.grad(value, self._parameters, retain_graph=True, allow_unused=True)
            before = self._sums.pop(name, [None] * len(gradients))
            total = [_add(first, second) for first, second in zip(before, gradients, strict=True)]
            if last:
                sums = iter(self._ranks.sum([gradient for gradient in total if gradient is not None]))
                total = [None if gradient is None else next(sums) for gradient in total]
                self.norms[name] = total_norm(total, deferred=self._deferred)
            if self._keep or not last:
                self._sums[name] = total

    def set_gradients(self, weights: Mapping[str, Weight]) -> None:
        """Set the gradients of the flow's parameters to those of the weighted sum of the terms."""
        for index, parameter in enumerate(self._parameters):
            parameter.grad = None
            for name, gradients in self._sums.items():
                gradient = gradients[index]
                if gradient is not None:
                    parameter.grad = _add(parameter.grad, weighted(weights[name], gradient))


def trained_parameters(flow: Flow) -> list[Tensor]:
    """Return the parameters of a flow that are trained."""
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


def weighted(weight: Weight, value: Tensor) -> Tensor:
    """Return a weight times a value, in the value's precision."""
    return (weight.to(value.dtype) if isinstance(weight, Tensor) else weight) * value


def total_norm(gradients: Iterable[Tensor | None], *, deferred: bool = False) -> Tensor:
    """Return the norm of a gradient by many parameters, a scalar; None counts as zero.

    The norm is finite wherever a float can hold it, even where the squares overflow. With `deferred` it is infinite
    there: to find out would wait for the device.
    """
    gradients = [gradient for gradient in gradients if gradient is not None]
    norm = _norm(gradients)
    if deferred or math.isfinite(float(norm)):
        return norm
    largest = torch.nn.utils.get_total_norm(gradients, math.inf)
    return largest * torch.nn.utils.get_total_norm([gradient / largest for gradient in gradients])


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm; that of many small tensors on the CPU at once, in a seventh of the time."""
    if gradients and gradients[0].device.type == "cpu" and sum(map(Tensor.numel, gradients)) <= _JOINED:
        return torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.nn.utils.get_total_norm(gradients)


def _add(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def gradient_shares(weights: Mapping[str, float], norms: Mapping[str, float]) -> dict[str, float]:
    """Return each term's share of the sum of the weighted gradients' norms; NaN where that sum is zero."""
    weighted = {name: weights[name] * norm for name, norm in norms.items()}
    total = sum(weighted.values())
    return {name: norm / total if total else math.nan for name, norm in weighted.items()}


def update_running_norms(running: dict[str, Weight], measured: Mapping[str, Tensor], *, deferred: bool = False) -> None:
    """Update running norms in place (momentum 0.9) by finite norms; with `deferred` they stay on the device."""
    for name, norm in measured.items():
        value = norm.double() if deferred else float(norm)
        running[name] = _MOMENTUM * running.get(name, value) + (1 - _MOMENTUM) * value


def balance_weights(
    weights: Mapping[str, float], norms: Mapping[str, Weight], device: torch.device | None = None
) -> dict[str, Weight]:
    """Return weights under which each term's share of the gradient is its share of the given weights.

    w'_i = c·w_i/n_i with the running norms n_i, and c such that the sum of the weights stays. This balances the norms
    as GradNorm does without its asymmetry (Chen et al. 2018, arXiv 1711.02257, α = 0), in closed form instead of by
    gradient steps on the weights. The factor 1/n_i is limited to a thousandfold above or below the geometric mean.

    Parameters
    ----------
    weights
        Weights of the active terms.
    norms
        Running norms. Terms without a positive norm count as the geometric mean.
    device
        Where the result is scalars, made without waiting for it; None for numbers.
    """
    norm = torch.stack([_scalar(norms.get(name, 0.0), device or torch.device("cpu")) for name in weights])
    logs = norm.log().where(norm > 0, 0.0)
    mean = logs.sum() / (norm > 0).sum().clamp(min=1)
    bound = math.log(_LARGEST_FACTOR)
    factors = (mean - logs).where(norm > 0, 0.0).clamp(-bound, bound).exp()
    raw = torch.stack([weight * factor for weight, factor in zip(weights.values(), factors, strict=True)])
    total = raw.sum()
    balanced = raw * (sum(weights.values()) / total).where(total != 0, 1.0)
    return dict(zip(weights, balanced.tolist() if device is None else balanced, strict=True))


def _scalar(value: Weight, device: torch.device) -> Tensor:
    """Return a number as a scalar, without a copy from the CPU."""
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float64, device=device)
