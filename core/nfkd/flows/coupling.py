"""Affine coupling (Dinh et al. 2017, arXiv 1605.08803) with Glow's bounded scale, and the step made with it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.bijections import NormedMixing
from nfkd.flows.flow import Layer, sum_each
from nfkd.flows.networks import CouplingNetwork, with_context

_SHIFT_OF_SCALE = 2.0  # sigmoid(2) = 0.88: near the identity at the start, never above one


class AffineCoupling(Layer):
    """The first part passes and scales and shifts the second: y₂ = (x₂ + t)·sigmoid(s + 2), (s, t) from x₁.

    Parameters
    ----------
    channels
        All of them; the first half (rounded down) passes.
    network
        From the first part to two outputs a channel of the second: even ones shift, odd ones scale.
    """

    def __init__(self, channels: int, network: CouplingNetwork) -> None:
        super().__init__()
        self._sizes = [channels // 2, channels - channels // 2]
        self.network = network

    def _shift_and_log_scale(self, passes: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, raw = self.network(with_context(passes, context))
        return shift, functional.logsigmoid(raw + _SHIFT_OF_SCALE)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the coupled channels and the log-determinant."""
        passes, changes = x.split(self._sizes, dim=1)
        shift, log_scale = self._shift_and_log_scale(passes, context)
        changed = (changes + shift) * log_scale.exp()
        return torch.cat([passes, changed], dim=1), sum_each(log_scale)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels before the coupling."""
        passes, changed = y.split(self._sizes, dim=1)
        shift, log_scale = self._shift_and_log_scale(passes, context)
        return torch.cat([passes, changed * (-log_scale).exp() - shift], dim=1)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the network's norms from the first batch."""
        self.network.initialize(with_context(x.split(self._sizes, dim=1)[0], context))
        return self(x, context)[0]


class GlowStep(Layer):
    """A step of flow: ActNorm and invertible 1×1 convolution (folded into one), then affine coupling.

    Parameters
    ----------
    channels
        Channels or features.
    network
        Of the coupling.
    generator
        For the random rotation.
    """

    def __init__(self, channels: int, network: CouplingNetwork, generator: torch.Generator | None) -> None:
        super().__init__()
        self.mixing = NormedMixing(channels, generator)
        self.coupling = AffineCoupling(channels, network)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what comes out of the step and the log-determinant."""
        x, mixed = self.mixing(x)
        x, coupled = self.coupling(x, context)
        return x, mixed + coupled

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what went into the step."""
        return self.mixing.inverse(self.coupling.inverse(y, context))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise from the first batch."""
        return self.coupling.initialize(self.mixing.initialize(x), context)
