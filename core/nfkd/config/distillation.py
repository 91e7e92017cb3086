"""How the teacher teaches: the terms of the loss and the matching of layers."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from nfkd.config.base import Config, field
from nfkd.config.matching import MatchingConfig


class TermConfig(Config, frozen=True):
    """What every term of the loss has."""

    weight: float = field(0.0, title="Weight", help="Weight of the term; zero leaves it out.", ge=0.0, le=1e6)


class NLLConfig(TermConfig, frozen=True):
    """Maximum likelihood on the data."""

    weight: float = field(0.85, title="Weight", help="Weight of maximum likelihood.", ge=0.0, le=1e6)


class LKDConfig(TermConfig, frozen=True):
    """Final latents of student and teacher, squared difference."""

    weight: float = field(0.05, title="Weight", help="Weight of the final latents' error.", ge=0.0, le=1e6)


class ILKDConfig(TermConfig, frozen=True):
    """Intermediate latents at matched layers, squared difference."""

    weight: float = field(0.05, title="Weight", help="Weight of the matched layers' error.", ge=0.0, le=1e6)


class SKDConfig(TermConfig, frozen=True):
    """Samples that student and teacher draw from the same noise."""

    weight: float = field(0.05, title="Weight", help="Weight of the synthesized samples' error.", ge=0.0, le=1e6)
    distance: Literal["l1", "l2"] = field(
        "l1", title="Distance", help="Absolute (L1) or squared (L2) difference of the two samples."
    )
    temperature: float = field(
        1.0,
        title="Temperature",
        help="Scale of the noise that is given to both flows.",
        gt=0.0,
        le=2.0,
    )
    batch_size: int = field(
        64,
        title="Batch",
        help="How many samples are synthesized at each step.",
        unit="samples",
        ge=1,
        le=65536,
        advanced=True,
    )


class DistillationConfig(Config, frozen=True):
    """The loss of the student: a weighted sum of terms."""

    nll: NLLConfig = field(title="Maximum likelihood (NLL)", help="−log p of the data.", default_factory=NLLConfig)
    lkd: LKDConfig = field(
        title="Final latents (LKD)", help="Mean squared error of all final latents.", default_factory=LKDConfig
    )
    ilkd: ILKDConfig = field(
        title="Intermediate latents (ILKD)",
        help="Mean squared error at the matched layers.",
        default_factory=ILKDConfig,
    )
    skd: SKDConfig = field(
        title="Synthesized samples (SKD)",
        help="Difference of samples from the same noise.",
        default_factory=SKDConfig,
    )
    normalize_weights: bool = field(
        True,
        title="Convex weights",
        help="Divide the weights by their sum, so that the total stays comparable.",
        advanced=True,
    )
    matching: MatchingConfig = field(
        title="Matching", help="Which layers are compared.", default_factory=MatchingConfig
    )

    @model_validator(mode="after")
    def _some_weight(self) -> DistillationConfig:
        if not any(self.weights().values()):
            msg = "all weights are zero: give at least one term a positive weight"
            raise ValueError(msg)
        return self

    def terms(self) -> dict[str, TermConfig]:
        """Return every term by its name, in the order of the fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, TermConfig)}

    def weights(self) -> dict[str, float]:
        """Return the weight of every term as used in the loss (convex where asked)."""
        raw = {name: term.weight for name, term in self.terms().items()}
        total = sum(raw.values())
        if self.normalize_weights and total > 0:
            return {name: weight / total for name, weight in raw.items()}
        return raw
