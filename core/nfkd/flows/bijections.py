"""Glow's bijections (Kingma & Dhariwal 2018, arXiv 1807.03039) except the coupling, and its learned prior.

They take (B, C, H, W); all except the squeeze also take (B, C).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.config.flows import Permutation
from nfkd.flows.layer import Layer, Prior, Split
from nfkd.flows.networks import Norm, ZeroLast, affine, drawing, pairs


class Squeeze(Layer):
    """Move space into channels: (C, H, W) to (4C, H/2, W/2), channels in the order (c, row, column)."""

    recomputes = "from output"

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the squeezed x and a log-determinant of zero."""
        batch, channels, height, width = x.shape
        if not batch:  # torch's function would return x
            return x.reshape(0, 4 * channels, height // 2, width // 2), x.new_zeros(0)
        return functional.pixel_unshuffle(x, 2), x.new_zeros(batch)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the image."""
        return functional.pixel_shuffle(y, 2)


class Centre(Layer):
    """y = 2x − 1, from [0, 1) to [−1, 1); log|det| = D·log 2."""

    recomputes = "from output"

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y and the log-determinant."""
        return 2 * x - 1, x.new_full((len(x),), math.prod(x.shape[1:]) * math.log(2))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (y + 1)/2."""
        return (y + 1) / 2


class Mixing(Layer, ABC):
    """ActNorm, then a linear map that mixes the channels, the same at every pixel.

    Parameters
    ----------
    channels
        Channels or features.
    actnorm
        Whether there is a norm.

    Attributes
    ----------
    mixes
        False for the identity order.
    """

    mixes = True
    recomputes = "from output"

    def __init__(self, channels: int, *, actnorm: bool) -> None:
        super().__init__()
        self.norm = Norm(channels) if actnorm else None

    @abstractmethod
    def mixing_matrix(self) -> Tensor:
        """Return W of y = W·x, without the norm, (channels, channels)."""

    @abstractmethod
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Set W, (channels, channels); factors are computed in its dtype and stored in the layer's.

        Raises
        ------
        ValueError
            When W is singular, or is not a permutation where the layer needs one.
        """

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Normalise the channels of the first batch."""
        if self.norm is not None:
            self.norm.initialize(x)
        return self(x)[0]


class ActNormLinear(Mixing, ABC):
    """ActNorm, then an invertible matrix: y = W·((x + b) ⊙ exp(s)), or y = W·x without a norm, at every pixel.

    Both are applied as one matrix W·diag(exp(s)). log|det| = H·W · (log|det W| + Σs).
    """

    @abstractmethod
    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return W·diag(exp(s)), or W without s, and its log|det|."""

    @abstractmethod
    def _inverted(self) -> Tensor:
        """Return W⁻¹."""

    def mixing_matrix(self) -> Tensor:
        """Return W."""
        return self._folded(None)[0]

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


def _refuse_singular(diagonal: Tensor) -> None:
    if not bool((diagonal.isfinite() & (diagonal != 0)).all()):
        msg = "the matrix is singular or not finite"
        raise ValueError(msg)


def _rotation(channels: int, generator: torch.Generator | None) -> Tensor:
    if not drawing():
        return torch.empty(channels, channels)
    return torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]


def _shuffle(channels: int, generator: torch.Generator | None) -> Tensor:
    return torch.eye(channels)[torch.randperm(channels, generator=generator)]


def _lu(matrix: Tensor) -> tuple[Tensor, ...]:
    """Return P, L without its diagonal, U without its diagonal, and the signs and log-magnitudes of the latter."""
    permutation, lower, upper = torch.linalg.lu(matrix)
    diagonal = upper.diagonal()
    return permutation, lower.tril(-1), upper.triu(1), diagonal.sign(), diagonal.abs().log()


def _empty_lu(channels: int) -> tuple[Tensor, ...]:
    """Return what `_lu` does, without values: on the meta device a decomposition takes longer than on the CPU."""
    square, line = (channels, channels), (channels,)
    return tuple(torch.empty(shape) for shape in (square, square, square, line, line))


class LUMixing(ActNormLinear):
    """A matrix in LU form: W = P·L·(U + diag(sign ⊙ exp(d))) with P fixed, L unit lower and U strictly upper.

    log|det W| = Σd, so W is never singular and no determinant is computed. As in the authors' code both triangles are
    stored as full squares; the masked numbers are counted as parameters but never change.

    Parameters
    ----------
    start
        (channels, channels), the first W.
    actnorm
        Whether there is a norm.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, start: Tensor, *, actnorm: bool = True) -> None:
        super().__init__(len(start), actnorm=actnorm)
        permutation, lower, upper, sign, log_diagonal = _lu(start) if drawing() else _empty_lu(len(start))
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", sign)
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper)
        self.log_diagonal = nn.Parameter(log_diagonal)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Return P·L and U with its diagonal."""
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return torch.addmm(self.permutation, self.permutation, self.lower.tril(-1)), upper

    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        permuted, upper = self._factors()
        if log_scale is None:
            return permuted @ upper, self.log_diagonal.sum()
        return permuted @ (upper * log_scale.exp()), (self.log_diagonal + log_scale).sum()

    @torch.no_grad()
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Set W by its factors; this also sets P and the signs."""
        factors = _lu(matrix)
        _refuse_singular(factors[-1].exp())
        own = (self.permutation, self.lower, self.upper, self.sign, self.log_diagonal)
        for factor, value in zip(own, factors, strict=True):
            factor.copy_(value)

    def _inverted(self) -> Tensor:
        permuted, upper = self._factors()
        lower = self.permutation.T @ permuted
        middle = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, middle, upper=True)


class DenseMixing(ActNormLinear):
    """An unconstrained matrix W; log|det W| comes from an LU decomposition at every call.

    Parameters
    ----------
    start
        (channels, channels), the first W.
    actnorm
        Whether there is a norm.
    """

    def __init__(self, start: Tensor, *, actnorm: bool = True) -> None:
        super().__init__(len(start), actnorm=actnorm)
        self.matrix = nn.Parameter(start)

    def _folded(self, log_scale: Tensor | None) -> tuple[Tensor, Tensor]:
        log_det = torch.linalg.slogdet(self.matrix).logabsdet
        if log_scale is None:
            return self.matrix, log_det
        return self.matrix * log_scale.exp(), log_det + log_scale.sum()

    @torch.no_grad()
    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Set W."""
        _refuse_singular(torch.linalg.lu(matrix)[2].diagonal())
        self.matrix.copy_(matrix)

    def _inverted(self) -> Tensor:
        return torch.linalg.inv_ex(self.matrix).inverse  # `inv` would wait for a GPU to see whether W is singular


class ActNormPermutation(Mixing):
    """ActNorm, then a fixed order of the channels: y_c = (x_o(c) + b_o(c))·exp(s_o(c)), log|det| = H·W · Σs.

    Parameters
    ----------
    channels
        Channels or features.
    order
        o, (channels,) integers, saved with the weights; the identity if None.
    actnorm
        Whether there is a norm.
    reverses
        Whether the order is the reverse of the channels.
    """

    order: Tensor | None

    def __init__(
        self, channels: int, order: Tensor | None = None, *, actnorm: bool = True, reverses: bool = False
    ) -> None:
        super().__init__(channels, actnorm=actnorm)
        self.register_buffer("order", order)
        self.mixes = order is not None
        self.reverses = reverses

    def mixing_matrix(self) -> Tensor:
        """Return the matrix with a one at (c, o(c)) for each channel c."""
        if self.order is None:
            msg = "a layer without an order does not mix the channels"
            raise ValueError(msg)
        return torch.eye(len(self.order), device=self.order.device)[self.order]

    def set_mixing_matrix(self, matrix: Tensor) -> None:
        """Set the order by a permutation matrix W."""
        if self.order is None:
            msg = "a layer without an order cannot take one"
            raise ValueError(msg)
        order = matrix.argmax(1)
        if not torch.equal(torch.eye(len(order), dtype=matrix.dtype, device=matrix.device)[order], matrix):
            msg = "the matrix is not a permutation of the channels"
            raise ValueError(msg)
        self.order.copy_(order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the reordered channels and the log-determinant."""
        log_det = x.new_zeros(len(x))
        if self.norm is not None:
            x, log_det = self.norm(x), (math.prod(x.shape[2:]) * self.norm.log_scale.sum()).expand(len(x))
        return (x if self.order is None else x.index_select(1, self.order)), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the channels in their original order."""
        x = y if self.order is None else y.index_select(1, self.order.argsort())
        return x if self.norm is None else self.norm.inverse(x)


def build_mixing(
    permutation: Permutation,
    channels: int,
    generator: torch.Generator | None,
    *,
    actnorm: bool = True,
    rotated: bool = True,
) -> Mixing:
    """Return the layer before a coupling: ActNorm, if any, then a mixing of the channels.

    Parameters
    ----------
    permutation
        *lu*, *dense*: an invertible matrix. *shuffle*: a random order, drawn once. *reverse*: the reverse order (Dinh
        et al. 2017, arXiv 1605.08803).
    channels
        Channels or features.
    generator
        For the first matrix or the order, on the CPU.
    actnorm
        Whether there is a norm.
    rotated
        Whether a matrix starts as a random rotation, as in Glow, or as a random permutation, as in neural spline flows
        (Durkan et al. 2019, arXiv 1906.04032), whose splines work along the axes of the data.
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
    """Split off the second half of the channels; a zero-initialised 3×3 convolution of the first gives its prior.

    Parameters
    ----------
    channels
        Before the split; even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = ZeroLast(channels // 2, channels, kernel=3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept half and the split-off half."""
        kept, split_off = x.chunk(2, dim=1)
        return kept, split_off

    def prior(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation: the even and the odd outputs."""
        return pairs(self.network(kept))

    def inverse(self, kept: Tensor, split_off: Tensor) -> Tensor:
        """Join both halves."""
        return torch.cat([kept, split_off], dim=1)


class LearnedPrior(Prior):
    """A Gaussian of the last latent with a learned mean and log standard deviation for each channel.

    They are the even and odd outputs of a zero-initialised linear map of the context, or trained constants without a
    context. The prior starts as the standard normal.

    Parameters
    ----------
    channels
        Channels or features of the last latent.
    context_features
        Length of the context; zero for an unconditional flow.

    Notes
    -----
    Glow's learned top prior (openai/glow, ``model.py``, ``prior``) has a zero-initialised convolution of an image of
    zeros, of which only the bias has an effect, and a zero-initialised linear map of the class, both with scales
    exp(3s). Here both share one bias.
    """

    def __init__(self, channels: int, context_features: int) -> None:
        super().__init__()
        self.network = ZeroLast(context_features, 2 * channels, kernel=None)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each of z's shape."""
        outputs = self.network(z if context is None else context.to(z.dtype))
        mean, log_scale = pairs(outputs.view(*outputs.shape, *[1] * (z.dim() - 2)))
        return mean.expand_as(z), log_scale.expand_as(z)
