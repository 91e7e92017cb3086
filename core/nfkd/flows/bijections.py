"""The bijections of Glow (Kingma & Dhariwal 2018, arXiv 1807.03039) but for the coupling, and its learned prior.

All of them work on (B, C, H, W), and all but the squeeze on (B, C).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.config.flows import Permutation
from nfkd.flows.flow import Layer, Prior, Split
from nfkd.flows.networks import Norm, ZeroLast, affine, pairs


class Squeeze(Layer):
    """Trades space for channels: (C, H, W) to (4C, H/2, W/2), channels in the order (c, row, column)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the squeezed x; the volume stays."""
        return functional.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the image again."""
        return functional.pixel_shuffle(y, 2)


class Mixing(Layer, ABC):
    """ActNorm, then something linear that mixes the channels, the same at every place.

    Attributes
    ----------
    mixes
        Whether it does: an order that leaves each channel where it is does not.
    """

    mixes = True

    @abstractmethod
    def mixing_matrix(self) -> Tensor:
        """Return W of y = W·x, without the norm, (channels, channels)."""

    @abstractmethod
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Take another W, (channels, channels); computed with in its own precision, kept in the layer's.

        Raises
        ------
        ValueError
            When W is none that this mixing can be: singular, or no order of the channels where only that is served.
        """


class ActNormLinear(Mixing, ABC):
    """ActNorm, then an invertible matrix of the channels, as one affine map: y = W·((x + b) ⊙ exp(s)) at every place.

    Both are folded into one 1×1 convolution with the matrix W·diag(exp(s)), made once a call.
    log|det| = places · (log|det W| + Σs).

    Parameters
    ----------
    channels
        Channels or features.
    actnorm
        Whether there is a norm; without one y = W·x.
    """

    def __init__(self, channels: int, *, actnorm: bool = True) -> None:
        super().__init__()
        self.norm = Norm(channels) if actnorm else None

    @abstractmethod
    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return W·diag(exp(s)), or W where there is no s, and its log|det|."""

    @abstractmethod
    def _inverted(self) -> Tensor:
        """Return W⁻¹."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mixed channels and the log-determinant."""
        weight, log_det = self._folded(None if self.norm is None else self.norm.log_scale)
        bias = None if self.norm is None else weight @ self.norm.bias
        return affine(x, weight, bias), (math.prod(x.shape[2:]) * log_det).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels before the mixing."""
        weight = self._inverted()
        if self.norm is None:
            return affine(y, weight)
        return affine(y, weight * (-self.norm.log_scale).exp()[:, None], -self.norm.bias)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Normalise the channels of the first batch."""
        if self.norm is not None:
            self.norm.initialize(x)
        return self(x)[0]


def _refuse_singular(diagonal: Tensor) -> None:
    if not bool((diagonal.isfinite() & (diagonal != 0)).all()):
        msg = "the matrix is singular or not finite"
        raise ValueError(msg)


def _rotation(channels: int, generator: torch.Generator | None) -> Tensor:
    return torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]


def _shuffle(channels: int, generator: torch.Generator | None) -> Tensor:
    return torch.eye(channels)[torch.randperm(channels, generator=generator)]


class LUMixing(ActNormLinear):
    """A matrix in LU form: W = P·L·(U + diag(sign ⊙ exp(d))), with P fixed, L unit lower and U strictly upper.

    log|det W| = Σd: never singular, and no determinant is computed. As in the authors' code both triangles are kept as
    whole squares; what a mask hides is stored and counted, but never changes.

    Parameters
    ----------
    start
        (channels, channels), the matrix that it begins with.
    actnorm
        As in `ActNormLinear`.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, start: Tensor, *, actnorm: bool = True) -> None:
        super().__init__(len(start), actnorm=actnorm)
        permutation, lower, upper = torch.linalg.lu(start)
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

    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        permuted, upper = self._factors()
        if log_scale is None:
            return permuted @ upper, self.log_diagonal.sum()
        return permuted @ (upper * log_scale.exp()), (self.log_diagonal + log_scale).sum()

    def mixing_matrix(self) -> Tensor:
        """Return P·L·(U + diag(sign ⊙ exp(d)))."""
        permuted, upper = self._factors()
        return permuted @ upper

    @torch.no_grad()
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Take the factors of another W; P and the signs, which are fixed, become its own."""
        permutation, lower, upper = torch.linalg.lu(matrix)
        diagonal = upper.diagonal()
        _refuse_singular(diagonal)
        self.permutation.copy_(permutation)
        self.sign.copy_(diagonal.sign())
        self.lower.copy_(lower.tril(-1))
        self.upper.copy_(upper.triu(1))
        self.log_diagonal.copy_(diagonal.abs().log())

    def _inverted(self) -> Tensor:
        permuted, upper = self._factors()
        lower = self.permutation.T @ permuted
        middle = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, middle, upper=True)


class DenseMixing(ActNormLinear):
    """A free matrix W; log|det W| from its LU decomposition at every call.

    Parameters
    ----------
    start
        (channels, channels), the matrix that it begins with.
    actnorm
        As in `ActNormLinear`.
    """

    def __init__(self, start: Tensor, *, actnorm: bool = True) -> None:
        super().__init__(len(start), actnorm=actnorm)
        self.matrix = nn.Parameter(start)

    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        log_det = torch.linalg.slogdet(self.matrix).logabsdet
        if log_scale is None:
            return self.matrix, log_det
        return self.matrix * log_scale.exp(), log_det + log_scale.sum()

    def mixing_matrix(self) -> Tensor:
        """Return W."""
        return self.matrix

    @torch.no_grad()
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Take another W."""
        _refuse_singular(torch.linalg.lu(matrix)[2].diagonal())
        self.matrix.copy_(matrix)

    def _inverted(self) -> Tensor:
        return torch.linalg.inv(self.matrix)


class ActNormPermutation(Mixing):
    """ActNorm, then the channels in another, fixed order: y_c = (x_o(c) + b_o(c))·exp(s_o(c)), log|det| = places · Σs.

    Parameters
    ----------
    channels
        Channels or features.
    order
        o, whole numbers: which channel comes where. It is a buffer, kept with the weights. Left out, each stays where
        it is.
    actnorm
        Whether there is a norm.
    reverses
        Whether the order is the channels' turned around, and stays that.
    """

    order: Tensor | None

    def __init__(
        self, channels: int, order: Tensor | None = None, *, actnorm: bool = True, reverses: bool = False
    ) -> None:
        super().__init__()
        self.norm = Norm(channels) if actnorm else None
        self.register_buffer("order", order)
        self.mixes = order is not None
        self.reverses = reverses

    def mixing_matrix(self) -> Tensor:
        """Return the matrix with a one at (c, o(c)) for each channel c."""
        if self.order is None:
            msg = "a layer that leaves each channel where it is mixes nothing"
            raise ValueError(msg)
        return torch.eye(len(self.order), device=self.order.device)[self.order]

    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Take the order of another W, which must be a permutation matrix."""
        if self.order is None:
            msg = "a layer that leaves each channel where it is takes no order"
            raise ValueError(msg)
        order = matrix.argmax(1)
        if not torch.equal(torch.eye(len(order), dtype=matrix.dtype, device=matrix.device)[order], matrix):
            msg = "the matrix is no order of the channels"
            raise ValueError(msg)
        self.order.copy_(order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the channels in their new order and the log-determinant."""
        log_det = x.new_zeros(len(x))
        if self.norm is not None:
            x, log_det = self.norm(x), (math.prod(x.shape[2:]) * self.norm.log_scale.sum()).expand(len(x))
        return (x if self.order is None else x.index_select(1, self.order)), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels in their old order."""
        x = y if self.order is None else y.index_select(1, self.order.argsort())
        return x if self.norm is None else self.norm.inverse(x)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Normalise the channels of the first batch."""
        if self.norm is not None:
            self.norm.initialize(x)
        return self(x)[0]


def build_mixing(
    permutation: Permutation,
    channels: int,
    generator: torch.Generator | None,
    *,
    actnorm: bool = True,
    rotated: bool = True,
) -> Mixing:
    """Return what comes before a coupling: ActNorm where wanted, then a mixing of the channels.

    Parameters
    ----------
    permutation
        *lu* and *dense*: an invertible matrix. *shuffle*: one order of the channels, drawn once. *reverse*: their order
        turned around (Dinh et al. 2017, arXiv 1605.08803).
    channels
        Channels or features.
    generator
        For the rotation or the order, on the CPU.
    actnorm
        Whether there is a norm.
    rotated
        Whether a matrix begins as a random rotation, as in Glow (Kingma & Dhariwal 2018, arXiv 1807.03039), or as a
        shuffle, as in neural spline flows (Durkan et al. 2019, arXiv 1906.04032), whose splines bend each feature
        along the axes of the data.
    """
    start = _rotation if rotated else _shuffle
    match permutation:
        case "lu":
            return LUMixing(start(channels, generator), actnorm=actnorm)
        case "dense":
            return DenseMixing(start(channels, generator), actnorm=actnorm)
        case "shuffle":
            return ActNormPermutation(channels, torch.randperm(channels, generator=generator), actnorm=actnorm)
        case "reverse":
            return ActNormPermutation(channels, torch.arange(channels).flip(0), actnorm=actnorm, reverses=True)


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
        return pairs(self.network(stays))

    def inverse(self, stays: Tensor, left: Tensor) -> Tensor:
        """Put both halves together."""
        return torch.cat([stays, left], dim=1)


class LearnedPrior(Prior):
    """A Gaussian of the last latent with a learned mean and log-deviation for each channel, the same at every place.

    Both are the outputs, even and odd, of a linear map of the context that begins at zero, so that the prior begins
    as the standard normal; without a context they are numbers of their own.

    Parameters
    ----------
    channels
        Channels or features of the last latent.
    context_features
        Length of the context; zero for an unconditional flow.

    Notes
    -----
    Glow's learned top prior (openai/glow, ``model.py``, ``prior``): there a zero-initialised convolution of an image
    of zeros, of which only the bias has an effect, and a zero-initialised linear map of the class, both with scales
    exp(3s). Here one bias serves both.
    """

    def __init__(self, channels: int, context_features: int) -> None:
        super().__init__()
        self.network = ZeroLast(context_features, 2 * channels, kernel=None)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each of z's shape."""
        outputs = self.network(z if context is None else context.to(z.dtype))
        mean, log_scale = pairs(outputs.view(*outputs.shape, *[1] * (z.dim() - 2)))
        return mean.expand_as(z), log_scale.expand_as(z)
