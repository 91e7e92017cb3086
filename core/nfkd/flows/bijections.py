"""The bijections of Glow (Kingma & Dhariwal 2018, arXiv 1807.03039) but for the coupling.

All of them work on (B, C, H, W) and on (B, C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.flow import Layer, Split
from nfkd.flows.networks import Norm, ZeroLast


class Squeeze(Layer):
    """Trades space for channels: (C, H, W) to (4C, H/2, W/2), channels in the order (c, row, column)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squeezed x; the volume stays."""
        return functional.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
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
        identity = torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return self.lower.tril(-1) + identity, upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed channels and the log-determinant."""
        lower, upper = self._factors()
        weight = self.permutation @ lower @ upper * self.norm.log_scale.exp()
        places = x[0, 0].numel()
        log_det = places * (self.log_diagonal.sum() + self.norm.log_scale.sum())
        return _mix(x, weight, weight @ self.norm.bias), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the channels before the mixing."""
        lower, upper = self._factors()
        identity = torch.eye(len(self.sign), dtype=y.dtype, device=y.device)
        middle = torch.linalg.solve_triangular(lower, self.permutation.T @ identity, upper=False, unitriangular=True)
        weight = torch.linalg.solve_triangular(upper, middle, upper=True)
        weight = weight * (-self.norm.log_scale).exp()[:, None]
        return _mix(y, weight, -self.norm.bias)

    def initialize(self, x: Tensor) -> Tensor:
        """Normalise the channels of the first batch."""
        self.norm.initialize(x)
        return self(x)[0]


def _mix(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.dim() == 2:
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight[:, :, None, None], bias)


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
        outputs = self.network(stays)
        return outputs[:, 0::2], outputs[:, 1::2]

    def inverse(self, stays: Tensor, left: Tensor) -> Tensor:
        """Put both halves together."""
        return torch.cat([stays, left], dim=1)
