"""Ratios of times: actions take turns in one process on one thread, and their CPU times are compared.

CPU time does not count what other processes do. Load that slows the memory or the clock slows all actions of a round
alike, so the ratio of a round is steadier than its times.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

Action = Callable[[], object]

ROUNDS = 9
SPAN = 0.15
"""Least CPU seconds of an action in a round."""


@dataclass(frozen=True)
class Figure:
    """A measured value: the median over the rounds, with the lowest and the highest."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def times(actions: Mapping[str, Action], *, rounds: int = ROUNDS, span: float = SPAN) -> dict[str, list[float]]:
    """Return the CPU seconds of one call of each action, for each round.

    Every round runs all actions, forwards and backwards in turn, each as often as fills the span. Two unmeasured rounds
    of at least one call come first: they fill caches, and say how often an action must run.

    Parameters
    ----------
    actions
        By name.
    rounds
        Measured rounds.
    span
        Least CPU seconds of an action in a round.
    """
    found: dict[str, list[float]] = {name: [] for name in actions}
    with one_thread():
        calls = {name: 1 for name in actions}
        for _ in range(2):
            calls = {name: max(1, math.ceil(span / _seconds(action, calls[name]))) for name, action in actions.items()}
        for number in range(rounds):
            names = list(actions) if number % 2 == 0 else list(reversed(actions))
            for name in names:
                found[name].append(_seconds(actions[name], calls[name]))
    return found


def ratios(
    ours: Action, rivals: Mapping[str, Action], *, rounds: int = ROUNDS, span: float = SPAN
) -> dict[str, Figure]:
    """Return the CPU time of an action divided by that of each rival; see `times`."""
    found = times({"ours": ours, **rivals}, rounds=rounds, span=span)
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
