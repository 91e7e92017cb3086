"""What the flows are trained on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nfkd.config.base import Config, field


class _SplitConfig(Config, frozen=True):
    validation_fraction: float = field(
        0.15,
        title="Validation part",
        help="Part of the examples on which the best weights are chosen.",
        gt=0.0,
        le=0.4,
        advanced=True,
    )
    test_fraction: float = field(
        0.15,
        title="Test part",
        help="Part of the examples that is used only for the reported figures.",
        gt=0.0,
        le=0.4,
        advanced=True,
    )
    split_seed: int = field(
        0,
        title="Split seed",
        help="Decides which example falls in which part; the same for every seed of the experiment.",
        ge=0,
        lt=2**31,
        advanced=True,
    )


class DigitsConfig(_SplitConfig, frozen=True):
    """1,797 handwritten digits of 8×8 pixels and 17 grey levels (scikit-learn's copy of UCI optdigits)."""

    kind: Literal["digits"] = field("digits", title="Data set", help="Handwritten digits, 8×8 pixels.")


class TwoMoonsConfig(_SplitConfig, frozen=True):
    """Two interleaved half circles in the plane."""

    kind: Literal["two_moons"] = field("two_moons", title="Data set", help="Two half circles in the plane.")
    count: int = field(
        6000,
        title="Points",
        help="How many points are drawn in all, before the split.",
        unit="points",
        ge=100,
        le=1_000_000,
    )
    noise: float = field(
        0.08,
        title="Noise",
        help="Standard deviation of the Gaussian noise around the half circles.",
        ge=0.0,
        le=1.0,
    )


DataConfig = Annotated[DigitsConfig | TwoMoonsConfig, Field(discriminator="kind")]
