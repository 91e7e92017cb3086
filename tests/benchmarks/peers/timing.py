"""Ratios of times: actions take turns in one process on one thread, and their CPU times are compared.

CPU time does not count what other processes do. Load that slows the memory or the clock slows all actions of a round
alike, so the ratio of a round is steadier than its times.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from nfkd.training.freed_memory import keep_freed_memory

Action = Callable[[], object]

ROUNDS = 9
"""Least number of rounds."""

BUDGET = 12.0
"""CPU seconds over which further rounds are made."""

SPAN = 0.03
"""Least CPU seconds of an action in a round: short, so that the actions of a round meet the same load."""


@dataclass(frozen=True)
class Figure:
    """A measured value: the median over the rounds, with the lower and the upper quartile."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values[:1]
        return cls(middle, low, high)

    def __str__(self) -> str:
        if self.low == self.high:  # one value
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def times(actions: Mapping[str, Action], *, rounds: int = ROUNDS, budget: float = BUDGET) -> dict[str, list[float]]:
    """Return the CPU seconds of one call of each action, for each round.

    Every round runs all actions, forwards and backwards in turn, each as often as fills `SPAN`. Two unmeasured rounds
    of at least one call come first: they fill caches, and say how often an action must run.

    Parameters
    ----------
    actions
        By name.
    rounds
        Least number of measured rounds.
    budget
        CPU seconds; further rounds are made until they have passed.
    """
    keep_freed_memory()  # as our trainer does; it helps all actions
    found: dict[str, list[float]] = {name: [] for name in actions}
    with one_thread(), _frozen_objects():
        calls = dict.fromkeys(actions, 1)
        for _ in range(2):
            calls = {name: max(1, math.ceil(SPAN / _seconds(action, calls[name]))) for name, action in actions.items()}
        began, number = time.process_time(), 0
        while number < rounds or time.process_time() - began < budget:
            for name in list(actions)[:: -1 if number % 2 else 1]:
                found[name].append(_seconds(actions[name], calls[name]))
            number += 1
    return found


def ratios(
    ours: Action, rivals: Mapping[str, Action], *, rounds: int = ROUNDS, budget: float = BUDGET
) -> dict[str, Figure]:
    """Return the CPU time of an action divided by that of each rival; see `times`."""
    found = times({"ours": ours, **rivals}, rounds=rounds, budget=budget)
    return {
        rival: Figure.of([own / other for own, other in zip(found["ours"], found[rival], strict=True)])
        for rival in rivals
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _frozen_objects() -> Iterator[None]:
    """Leave the objects that exist now out of garbage collection, which else takes longer than a short action."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _seconds(action: Action, calls: int) -> float:
    """Return the mean CPU seconds of some calls, with garbage collected before them only."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        for _ in range(calls):
            action()
        return max((time.process_time() - began) / calls, 1e-9)
    finally:
        gc.enable()
