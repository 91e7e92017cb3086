"""Which layers of student and teacher face each other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from nfkd.config.base import Config, field
from nfkd.config.toml import is_table

MAX_PAIRS = 512
"""More layers than the largest flow has."""


class MatchedPair(Config, frozen=True):
    """A layer of the student, the layer of the teacher that it faces, and how much that counts."""

    student: str = field(title="Student", help="A layer of the student, such as level1.step2.", max_length=64)
    teacher: str = field(title="Teacher", help="The layer of the teacher that it faces.", max_length=64)
    weight: float = field(
        1.0,
        title="Weight",
        help="How much the pair counts beside the others; zero measures it and does not train on it.",
        ge=0.0,
        le=1e6,
    )


class MatchingConfig(Config, frozen=True):
    """Which student layer faces which teacher layer."""

    strategy: Literal["auto", "paper", "by_depth", "by_resolution", "last_only", "pairs"] = field(
        "paper",
        title="Strategy",
        help=(
            "Auto: chosen by the two flows. Paper: the end of every level and the last layer (by depth for vectors). "
            "By depth: steps at the same depth, level by level. By resolution: the last step of every size that both "
            "flows have. Last only: the last layer. Pairs: those of the table."
        ),
    )
    pairs: tuple[MatchedPair, ...] = field(
        (),
        title="Pairs",
        help=(
            "Each layer of the student with the layer of the teacher that it faces, in the order of the layers. With "
            "assistants the student's teacher is the last of them; assistants themselves are then matched by auto."
        ),
        strict=False,  # TOML has arrays, and they arrive as lists
        max_length=MAX_PAIRS,
    )
    inherit_permutation: bool = field(
        False,
        title="Inherit permutation",
        help=(
            "Student and baseline begin with the teacher's channel mixing: what the teacher's steps between two "
            "matched layers do to the channels together is shared out among the student's steps there."
        ),
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _pairs_alone(cls, value: Any) -> Any:
        """Take pairs without a strategy for the strategy that they are."""
        if is_table(value) and value.get("pairs") and "strategy" not in value:
            return value | {"strategy": "pairs"}
        return value
