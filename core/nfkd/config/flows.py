"""Which flow: one model per architecture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nfkd.config.base import Config, field


class GlowConfig(Config, frozen=True):
    """Glow for images (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

    kind: Literal["glow"] = field("glow", title="Flow", help="Glow for images: squeeze, steps and splits.")
    levels: int = field(
        2,
        title="Levels",
        help="How often the image is squeezed; half of the channels leave after every level but the last.",
        ge=1,
        le=6,
    )
    steps: int = field(
        4,
        title="Steps per level",
        help="ActNorm, invertible 1×1 convolution and affine coupling, this many times at each level.",
        ge=1,
        le=64,
    )
    hidden: int = field(
        64,
        title="Hidden channels",
        help="Width of the convolutional network in each coupling.",
        unit="channels",
        ge=1,
        le=2048,
    )


class Glow1DConfig(Config, frozen=True):
    """Glow for vectors: the same steps on features, with linear layers."""

    kind: Literal["glow1d"] = field("glow1d", title="Flow", help="Glow for vectors: steps with linear layers.")
    steps: int = field(
        5,
        title="Steps",
        help="ActNorm, invertible linear layer and affine coupling, this many times.",
        ge=1,
        le=128,
    )
    hidden: int = field(
        32,
        title="Hidden units",
        help="Width of the multilayer perceptron in each coupling.",
        unit="units",
        ge=1,
        le=4096,
    )
    depth: int = field(
        2,
        title="Hidden layers",
        help="Number of hidden layers of the perceptron in each coupling.",
        ge=1,
        le=8,
        advanced=True,
    )


FlowConfig = Annotated[GlowConfig | Glow1DConfig, Field(discriminator="kind")]
