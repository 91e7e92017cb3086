"""The bijections of Glow (Kingma & Dhariwal 2018, arXiv 1807.03039) but for the coupling.

All of them work on (B, C, H, W) and on (B, C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.flow import Layer, Split
from nfkd.flows.networks import Norm, ZeroLast, affine


class Squeeze(Layer):
    """Trades space for channels: (C, H, W) to (4C, H/2, W/2), channels in the order (c, row, column)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the squeezed x; the volume stays."""
        return functional.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the image again."""
        return functional.pixel_shuffle(y, 2)


class NormedMixing(Layer):
    """ActNorm, then an invertible 1×1 convolution in LU form, as one affine map of the channels.

    y = W·((x + b) ⊙ exp(s)) at every place, W = P·L·(U + diag(sign ⊙ exp(d))), with P fixed, L unit lower and U
    strictly upper triangular. Both are folded into one convolution with the matrix W·diag(exp(s)), composed once a
    call. log|det| = places · Σ(s + d). As in the authors' code both triangles are kept as whole squares; what a mask
    hides is stored and counted, but never changes.

    Parameters
    ----------
    channels
        Channels or features.
    generator
        For the random rotation that it begins with, on the CPU.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.norm = Norm(channels)
        rotation = torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Return P·L and U with its diagonal."""
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return torch.addmm(self.permutation, self.permutation, self.lower.tril(-1)), upper

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mixed channels and the log-determinant."""
        permuted, upper = self._factors()
        weight = permuted @ (upper * self.norm.log_scale.exp())
        log_det = math.prod(x.shape[2:]) * (self.log_diagonal + self.norm.log_scale).sum()
        return affine(x, weight, weight @ self.norm.bias), log_det.expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels before the mixing."""
        permuted, upper = self._factors()
        lower = self.permutation.T @ permuted
        middle = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        weight = torch.linalg.solve_triangular(upper, middle, upper=True)
        weight = weight * (-self.norm.log_scale).exp()[:, None]
        return affine(y, weight, -self.norm.bias)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Normalise the channels of the first batch."""
        self.norm.initialize(x)
        return self(x)[0]


class GaussianSplit(Split):
    """The second half of the channels leaves; a zero-initialised 3×3 convolution of the first gives its prior.

    Parameters
    ----------
    channels
        Before the split; even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = ZeroLast(channels // 2, channels, kernel=3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the half that stays and the half that leaves."""
        stays, leaves = x.chunk(2, dim=1)
        return stays, leaves

    def prior(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation: even outputs and odd ones."""
        return self.network(stays)

    def inverse(self, stays: Tensor, left: Tensor) -> Tensor:
        """Put both halves together."""
        return torch.cat([stays, left], dim=1)
