"""Flows: one model for each architecture."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from nfkd.config.base import Config, field
from nfkd.config.data import IMAGE_KINDS, VECTOR_KINDS

Permutation = Literal["lu", "dense", "shuffle", "reverse"]
_PERMUTATION = (
    "Mixing of the channels before each coupling: an invertible 1×1 convolution (in LU form or as a dense matrix), a "
    "fixed shuffle, or the reversed order."
)


class _CouplingFlowConfig(Config, frozen=True):
    permutation: Permutation = field("lu", title="Permutation", help=_PERMUTATION, advanced=True)
    coupling: Literal["affine", "additive"] = field(
        "affine", title="Coupling", help="Affine scales and shifts; additive only shifts (NICE).", advanced=True
    )
    scale: Literal["sigmoid", "tanh"] = field(
        "sigmoid",
        title="Scale",
        help="Bounded scale of an affine coupling: sigmoid(s + 2) as in Glow, or exp(tanh(s)).",
        advanced=True,
        needs={".coupling": ("affine",)},
    )
    actnorm: bool = field(
        True,
        title="ActNorm",
        help="Normalise every step's channels, from the first batch on; the couplings' networks have their own norms.",
        advanced=True,
    )
    learned_prior: bool = field(
        False,
        title="Learned prior",
        help="Learn mean and scale of the last latent (from the context, if the data has one).",
        advanced=True,
    )


class GlowConfig(_CouplingFlowConfig, frozen=True):
    """Glow for images (Kingma & Dhariwal 2018, arXiv 1807.03039); with checkerboard steps also RealNVP."""

    kind: Literal["glow"] = field(
        "glow", title="Flow", label="Glow", group="For images", help="Glow for images: squeeze, steps and splits."
    )
    levels: int = field(
        2,
        title="Levels",
        help="Number of squeezes of the image; after every level except the last, half of the channels are split off.",
        ge=1,
        le=6,
    )
    steps: int = field(
        4, title="Steps per level", help="Number of steps (ActNorm, permutation, coupling) at each level.", ge=1, le=64
    )
    hidden: int = field(
        64,
        title="Hidden channels",
        help="Width of the convolutional network in each coupling.",
        unit="channels",
        ge=1,
        le=2048,
    )
    checkerboard: int = field(
        0,
        title="Checkerboard steps",
        help="Couplings with a checkerboard mask before each squeeze, as in RealNVP (arXiv 1605.08803); Glow has none.",
        ge=0,
        le=64,
        advanced=True,
    )


class Glow1DConfig(_CouplingFlowConfig, frozen=True):
    """Glow for vectors: the same steps on features, with linear layers; with a fixed permutation also RealNVP."""

    kind: Literal["glow1d"] = field(
        "glow1d", title="Flow", label="Glow-1D", group="For vectors", help="Glow for vectors: steps with linear layers."
    )
    steps: int = field(5, title="Steps", help="Number of steps (ActNorm, permutation, coupling).", ge=1, le=128)
    hidden: int = field(
        32, title="Hidden units", help="Width of the network in each coupling.", unit="units", ge=1, le=4096
    )
    depth: int = field(
        2,
        title="Hidden layers",
        help="Hidden layers of the perceptron, or blocks of the residual network, in each coupling.",
        ge=1,
        le=8,
        advanced=True,
    )
    network: Literal["mlp", "residual"] = field(
        "mlp",
        title="Network",
        help="A multilayer perceptron, or one with residual blocks of two layers.",
        advanced=True,
    )


class _AutoregressiveConfig(Config, frozen=True):
    steps: int = field(
        5, title="Steps", help="Number of autoregressive layers, each with its order of the features.", ge=1, le=128
    )
    hidden: int = field(
        64, title="Hidden units", help="Width of the masked network (MADE) in each step.", unit="units", ge=1, le=4096
    )
    depth: int = field(
        2, title="Hidden layers", help="Hidden layers of each masked network.", ge=1, le=8, advanced=True
    )
    order: Literal["reversed", "permuted"] = field(
        "reversed",
        title="Order",
        help="Reversed: every step reverses the order of the features. Permuted: every step has a random order.",
        advanced=True,
    )
    batch_norm: bool = field(
        False,
        title="Batch norm",
        help="Normalise between steps by the batch's statistics during training, and by their running means later.",
        advanced=True,
    )


class MAFConfig(_AutoregressiveConfig, frozen=True):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv 1705.07057): fast density, sampling in D passes."""

    kind: Literal["maf"] = field(
        "maf", title="Flow", label="MAF", group="For vectors", help="Masked autoregressive flow: fast density."
    )


class IAFConfig(_AutoregressiveConfig, frozen=True):
    """Inverse autoregressive flow (Kingma et al. 2016, arXiv 1606.04934): fast sampling, density in D passes."""

    kind: Literal["iaf"] = field(
        "iaf", title="Flow", label="IAF", group="For vectors", help="Inverse autoregressive flow: fast sampling."
    )


class NSFConfig(Config, frozen=True):
    """Neural spline flow (Durkan et al. 2019, arXiv 1906.04032): rational-quadratic splines with linear tails."""

    kind: Literal["nsf"] = field(
        "nsf",
        title="Flow",
        label="Neural spline flow",
        group="For vectors",
        help="Neural spline flow: rational-quadratic splines.",
    )
    transform: Literal["coupling", "autoregressive"] = field(
        "coupling",
        title="Transform",
        help="Splines of half of the features given the other half, or of each feature given the previous ones.",
    )
    steps: int = field(5, title="Steps", help="Number of spline layers, each after a permutation.", ge=1, le=128)
    hidden: int = field(
        64, title="Hidden units", help="Width of the network in each step.", unit="units", ge=1, le=4096
    )
    depth: int = field(
        2, title="Blocks", help="Residual blocks (or masked layers) of each network.", ge=1, le=8, advanced=True
    )
    bins: int = field(8, title="Bins", help="Number of pieces of each spline.", unit="bins", ge=2, le=128)
    tail_bound: float = field(
        3.0,
        title="Tail bound",
        help="The splines act between −B and B; outside, the map is the identity.",
        gt=0.0,
        le=1000.0,
        advanced=True,
    )
    permutation: Permutation = field("lu", title="Permutation", help=_PERMUTATION, advanced=True)


class TarFlowConfig(Config, frozen=True):
    """Transformer autoregressive flow (Zhai et al. 2024, arXiv 2412.06329): fast density, sampling token by token."""

    kind: Literal["tarflow"] = field(
        "tarflow",
        title="Flow",
        label="TarFlow",
        group="For images and vectors",
        help="Transformers over patches or features: the best likelihoods, slow sampling.",
    )
    patch: int = field(
        2,
        title="Patch side",
        help="Of images: the side of the square patches that are the tokens. It must divide the image's sides.",
        unit="pixels",
        ge=1,
        le=256,
        needs={"data.kind": IMAGE_KINDS},
    )
    token: int = field(
        1,
        title="Features per token",
        help="Of vectors: how many neighbouring features are one token. It must divide the number of features.",
        unit="features",
        ge=1,
        le=4096,
        needs={"data.kind": VECTOR_KINDS},
    )
    steps: int = field(
        4,
        title="Blocks",
        help="Number of autoregressive blocks; every second one takes the tokens in reversed order.",
        unit="blocks",
        ge=1,
        le=64,
    )
    hidden: int = field(
        64,
        title="Channels",
        help="Width of the transformer in each block: at most 64, or a multiple of 64.",
        unit="channels",
        ge=1,
        le=8192,
    )
    depth: int = field(
        2,
        title="Layers",
        help="Layers of the transformer in each block, of attention and a perceptron.",
        unit="layers",
        ge=1,
        le=64,
    )


class JetConfig(Config, frozen=True):
    """Jet (Kolesnikov et al. 2024, arXiv 2412.15129): couplings of patches with vision transformers."""

    kind: Literal["jet"] = field(
        "jet",
        title="Flow",
        label="Jet",
        group="For images",
        help="Jet for images: couplings with transformers over patches; fast in both directions.",
    )
    patch: int = field(
        2,
        title="Patch side",
        help="Side of the square patches that are the tokens. It must divide the image's sides.",
        unit="pixels",
        ge=1,
        le=256,
    )
    steps: int = field(8, title="Steps", help="Number of couplings.", ge=1, le=128)
    hidden: int = field(
        64,
        title="Channels",
        help="Width of the transformer in each coupling: at most 64, or a multiple of 64.",
        unit="channels",
        ge=1,
        le=8192,
    )
    depth: int = field(
        1,
        title="Layers",
        help="Layers of the transformer in each coupling, of attention and a perceptron.",
        unit="layers",
        ge=1,
        le=64,
    )
    spatial: int = field(
        3,
        title="Spatial steps",
        help="One coupling of this many changes every second patch; the others change half of every patch.",
        zero="none",
        ge=0,
        le=128,
        advanced=True,
    )
    split: Literal["checkerboard", "rows", "columns"] = field(
        "checkerboard",
        title="Split of patches",
        help="The patches that a spatial coupling changes: a checkerboard, or every second row or column; by turns.",
        advanced=True,
        needs={".spatial": True},
    )
    scale: Literal["double_sigmoid", "exponential"] = field(
        "double_sigmoid",
        title="Scale",
        help="Scale of a coupling: 2·sigmoid(s), at most 2, as in Jet's paper, for many couplings; or exp(s), limited "
        "to 1/1,000 to 1,000, for few.",
        advanced=True,
    )


FlowConfig = Annotated[
    GlowConfig | Glow1DConfig | MAFConfig | IAFConfig | NSFConfig | TarFlowConfig | JetConfig,
    Field(discriminator="kind"),
]
FLOWS: tuple[type[Config], ...] = get_args(get_args(FlowConfig)[0])
"""The configurations of all flows."""
