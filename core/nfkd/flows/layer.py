"""Base classes of a flow's parts: layers, splits and priors; and their Gaussian densities."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

LOG_TWO_PI = math.log(2 * math.pi)
Replay = tuple[Tensor, tuple[Tensor, ...]]
"""The input of a layer's pass, as a leaf that requires gradients, and the outputs of the pass with their graph."""


class Layer(nn.Module, ABC):
    """A bijection of a batch; a conditional flow passes the context, (B, context features).

    Attributes
    ----------
    passes
        The time of `forward` and `inverse` for a batch, roughly, in passes through the layer's network.
    takes_guidance
        Whether the layer can be guided during sampling (`nfkd.flows.guidance`).
    recomputes
        What the backward pass may compute the layer again from (`nfkd.flows.activations`): its output, if both
        directions are one exact pass; its input; or nothing, for passes that change the layer or are random.
    """

    passes: tuple[int, int] = (1, 1)
    takes_guidance: bool = False
    recomputes: Literal["from nothing", "from input", "from output"] = "from nothing"

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image of x and the log-determinant, (B,) nats."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x with ``forward(x)[0] == y``."""

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise data-dependent parameters from the first batch; return the image of x."""
        return self(x, context)[0]

    def initialize_outer(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise as `initialize`, except parameters inside networks; return the image of x."""
        return self(x, context)[0]

    @property
    def parts(self) -> tuple[Layer, ...]:
        """The layers that this one consists of, in order; itself if it has no parts."""
        return (self,)

    def replay(self, y: Tensor, context: Tensor | None = None) -> Replay:
        """Return the input of `forward` whose output is y, and what `forward` returns for it."""
        with torch.no_grad():
            x = self.inverse(y, context)
        x = x.detach().requires_grad_()
        return x, self(x, context)

    def replay_inverse(self, x: Tensor, context: Tensor | None = None) -> Replay:
        """Return the input of `inverse` whose output is x, and what `inverse` returns for it, as a tuple."""
        with torch.no_grad():
            y = self(x, context)[0]
        y = y.detach().requires_grad_()
        return y, (self.inverse(y, context),)


class Conditioned(Layer):
    """A layer that changes a part of the numbers, with parameters computed from the others and the context.

    Both directions need the same parameters, so the backward pass of a recomputed layer computes them once.
    """

    recomputes = "from output"

    @abstractmethod
    def parameters_of(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the parameters from the numbers that stay; input and output of the layer have the same ones."""

    @abstractmethod
    def transformed(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of x and the log-determinant, (B,) nats."""

    @abstractmethod
    def restored(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Return x with ``transformed(x, parameters)[0] == y``."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image of x and the log-determinant."""
        return self.transformed(x, self.parameters_of(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x."""
        return self.restored(y, self.parameters_of(y, context))

    def replay(self, y: Tensor, context: Tensor | None = None) -> Replay:
        """Return the input of `forward` whose output is y, and what `forward` returns for it."""
        x = y.detach().requires_grad_()
        parameters = self.parameters_of(x, context)
        x.data = self.restored(y.detach(), parameters.detach())  # the graph has read the numbers that stay
        return x, self.transformed(x, parameters)

    def replay_inverse(self, x: Tensor, context: Tensor | None = None) -> Replay:
        """Return the input of `inverse` whose output is x, and what `inverse` returns for it, as a tuple."""
        y = x.detach().requires_grad_()
        parameters = self.parameters_of(y, context)
        y.data = self.transformed(x.detach(), parameters.detach())[0]
        return y, (self.restored(y, parameters),)


class Split(nn.Module, ABC):
    """Split off half of the dimensions as a latent; its Gaussian prior depends on the half that is kept."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept half and the split-off half."""

    @abstractmethod
    def prior(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of the split-off half."""

    @abstractmethod
    def inverse(self, kept: Tensor, split_off: Tensor) -> Tensor:
        """Join both halves."""


class Prior(nn.Module, ABC):
    """A Gaussian prior of the last latent that is not the standard normal."""

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each of z's shape; z's values are not used."""


def sum_each(x: Tensor) -> Tensor:
    """Return the sum over each example, (B,)."""
    return x.sum(tuple(range(1, x.dim())))


def normal(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of each example under independent Gaussians, (B,) nats."""
    return standard_normal(standardize(z, mean, log_scale)) - sum_each(log_scale)


def standardize(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return (z − mean)/σ."""
    return (z - mean) * (-log_scale).exp()


def standard_normal(z: Tensor) -> Tensor:
    """Return the log-density of each example under the standard normal, (B,) nats."""
    return -0.5 * (sum_each(z.square()) + math.prod(z.shape[1:]) * LOG_TWO_PI)
