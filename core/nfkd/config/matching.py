"""The matching of the student's layers with the teacher's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from nfkd.config.base import Config, field
from nfkd.config.toml import is_table

MAX_PAIRS = 512
"""Larger than the number of layers of any flow."""


class MatchedPair(Config, frozen=True):
    """A layer of the student and the matched layer of the teacher."""

    student: str = field(title="Student", help="A layer of the student, such as level1.step2.", max_length=64)
    teacher: str = field(title="Teacher", help="The matched layer of the teacher.", max_length=64)
    weight: float = field(
        1.0,
        title="Weight",
        help="Weight relative to the other pairs; a pair of weight zero is measured, but not trained on.",
        ge=0.0,
        le=1e6,
    )


class MatchingConfig(Config, frozen=True):
    """The pairs of matched layers, and how they are chosen."""

    strategy: Literal["auto", "paper", "by_depth", "by_resolution", "last_only", "pairs"] = field(
        "paper",
        title="Strategy",
        help=(
            "Auto: the best fit for the two flows. Paper: the end of every level and the last layer (by depth for "
            "vectors). By depth: steps at the same relative depth, level by level. By resolution: the last step of "
            "every size that both flows have. Last only: the last layer. Pairs: those in the table."
        ),
    )
    pairs: tuple[MatchedPair, ...] = field(
        (),
        title="Pairs",
        help=(
            "Each layer of the student with the matched layer of the teacher, in the order of the layers. With "
            "assistants, the teacher here is the last assistant, and the assistants are matched by auto."
        ),
        strict=False,  # TOML arrays are lists
        max_length=MAX_PAIRS,
    )

    @model_validator(mode="before")
    @classmethod
    def _set_strategy(cls, value: Any) -> Any:
        """Set the strategy to *pairs* when there are pairs but no strategy."""
        if is_table(value) and value.get("pairs") and "strategy" not in value:
            return value | {"strategy": "pairs"}
        return value
