"""What is measured and drawn during a run."""

from __future__ import annotations

from typing import Literal

from nfkd.config.base import Config, field


class MonitorConfig(Config, frozen=True):
    """What is measured and drawn during a stage."""

    evaluate_every: int = field(
        50, title="Validate", help="Steps between two validations.", unit="steps", ge=1, le=1_000_000
    )
    validation_examples: int = field(
        2000,
        title="Validation examples",
        help="Maximum number of examples for each of these validations; the final figures use all.",
        unit="examples",
        ge=8,
        le=100_000_000,
        advanced=True,
    )
    pictures_every: int = field(
        100,
        title="Pictures",
        help="Steps between two sets of samples, interpolations and matching errors.",
        unit="steps",
        ge=1,
        le=1_000_000,
    )
    shares_every: int = field(
        50,
        title="Gradient shares",
        help="Steps between two measurements of each term's share of the gradient; zero switches them off. One costs "
        "a backward pass per term: for four terms about one step, or 2 % of the time at every 50.",
        unit="steps",
        ge=0,
        le=1_000_000,
        advanced=True,
    )
    sample_count: int = field(
        64, title="Samples", help="Number of samples in a picture.", unit="samples", ge=1, le=4096, advanced=True
    )
    temperature: float = field(
        0.7, title="Temperature", help="Scale of the noise for the live samples.", gt=0.0, le=2.0
    )
    interpolation_steps: int = field(
        9,
        title="Interpolation steps",
        help="Examples from one end to the other.",
        unit="examples",
        ge=3,
        le=65,
        advanced=True,
    )
    interpolation_mode: Literal["linear", "spherical", "norm_corrected"] = field(
        "norm_corrected", title="Interpolation", help="The path between two latents."
    )
