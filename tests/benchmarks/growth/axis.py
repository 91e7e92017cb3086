"""Cost against a size: measured times, and the exponent of their growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.peers.timing import Action, times

ROUNDS, BUDGET = 5, 4.0


@dataclass(frozen=True)
class Axis:
    """A piece of work whose cost is measured against a size.

    Attributes
    ----------
    short, title, quantity
        What is done, in two or three words and in full, and which of its sizes changes.
    sizes
        Ascending.
    prepare
        From the sizes to the action of each, inside a context that removes what the actions need.
    arithmetic
        The least work of a size, in any unit: multiply-adds, points, files.
    """

    short: str
    title: str
    quantity: str
    sizes: tuple[int, ...]
    prepare: Callable[[Sequence[int]], AbstractContextManager[dict[int, Action]]]
    arithmetic: Callable[[int], float]

    def arithmetic_exponent(self) -> Exponent:
        """Return the exponent of the arithmetic over the sizes of `Growth.exponent`."""
        sizes = self.sizes[fitted(self.sizes)]
        return exponent(sizes, [self.arithmetic(size) for size in sizes])

    def measure(self) -> Growth:
        with self.prepare(self.sizes) as actions:
            found = times({str(size): action for size, action in actions.items()}, rounds=ROUNDS, budget=BUDGET)
        return Growth(self.sizes, tuple(statistics.median(found[str(size)]) for size in self.sizes))


@dataclass(frozen=True)
class Growth:
    """Median CPU seconds of each size."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def exponent(self) -> Exponent:
        """Return the exponent of the growth over the larger half of the sizes."""
        part = fitted(self.sizes)
        return exponent(self.sizes[part], self.seconds[part])


@dataclass(frozen=True)
class Exponent:
    """b of seconds = a·sizeᵇ, with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> Exponent:
    """Return the exponent of the growth: the slope of the least-squares line of log cost over log size.

    Its standard error is √(Σ residual² / (n − 2) / Σ (log size − mean)²).
    """
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(costs, float))
    slope, offset = np.polyfit(x, y, 1)
    residual = float(np.square(y - offset - slope * x).sum())
    error = math.sqrt(residual / max(1, len(x) - 2) / float(np.square(x - x.mean()).sum()))
    return Exponent(float(slope), error)


def fitted(sizes: Sequence[int]) -> slice:
    """Return the sizes that exponents are fitted to: the larger half, at least three.

    A fixed cost hides growth in the others.
    """
    return slice(min(len(sizes) // 2, len(sizes) - 3), None)
