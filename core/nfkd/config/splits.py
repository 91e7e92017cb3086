"""Fields that configs of data share: the kind, and random splits."""

from __future__ import annotations

from typing import Any, Literal

from nfkd.config.base import Config, field

Storage = Literal["auto", "memory", "disk"]


def kind_field(name: str, label: str, group: str, help: str) -> Any:  # noqa: A002 - as `field` has it
    """Return the field that names a kind of data, with its label and group in the form."""
    return field(name, title="Data set", label=label, group=group, help=help)


def storage_field() -> Any:
    """Return the field that says where the examples of the user's files are kept."""
    return field(
        "auto",
        title="Kept in",
        help="Memory, or disk: read batch by batch from a copy in the cache. Auto: on disk if memory is short.",
        advanced=True,
    )


class ValidationConfig(Config, frozen=True):
    """A validation part that is split off at random."""

    validation_fraction: float = field(
        0.15,
        title="Validation split",
        help="Fraction of examples that select the weights.",
        gt=0.0,
        le=0.4,
        advanced=True,
    )
    split_seed: int = field(
        0, title="Split seed", help="Seed of the split, for all runs of the experiment.", ge=0, lt=2**31, advanced=True
    )


class SplitConfig(ValidationConfig, frozen=True):
    """Validation and test parts that are split off at random."""

    test_fraction: float = field(
        0.15, title="Test split", help="Fraction of examples for the reported figures.", gt=0.0, le=0.4, advanced=True
    )
