"""The `distillation` section: the terms of the loss, how they are weighted, and the matching of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import model_validator

from nfkd.config.base import Config, field
from nfkd.config.matching import MatchingConfig
from nfkd.config.pool import PoolConfig
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


def _term(config: type[TermConfig]) -> Any:
    unit = f" Unit: {config.unit}." if config.unit else ""
    help_ = f"{config.summary()}. Formula: {config.formula}.{unit}"
    return field(title=config.title, label=config.label, help=help_, default_factory=config, group="terms")


class DistillationConfig(Config, frozen=True):
    """The loss of the student: a weighted sum of terms."""

    inherit: Literal["none", "mixing", "blocks"] = field(
        "none",
        title="Inherit",
        help=(
            "What the student starts with; the baseline never inherits. Mixing: the combined channel mixing of the "
            "teacher's steps between two matched layers, divided among the student's steps there. Blocks: also the "
            "networks of the teacher's steps, splits and learned prior; for flows that differ only in steps and width."
        ),
    )
    normalize_weights: bool = field(
        True,
        title="Convex weights",
        help="Divide the weights by their sum at every step. The total stays comparable; what a schedule takes from "
        "one term goes to the others.",
        advanced=True,
    )
    balance: Literal["none", "gradient_norm"] = field(
        "none",
        title="Balance",
        help="Gradient norm: rescale the weights so that a term's share of the gradient is its share of the weights.",
        advanced=True,
    )
    balance_every: int = field(
        10,
        title="Balance every",
        help="Steps between measurements of the terms' gradients for the balance; each costs a backward pass a term.",
        unit="steps",
        ge=1,
        le=1_000_000,
        advanced=True,
        needs={".balance": ("gradient_norm",)},
    )
    cache: int = field(
        1024,
        title="Cache",
        help="Memory for the teacher's passes over the pool and over training examples that are the same at every "
        "step: they are made once. What needs more is computed at every step; zero switches the cache off.",
        unit="MiB",
        zero="off",
        ge=0,
        le=1_000_000,
        advanced=True,
    )
    nll: NLLConfig = _term(NLLConfig)
    lkd: LKDConfig = _term(LKDConfig)
    ilkd: ILKDConfig = _term(ILKDConfig)
    skd: SKDConfig = _term(SKDConfig)
    forward_kl: ForwardKLConfig = _term(ForwardKLConfig)
    reverse_kl: ReverseKLConfig = _term(ReverseKLConfig)
    density: DensityConfig = _term(DensityConfig)
    log_det: LogDetConfig = _term(LogDetConfig)
    score: ScoreConfig = _term(ScoreConfig)
    jacobian: JacobianConfig = _term(JacobianConfig)
    relational: RelationalConfig = _term(RelationalConfig)
    noisy_reverse: NoisyReverseConfig = _term(NoisyReverseConfig)
    pool: PoolConfig = field(
        title="Pool",
        help="Samples of the teacher in the batches of the student and of assistants: new examples where data is few.",
        default_factory=PoolConfig,
    )
    matching: MatchingConfig = field(
        title="Matching", help="Which layers are compared.", default_factory=MatchingConfig
    )

    @model_validator(mode="after")
    def _some_weight(self) -> DistillationConfig:
        if not self.active_terms():
            msg = "all weights are zero: give at least one term a positive weight"
            raise ValueError(msg)
        if all(term.ends_at_zero for term in self.active_terms().values()):
            msg = "the schedules take all weights to zero: let at least one term end above it"
            raise ValueError(msg)
        return self

    def terms(self) -> dict[str, TermConfig]:
        """Return every term by its name, in the order of the fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, TermConfig)}

    def active_terms(self) -> dict[str, TermConfig]:
        """Return the terms with a positive weight by their names."""
        return {name: term for name, term in self.terms().items() if term.weight > 0}


TERMS: dict[str, type[TermConfig]] = {name: type(term) for name, term in DistillationConfig().terms().items()}
"""Every term's config class by the name of its field, in the order of the fields."""


def loss_label(value: Mapping[str, Any]) -> str:
    """Return a loss as one line, such as ``NLL 0.9 + LKD 0.05 + pool 0.3``; `value` may be invalid."""
    weights: dict[str, float] = {}
    for name, term in TERMS.items():
        table = value.get(name)
        weight = cast("Mapping[str, Any]", table).get("weight") if isinstance(table, Mapping) else None
        if isinstance(weight, int | float) and weight > 0:
            weights[term.label] = weight
    parts = [f"{label} {weight:g}" for label, weight in weights.items()]
    pool = value.get("pool")
    share = cast("Mapping[str, Any]", pool).get("share") if isinstance(pool, Mapping) else 0
    parts += [f"pool {share:g}"] if isinstance(share, int | float) and share > 0 else []
    parts += [str(value["inherit"])] if value.get("inherit") not in {None, "none"} else []
    return " + ".join(parts)
