"""Coupling, affine (Dinh et al. 2017, arXiv 1605.08803) or additive (Dinh et al. 2015, arXiv 1410.8516), and steps.

What passes a coupling decides how the rest is changed: y = (x + t)·exp(ℓ), where the network gives t, and ℓ by way of a
bound. Of an affine coupling's outputs, even ones shift, odd ones scale; an additive one has only shifts, and ℓ = 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.flow import Layer, sum_each
from nfkd.flows.networks import Network, pairs, with_context

Bound = Literal["sigmoid", "tanh", "none"]
_SHIFT_OF_SCALE = 2.0  # sigmoid(2) = 0.88: near the identity at the start, never above one


def _log_sigmoid(raw: Tensor) -> Tensor:
    return functional.logsigmoid(raw + _SHIFT_OF_SCALE)


_BOUNDS: dict[Bound, Callable[[Tensor], Tensor]] = {"sigmoid": _log_sigmoid, "tanh": torch.tanh}


def bound_of(coupling: Literal["affine", "additive"], scale: Literal["sigmoid", "tanh"]) -> Bound:
    """Return the bound of a config's coupling: an additive one has no scale, whatever its config says of it."""
    return scale if coupling == "affine" else "none"


def outputs_of(bound: Bound, channels: int) -> int:
    """Return how many outputs a network needs for so many channels that change."""
    return channels if bound == "none" else 2 * channels


class Coupling(Layer, ABC):
    """Part of the dimensions passes and changes the rest.

    Parameters
    ----------
    network
        From what passes (and the context) to the outputs.
    bound
        *sigmoid*: the scale is sigmoid(s + 2), below one, as in Glow's code. *tanh*: it is exp(tanh(s)), between 1/e
        and e. *none*: there is none, and the coupling is additive.
    """

    def __init__(self, network: Network, bound: Bound) -> None:
        super().__init__()
        self.network = network
        self._bound = _BOUNDS.get(bound)

    def _shift_and_log_scale(self, passes: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        outputs = self.network(with_context(passes, context))
        if self._bound is None:
            return outputs, None
        shift, raw = pairs(outputs)
        return shift, self._bound(raw)

    @abstractmethod
    def _passes(self, x: Tensor) -> Tensor:
        """Return what the network sees of x."""

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the network's norms from the first batch."""
        self.network.initialize(with_context(self._passes(x), context))
        return self(x, context)[0]


def _change(x: Tensor, shift: Tensor, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
    if log_scale is None:
        return x + shift, x.new_zeros(len(x))
    return (x + shift) * log_scale.exp(), sum_each(log_scale)


def _restore(y: Tensor, shift: Tensor, log_scale: Tensor | None) -> Tensor:
    return (y if log_scale is None else y * (-log_scale).exp()) - shift


class ChannelCoupling(Coupling):
    """The first half of the channels (rounded down) passes and changes the second.

    Parameters
    ----------
    channels
        All of them.
    network, bound
        As in `Coupling`; two outputs for each channel of the second half, or one without a bound.
    """

    def __init__(self, channels: int, network: Network, bound: Bound = "sigmoid") -> None:
        super().__init__(network, bound)
        self._sizes = [channels // 2, channels - channels // 2]

    def _passes(self, x: Tensor) -> Tensor:
        return x.split(self._sizes, dim=1)[0]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the coupled channels and the log-determinant."""
        passes, changes = x.split(self._sizes, dim=1)
        changed, log_det = _change(changes, *self._shift_and_log_scale(passes, context))
        return torch.cat([passes, changed], dim=1), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels before the coupling."""
        passes, changed = y.split(self._sizes, dim=1)
        return torch.cat([passes, _restore(changed, *self._shift_and_log_scale(passes, context))], dim=1)


class CheckerboardCoupling(Coupling):
    """The light squares of every channel pass and change the dark ones (RealNVP, arXiv 1605.08803, section 3.4).

    The network sees the image with zeros on the dark squares; shift and log-scale are set to zero on the light ones.

    Parameters
    ----------
    shape
        (channels, height, width).
    parity
        0: the square in the first row and column is dark, and so is every other one; 1: the others are.
    network, bound
        As in `Coupling`; two outputs for each channel, or one without a bound.
    """

    dark: Tensor

    def __init__(self, shape: tuple[int, int, int], parity: int, network: Network, bound: Bound = "sigmoid") -> None:
        super().__init__(network, bound)
        _, height, width = shape
        places = torch.arange(height)[:, None] + torch.arange(width)
        # Not kept with the weights: the config says it.
        self.register_buffer("dark", (places % 2 == parity).to(torch.get_default_dtype()), persistent=False)

    def _passes(self, x: Tensor) -> Tensor:
        return x * (1 - self.dark)

    def _masked(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        shift, log_scale = self._shift_and_log_scale(self._passes(x), context)
        return shift * self.dark, None if log_scale is None else log_scale * self.dark

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the coupled image and the log-determinant."""
        return _change(x, *self._masked(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the image before the coupling: what passes is the same in both."""
        return _restore(y, *self._masked(y, context))


class FlowStep(Layer):
    """A step of flow: ActNorm and a mixing of the channels (folded into one where it can be), then a coupling.

    Parameters
    ----------
    mixing
        As `nfkd.flows.bijections.build_mixing` makes it.
    coupling
        What follows: a `Coupling`, or what takes its place in a spline flow.
    """

    def __init__(self, mixing: Layer, coupling: Layer) -> None:
        super().__init__()
        self.mixing = mixing
        self.coupling = coupling

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
