"""The loss of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from nfkd.distillation.balance import Weight


@dataclass(frozen=True)
class Loss:
    """The loss of a step.

    Attributes
    ----------
    total
        The weighted sum of the terms, a scalar.
    terms
        Each term before its weight, scalars.
    weights
        The terms' weights at this step; scalars on the device in a deferred step whose weights are balanced.
    gradient_norm
        The norm of the whole gradient, a scalar.
    norms
        The norm of each term's gradient before its weight, scalars; empty at steps that do not measure it.
    masked
        How many examples each term lost because values or gradients were not finite; only terms that lost any.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: Mapping[str, Weight]
    gradient_norm: Tensor
    norms: dict[str, Tensor] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
