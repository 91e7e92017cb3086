"""Base classes of a flow's parts: layers, splits and priors; and their Gaussian densities."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

_LOG_TWO_PI = math.log(2 * math.pi)


class Layer(nn.Module, ABC):
    """A bijection of a batch; a conditional flow passes the context, (B, context features).

    Attributes
    ----------
    passes
        The time of `forward` and `inverse` for a batch, roughly, in passes through the layer's network.
    takes_guidance
        Whether the layer can be guided during sampling (`nfkd.flows.guidance`).
    """

    passes: tuple[int, int] = (1, 1)
    takes_guidance: bool = False

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
    return -0.5 * (sum_each(z.square()) + math.prod(z.shape[1:]) * _LOG_TWO_PI)
