"""The networks inside couplings, with Glow's zero-initialised last layer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.convolutions import Convolve
from nfkd.flows.fused import fusible, hooks_of
from nfkd.flows.precision import in_precision, narrowed, narrows

_WEIGHT_SCALE = 0.05  # Glow's initialisation of hidden convolutions
LOG_SCALE_FACTOR = 3.0
CONVOLUTION_FACTORS = (1.0, 1.0, LOG_SCALE_FACTOR)
"""Of the logarithmic scales of the convolutions of a `CouplingNetwork`."""
_SPREAD = 2.0  # in standard deviations of a unit's input


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a matrix (outputs, inputs) at every pixel, or a convolution (outputs, inputs, k, k) that keeps the size.

    A matrix is applied to all pixels of all examples as rows of channels. With few channels this is much faster than a
    1×1 convolution, and leaves the channels last in memory, where 3×3 convolutions are fastest.
    """
    x, weight, bias = narrowed(x, weight, bias)
    if x.dim() == 2:
        return functional.linear(x, weight, bias)
    size = weight.shape[-1] if weight.dim() == 4 else 1
    if size > 1:
        return functional.conv2d(x, weight, bias, padding=size // 2)
    channels_last = x.movedim(1, -1)
    rows = functional.linear(channels_last.flatten(0, -2), weight.flatten(1), bias)
    return rows.unflatten(0, channels_last.shape[:-1]).movedim(-1, 1)


def with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """Return x, (B, channels, …), with the context, (B, features), as further channels at every pixel."""
    if context is None:
        return x
    size = x.shape[2:]
    expanded = context.view(*context.shape, *[1] * len(size)).expand(*context.shape, *size)
    return torch.cat([x, expanded.to(x.dtype)], dim=1)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return values, (channels,), in a shape that broadcasts to x, (B, channels, …)."""
    return values.view(-1, *[1] * (x.dim() - 2))


def pairs(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the even and the odd outputs, (B, outputs / 2, …) each."""
    evens, odds = outputs.unflatten(1, (-1, 2)).unbind(2)
    return evens, odds


class Norm(nn.Module):
    """ActNorm: (x + b)·exp(s) for each channel; inside a network it is folded into the layer before it.

    Parameters
    ----------
    channels
        Channels or features.
    means
        (channels,) mean of each channel after `initialize`; zero if None.
    """

    def __init__(self, channels: int, means: Tensor | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels) if means is None else means)
        self.log_scale = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Give each channel of x, (B, channels, …), standard deviation 1 and the mean that b has now."""
        dimensions = [0, *range(2, x.dim())]
        mean = x.mean(dimensions)
        deviation = x.var(dimensions, unbiased=False).sqrt() + 1e-6
        self.bias.copy_(self.bias * deviation - mean)
        self.log_scale.copy_(-deviation.log())

    def forward(self, x: Tensor) -> Tensor:
        """Return (x + b)·exp(s), (B, channels, …)."""
        return (x + per_channel(self.bias, x)) * per_channel(self.log_scale.exp(), x)

    def inverse(self, y: Tensor) -> Tensor:
        """Return y·exp(−s) − b."""
        return y * per_channel((-self.log_scale).exp(), y) - per_channel(self.bias, y)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of a linear or convolutional layer followed by this norm."""
        scale = self.log_scale.exp()
        return weight * scale.view(-1, *[1] * (weight.dim() - 1)), self.bias * scale


def drawing() -> bool:
    """Return whether new weights need values: not on the meta device, where drawing them takes 15 times as long."""
    return not torch.empty(0).is_meta


def _hidden_weight(shape: tuple[int, ...], generator: torch.Generator | None) -> nn.Parameter:
    """Return Gaussian weights of a layer that is followed by a norm.

    All rows of a matrix have the same length. With few inputs some random rows would be so short that the norm scales
    them, and every later change of them, by thousands.
    """
    if not drawing():
        return nn.Parameter(torch.empty(shape))
    weight = torch.randn(shape, generator=generator)
    if len(shape) == 2:
        weight = functional.normalize(weight) * math.sqrt(shape[1])
    return nn.Parameter(_WEIGHT_SCALE * weight)


def _spread_norm(units: int, generator: torch.Generator | None) -> Norm:
    """Return the norm of linear units, with first means uniform within ±2 standard deviations.

    With means of zero every ReLU of a single input would have its kink at the input's mean.
    """
    return Norm(units, _SPREAD * (2 * torch.rand(units, generator=generator) - 1) if drawing() else torch.empty(units))


class ZeroLast(nn.Module):
    """A zero-initialised last layer with a learned scale exp(3s) for every output (Glow's Conv2dZeros).

    Parameters
    ----------
    inputs
        Channels or features; zero for constant outputs without a weight.
    outputs
        Channels or features.
    kernel
        Kernel size of a convolution; None for a linear layer.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int | None) -> None:
        super().__init__()
        self.kernel = kernel
        spatial = () if kernel is None else (kernel, kernel)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, *spatial)) if inputs else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_scale = nn.Parameter(torch.zeros(outputs))

    def scale(self) -> Tensor:
        """Return the learned scale exp(3s) of every output, (outputs,)."""
        return (LOG_SCALE_FACTOR * self.log_scale).exp()

    def forward(self, h: Tensor) -> Tensor:
        """Return the scaled outputs, (B, outputs, …)."""
        scale = self.scale()
        if self.weight is None:
            return (self.bias * scale).expand(len(h), -1)
        weight = self.weight * scale.view(-1, *[1] * (self.weight.dim() - 1))
        return affine(h, weight, self.bias * scale)


class Network(nn.Module, ABC):
    """A network of a coupling: (B, inputs, …) to (B, outputs, …), with zeros as its first outputs."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""

    @abstractmethod
    def initialize(self, x: Tensor) -> None:
        """Initialise the norms from a batch of inputs."""


class CouplingNetwork(Network):
    """Hidden layers with norm and ReLU, then a zero-initialised last layer.

    First means of the norms are random for linear layers and zero for convolutions, as in Glow.

    Parameters
    ----------
    inputs, hidden, outputs
        Channels or features.
    kernels
        Kernel size of each hidden convolution; None for a linear layer.
    last_kernel
        Of the last layer.
    generator
        For the first weights, on the CPU.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        kernels: tuple[int | None, ...],
        last_kernel: int | None,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * len(kernels)]
        shapes = [
            (hidden, width) if kernel is None else (hidden, width, kernel, kernel)
            for width, kernel in zip(widths, kernels, strict=False)
        ]
        self.weights = nn.ParameterList([_hidden_weight(shape, generator) for shape in shapes])
        self.norms = nn.ModuleList(
            [_spread_norm(hidden, generator) if kernel is None else Norm(hidden) for kernel in kernels]
        )
        self.last = ZeroLast(hidden, outputs, last_kernel)
        self.convolves = (*kernels, last_kernel) == (3, 1, 3)

    def _hidden(self) -> Iterator[tuple[Tensor, Norm]]:
        return zip(self.weights, cast("list[Norm]", self.norms), strict=True)

    @in_precision
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        if self.convolves and not any(hooks_of(self.last)):
            inputs = [x, *self._parameters_in_order()]
            if fusible(*inputs):
                return Convolve(CONVOLUTION_FACTORS, narrow=narrows(x, self.weights[0]))(inputs)[0]
        for weight, norm in self._hidden():
            x = functional.relu(affine(x, *norm.fold(weight)))
        return self.last(x)

    def _parameters_in_order(self) -> list[Tensor]:
        """Return weight, bias and logarithmic scale of each layer."""
        hidden = [value for weight, norm in self._hidden() for value in (weight, norm.bias, norm.log_scale)]
        return [*hidden, cast("Tensor", self.last.weight), self.last.bias, self.last.log_scale]

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Initialise the norms from a batch of inputs."""
        for weight, norm in self._hidden():
            norm.initialize(affine(x, weight))
            x = functional.relu(affine(x, *norm.fold(weight)))


class ResidualBlock(nn.Module):
    """h + W₂·relu(norm(W₁·relu(h))) + b (He et al. 2016, arXiv 1603.05027).

    W₂ and b start at zero, so the block starts as the identity.
    """

    def __init__(self, hidden: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.first = _hidden_weight((hidden, hidden), generator)
        self.norm = _spread_norm(hidden, generator)
        self.second = nn.Parameter(torch.zeros(hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output."""
        inner = functional.relu(affine(functional.relu(h), *self.norm.fold(self.first)))
        return h + affine(inner, self.second, self.bias)

    @torch.no_grad()
    def initialize(self, h: Tensor) -> Tensor:
        """Initialise the norm from h; return the block's output."""
        self.norm.initialize(affine(functional.relu(h), self.first))
        return self(h)


class ResidualNetwork(Network):
    """A linear layer with norm, residual blocks of two layers, then ReLU and a zero-initialised last layer.

    Parameters
    ----------
    inputs, hidden, outputs
        Features.
    blocks
        Number of residual blocks.
    generator
        For the first weights, on the CPU.

    Notes
    -----
    The residual network of neural spline flows (Durkan et al. 2019, arXiv 1906.04032), with ActNorm in place of batch
    norm, random first means, and Glow's last layer in place of small random weights.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, blocks: int, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.first = _hidden_weight((hidden, inputs), generator)
        self.norm = _spread_norm(hidden, generator)
        self.blocks = nn.ModuleList([ResidualBlock(hidden, generator) for _ in range(blocks)])
        self.last = ZeroLast(hidden, outputs, None)

    @in_precision
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        h = affine(x, *self.norm.fold(self.first))
        for block in self.blocks:
            h = block(h)
        return self.last(functional.relu(h))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Initialise the norms from a batch of inputs."""
        self.norm.initialize(affine(x, self.first))
        h = affine(x, *self.norm.fold(self.first))
        for block in cast("list[ResidualBlock]", list(self.blocks)):
            h = block.initialize(h)
