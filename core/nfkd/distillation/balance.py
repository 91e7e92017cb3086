"""How much each term moves the student: norms of the terms' gradients, and weights that even them out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nfkd.flows.flow import Flow

_MOMENTUM = 0.9
_LARGEST = 1e3


class TermGradients:
    """The gradient of each term by a flow's parameters, before its weight, added up over the pieces of a batch.

    It costs a backward pass for each term and piece; the graphs are kept.

    Parameters
    ----------
    flow
        Whose parameters they are by.
    whole
        Whether the sums stay for `write`. Else none outlives the last piece, and nothing at all is kept of a batch in
        one piece.

    Attributes
    ----------
    norms
        The norm of each sum, scalars; there once the last piece was added.
    """

    def __init__(self, flow: Flow, *, whole: bool) -> None:
        self._parameters = trained(flow)
        self._whole = whole
        self._sums: dict[str, list[Tensor | None]] = {}
        self.norms: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor], *, last: bool) -> None:
        """Take in a piece's terms, scalars."""
        for name, value in terms.items():
            found = torch.autograd.grad(value, self._parameters, retain_graph=True, allow_unused=True)
            before = self._sums.pop(name, [None] * len(found))
            total = [_sum(first, second) for first, second in zip(before, found, strict=True)]
            if last:
                self.norms[name] = norm_of(total)
            if self._whole or not last:
                self._sums[name] = total

    def write(self, weights: Mapping[str, float]) -> None:
        """Give the flow's parameters the gradient of the weighted sum of the terms."""
        for place, parameter in enumerate(self._parameters):
            parameter.grad = self._weighted(place, weights)

    def _weighted(self, place: int, weights: Mapping[str, float]) -> Tensor | None:
        total = None
        for name, sums in self._sums.items():
            part = sums[place]
            total = _sum(total, None if part is None else weights[name] * part)
        return total


def trained(flow: Flow) -> list[Tensor]:
    """Return the parameters of a flow that are trained."""
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


def norm_of(gradients: Iterable[Tensor | None]) -> Tensor:
    """Return the norm of a gradient by parameters, a scalar; None is a parameter that has no part in it.

    Squares that are too large for a float do not make it infinite: the norm is finite wherever it is a float itself.
    """
    parts = [part for part in gradients if part is not None]
    norm = torch.nn.utils.get_total_norm(parts)
    if math.isfinite(float(norm)):
        return norm
    largest = torch.nn.utils.get_total_norm(parts, math.inf)
    return largest * torch.nn.utils.get_total_norm([part / largest for part in parts])


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def shares(weights: Mapping[str, float], norms: Mapping[str, float]) -> dict[str, float]:
    """Return each term's part of the sum of the weighted gradients' norms; NaN where that sum is zero."""
    parts = {name: weights[name] * norm for name, norm in norms.items()}
    total = sum(parts.values())
    return {name: part / total if total else math.nan for name, part in parts.items()}


def follow(running: dict[str, float], measured: Mapping[str, Tensor]) -> None:
    """Let running norms follow measured ones (momentum 0.9); what is not finite is passed over."""
    for name, norm in measured.items():
        value = float(norm)
        if math.isfinite(value):
            before = running.get(name, value)
            running[name] = _MOMENTUM * before + (1 - _MOMENTUM) * value


def balanced(weights: Mapping[str, float], norms: Mapping[str, float]) -> dict[str, float]:
    """Return weights under which each term's share of the gradient is its share of the given weights.

    w'_i = c·w_i/n_i with the running norms n_i and c such that the sum of the weights stays. It evens out the norms as
    GradNorm does without its asymmetry (Chen et al. 2018, arXiv 1711.02257, α = 0), in closed form in place of steps
    on the weights. None is changed more than thousandfold against the geometric mean, as which a term without any
    gradient counts.

    Parameters
    ----------
    weights
        Of the terms that are on.
    norms
        Running norms; terms that were not measured yet are not changed.
    """
    logs = {name: math.log(norm) for name in weights if (norm := norms.get(name, 0.0)) > 0}
    if not logs:
        return dict(weights)
    mean = sum(logs.values()) / len(logs)
    bound = math.log(_LARGEST)
    factors = {name: math.exp(min(bound, max(-bound, mean - logs.get(name, mean)))) for name in weights}
    raw = {name: weight * factors[name] for name, weight in weights.items()}
    total = sum(raw.values())
    scale = sum(weights.values()) / total if total else 1.0
    return {name: value * scale for name, value in raw.items()}
