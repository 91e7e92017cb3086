"""A line of the table: a piece of work of ours, beside the same work elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from tests.benchmarks.peers.timing import Action, Figure, ratios


@dataclass(frozen=True)
class Case:
    """A piece of work.

    Attributes
    ----------
    name
        What is done, with its sizes.
    goals
        For each rival, the highest ratio that is wanted; None where no goal was set.
    measure
        Measures the ratio to each rival.
    before
        For each rival, the ratio before the work on speed began, where it was measured.
    unit
        Of the figures: × for ours over theirs, or % of the work beside, or a unit of its own.
    """

    name: str
    goals: Mapping[str, float | None]
    measure: Callable[[], Mapping[str, Figure]]
    before: Mapping[str, float] = field(default_factory=dict)
    unit: str = "×"


@dataclass(frozen=True)
class Work:
    """The same work of ours and of others, ready to be timed; the actions are called many times."""

    ours: Action
    rivals: Mapping[str, Action]
    parameters: Mapping[str, int]
    """Trained numbers of each flow, by "ours" and rival; printed, since unequal flows do unequal work."""


def timed(make: Callable[[], Work]) -> Callable[[], Mapping[str, Figure]]:
    """Return a `Case.measure` that makes the work and times it."""

    def measure() -> Mapping[str, Figure]:
        work = make()
        counts = ", ".join(f"{name} {count:,}" for name, count in work.parameters.items())
        print(f"    parameters: {counts}", flush=True)
        return ratios(work.ours, work.rivals)

    return measure


def count_parameters(model: nn.Module) -> int:
    """Return how many trained numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
