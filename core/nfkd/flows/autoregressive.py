"""Autoregressive layers: each feature is transformed given those before it in the layer's order.

The masked autoregressive flow (Papamakarios et al. 2017, arXiv 1705.07057) conditions on the data: x → z is one pass,
z → x goes feature by feature. The inverse autoregressive flow (Kingma et al. 2016, arXiv 1606.04934) conditions on the
latents, so the reverse holds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from nfkd.flows.jacobi import SequentialLayer
from nfkd.flows.layer import Layer
from nfkd.flows.made import MADE
from nfkd.flows.transforms import Elementwise

_MOMENTUM = 0.1
_SMALLEST_VARIANCE = 1e-5


class MaskedAutoregressive(SequentialLayer):
    """z_i = f(x_i; parameters from x_j, j before i): density in one pass, sampling feature by feature.

    Parameters
    ----------
    order
        (D,) the features in the order in which they follow each other; saved with the weights.
    transform
        f.
    hidden, depth, context_features, generator
        Of the masked network; see `MADE`.
    """

    order: Tensor

    def __init__(
        self,
        order: Tensor,
        transform: Elementwise,
        *,
        hidden: int,
        depth: int,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self._transform = transform
        self.passes = (1, len(order))
        self.network = MADE(
            len(order),
            transform.parameters,
            hidden=hidden,
            depth=depth,
            start=transform.start,
            context_features=context_features,
            generator=generator,
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, in one pass."""
        ordered = x.index_select(1, self.order)
        y, slopes = self._transform.forward(ordered, self.network(ordered, context))
        return self._unordered(y), slopes.sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x, feature by feature or by Jacobi iteration."""
        return self._unordered(self.solve(y.index_select(1, self.order), context))

    @property
    def transform(self) -> Elementwise:
        """The transform f."""
        return self._transform

    @property
    def tokens(self) -> int:
        """D: every feature is a token."""
        return len(self.order)

    def solve_exactly(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Return x of z, (B, D), both in the layer's order."""
        features = y.t().contiguous().unbind()

        def solve(index: int, parameters: Tensor) -> Tensor:
            return self._transform.inverse(features[index], parameters)

        return self.network.sequential(solve, y, context)

    def iterate(self, y: Tensor, x: Tensor, context: Tensor | None, segment: slice) -> Tensor:
        """Return f⁻¹ of a segment of z, with parameters from x; all (B, D), in the layer's order."""
        return self._transform.inverse(y[:, segment], self.network(x, context)[:, segment])

    def _unordered(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order.argsort())


class InverseAutoregressive(MaskedAutoregressive):
    """x_i = f(z_i; parameters from z_j, j before i): sampling in one pass, density feature by feature.

    The inverse of `MaskedAutoregressive`, with the same parameters. With `Affine`, x = z·σ + μ with σ and μ from the
    latents before.
    """

    iterated = "encode"

    def __init__(self, order: Tensor, transform: Elementwise, **settings: Any) -> None:
        super().__init__(order, transform, **settings)
        self.passes = (len(order), 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, feature by feature or by Jacobi iteration."""
        ordered = x.index_select(1, self.order)
        if self.iterating:
            z = self.solve(ordered, context)
            slopes = self._transform.forward(z, self.network(z, context))[1]
        else:
            z, slopes = self._solve_with_slopes(ordered, context)
        return self._unordered(z), -slopes.sum(1)

    def _solve_with_slopes(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log f′ at each feature, (B, D), feature by feature: all in one pass's arithmetic."""
        features = y.unbind(1)
        slopes: list[Tensor] = []

        def solve(index: int, parameters: Tensor) -> Tensor:
            value = self._transform.inverse(features[index], parameters)
            slopes.append(self._transform.forward(value, parameters)[1])
            return value

        z = self.network.sequential(solve, y, context)
        return z, torch.stack(slopes, dim=1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x, in one pass."""
        return super().forward(y, context)[0]


class BatchNorm(Layer):
    """y = (x − m)/√(v + 10⁻⁵)·exp(γ) + β for each feature, as in MAF (arXiv 1705.07057, section 3).

    In training m and v are mean and variance of the batch, and gradients flow through them. Running means of both
    (momentum 0.1, starting at the first batch's values) are used in evaluation, for a batch of one example, and in the
    inverse.

    Parameters
    ----------
    features
        D.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the normalised x and the log-determinant."""
        mean, variance = self.mean, self.variance
        if self.training and len(x) > 1:
            mean, variance = x.mean(0), x.var(0, unbiased=False)
            self._update(mean.detach(), variance.detach(), _MOMENTUM)
        log_scale = self.log_scale - 0.5 * (variance + _SMALLEST_VARIANCE).log()
        return (x - mean) * log_scale.exp() + self.bias, log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x by the running means."""
        scale = (self.variance + _SMALLEST_VARIANCE).sqrt() * (-self.log_scale).exp()
        return (y - self.bias) * scale + self.mean

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Start the running means at the first batch's values."""
        self._update(x.mean(0), x.var(0, unbiased=False), 1.0)
        return self(x)[0]

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, momentum: float) -> None:
        # Inside a transform such as torch.func.jvp, torch refuses to change a buffer and has no public way to ask.
        # Such a pass repeats a plain pass over the same batch, which has updated the means.
        with suppress(RuntimeError):
            self.mean.lerp_(mean, momentum)
            self.variance.lerp_(variance, momentum)
