"""How the teacher teaches: the terms of the loss and the matching of layers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from nfkd.config.base import Config, field
from nfkd.config.matching import MatchingConfig
from nfkd.config.terms import (
    DensityConfig,
    ForwardKLConfig,
    ILKDConfig,
    JacobianConfig,
    LKDConfig,
    LogDetConfig,
    NLLConfig,
    NoisyReverseConfig,
    RelationalConfig,
    ReverseKLConfig,
    ScoreConfig,
    SKDConfig,
    TermConfig,
)

_MORE: dict[str, Any] = {"advanced": True, "group": "terms"}
"""Of the terms past the paper's four: a form folds them away while they have no weight."""


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
    forward_kl: ForwardKLConfig = field(
        title="Teacher's samples (forward KL)",
        help="−log p of samples that the teacher draws.",
        default_factory=ForwardKLConfig,
        **_MORE,
    )
    reverse_kl: ReverseKLConfig = field(
        title="Student's samples (reverse KL)",
        help="log p of the student minus the teacher's, on the student's own samples.",
        default_factory=ReverseKLConfig,
        **_MORE,
    )
    density: DensityConfig = field(
        title="Log-densities",
        help="Squared difference of log p on the data, per dimension.",
        default_factory=DensityConfig,
        **_MORE,
    )
    log_det: LogDetConfig = field(
        title="Log-determinants",
        help="Squared difference of the volume changes between matched layers.",
        default_factory=LogDetConfig,
        **_MORE,
    )
    score: ScoreConfig = field(
        title="Scores",
        help="Squared difference of the gradients of log p in x (Fisher divergence).",
        default_factory=ScoreConfig,
        **_MORE,
    )
    jacobian: JacobianConfig = field(
        title="Jacobians",
        help="Squared difference of the products of both Jacobians with random vectors.",
        default_factory=JacobianConfig,
        **_MORE,
    )
    relational: RelationalConfig = field(
        title="Distances between latents (relational)",
        help="Difference of normalised distances between the latents of a batch's examples.",
        default_factory=RelationalConfig,
        **_MORE,
    )
    noisy_reverse: NoisyReverseConfig = field(
        title="Noisy way back",
        help="Squared error of the student's way back from the teacher's noisy latents, at matched layers.",
        default_factory=NoisyReverseConfig,
        **_MORE,
    )
    normalize_weights: bool = field(
        True,
        title="Convex weights",
        help="Divide the weights by their sum at every step, so that the total stays comparable: what a schedule "
        "takes from one, the others get.",
        advanced=True,
    )
    balance: Literal["none", "gradient_norm"] = field(
        "none",
        title="Balance",
        help="Gradient norm: rescale the weights until each term's share of the gradient is as its weight says.",
        advanced=True,
    )
    balance_every: int = field(
        10,
        title="Balance every",
        help="Steps between two measurements of the terms' gradients for it; each costs a backward pass a term.",
        unit="steps",
        ge=1,
        le=1_000_000,
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
        if all(term.ends_at_zero for term in self.terms().values() if term.weight):
            msg = "the schedules take all weights to zero: let at least one term end above it"
            raise ValueError(msg)
        return self

    def terms(self) -> dict[str, TermConfig]:
        """Return every term by its name, in the order of the fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, TermConfig)}

    def weights(self) -> dict[str, float]:
        """Return the weight of every term as used in the loss (convex where asked), schedules left aside."""
        return self._shared({name: term.weight for name, term in self.terms().items()})

    def weights_at(self, step: int, steps: int) -> dict[str, float]:
        """Return the weights of the terms that have one at a step, as their schedules say (convex where asked).

        Parameters
        ----------
        step
            From 0 to ``steps - 1``.
        steps
            The student's budget.
        """
        terms = {name: term for name, term in self.terms().items() if term.weight}
        return self._shared({name: term.weight * term.factor(step, steps) for name, term in terms.items()})

    def _shared(self, raw: dict[str, float]) -> dict[str, float]:
        total = sum(raw.values())
        if self.normalize_weights and total > 0:
            return {name: weight / total for name, weight in raw.items()}
        return raw
