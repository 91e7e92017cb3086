"""Jacobi iteration for the slow direction of autoregressive layers.

Each token of an autoregressive layer is x_i = f⁻¹(y_i; parameters from x_j, j before i). Sampling solves these T
equations one after another. Jacobi iteration solves them together: x⁽⁰⁾ = y, and x⁽ⁿ⁺¹⁾ computes every token from
x⁽ⁿ⁾ in one pass. After n iterations the first n tokens are right, so T iterations are exact; mostly far fewer suffice
(Song et al. 2021, arXiv 2002.03629; for TarFlow, GS-Jacobi, arXiv 2505.12849, which solves segment after segment).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from nfkd.flows.layer import Layer
from nfkd.protocol.records import BlockSolve

Direction = Literal["encode", "decode"]
SampleMethod = Literal["exact", "jacobi"]
TOLERANCE = 1e-3
"""Largest relative change at which an iteration stops, as in STARFlow (arXiv 2506.06276)."""
_LIMIT = 32  # iterations of a segment, as in STARFlow


@dataclass
class JacobiReport:
    """How the layers were solved, one entry for each batch and layer."""

    solves: list[BlockSolve] = field(default_factory=list)

    def blocks(self) -> list[BlockSolve]:
        """Return one entry for each layer, in the order of their use: most iterations, all examples."""
        found: dict[str, BlockSolve] = {}
        for solve in self.solves:
            before = found.get(solve.name, BlockSolve(solve.name, solve.tokens, 0, 0, 0))
            found[solve.name] = BlockSolve(
                solve.name,
                solve.tokens,
                max(before.iterations, solve.iterations),
                before.examples + solve.examples,
                before.exactly + solve.exactly,
            )
        return list(found.values())


class SequentialLayer(Layer):
    """A layer with one direction that goes token by token, in the layer's own order of the tokens.

    Attributes
    ----------
    iterated
        That direction: *encode* for `forward`, *decode* for `inverse`.
    """

    iterated: Direction = "decode"
    recomputes = "from input"

    @property
    @abstractmethod
    def tokens(self) -> int:
        """T."""

    @abstractmethod
    def solve_exactly(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Return x of y, both (B, T, …), token by token."""

    @abstractmethod
    def iterate(self, y: Tensor, x: Tensor, context: Tensor | None, segment: slice) -> Tensor:
        """Return the tokens of a segment, each computed from the tokens of x before it; all (B, T, …)."""

    @property
    def iterating(self) -> bool:
        """Whether `solve` uses Jacobi iteration now: inside `jacobi` of a flow with this layer."""
        solver = _active.get()
        return solver is not None and id(self) in solver.names

    def solve(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Return x of y, both (B, T, …): by Jacobi iteration inside `jacobi`, else token by token."""
        solver = _active.get()
        if solver is None or id(self) not in solver.names:
            return self.solve_exactly(y, context)
        return solver.solve(self, y, context)


@contextmanager
def jacobi(layers: Mapping[str, nn.Module], tolerance: float, segment: int | None) -> Iterator[JacobiReport]:
    """Solve the sequential layers in these modules by Jacobi iteration, inside a ``with`` block, in this thread.

    There are no gradients inside: an iterate's gradient is not that of the solution.

    Parameters
    ----------
    layers
        The layers of a flow, by their labels.
    tolerance
        An example of a segment is solved when no number in it changes by more, relative to max(1, its size). Zero
        iterates until nothing changes.
    segment
        Tokens that are iterated together, one segment after another; None for all.

    Raises
    ------
    TypeError, ValueError
        When no layer is sequential, or an argument is out of range; the message says what to write.
    """
    found = {
        part: name for name, layer in layers.items() for part in layer.modules() if isinstance(part, SequentialLayer)
    }
    _check([part.tokens for part in found], tolerance, segment)
    report = JacobiReport()
    names = {id(part): name for part, name in found.items()}
    token = _active.set(_Solver(names, float(tolerance), segment, report))
    try:
        with torch.no_grad():
            yield report
    finally:
        _active.reset(token)


def check_method(method: Any) -> None:
    """Check the method of sampling; raises ValueError."""
    if method not in get_args(SampleMethod):
        msg = f"method is {method!r}: choose exact or jacobi"
        raise ValueError(msg)


def _check(lengths: list[int], tolerance: Any, segment: Any) -> None:
    if not lengths:
        msg = "this flow has no autoregressive layer to iterate: choose the method exact"
        raise ValueError(msg)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.number)):
        msg = f"tolerance is {tolerance!r} ({type(tolerance).__name__}): give a number from 0, such as 0.001"
        raise TypeError(msg)
    if not 0 <= tolerance < math.inf:
        msg = f"tolerance is {tolerance}: give a number from 0, such as 0.001"
        raise ValueError(msg)
    if segment is None:
        return
    if isinstance(segment, bool) or not hasattr(type(segment), "__index__"):
        msg = f"segment is {segment!r} ({type(segment).__name__}): give a whole number of tokens, or None for all"
        raise TypeError(msg)
    if not 1 <= segment <= min(lengths):
        msg = f"segment is {segment}: this flow takes 1 to {min(lengths)} tokens, or None for all"
        raise ValueError(msg)


@dataclass(frozen=True)
class _Solver:
    """Solves layers by Jacobi iteration, and reports how."""

    names: Mapping[int, str]
    tolerance: float
    segment: int | None
    report: JacobiReport

    def solve(self, layer: SequentialLayer, y: Tensor, context: Tensor | None) -> Tensor:
        x, iterations, unsolved = y, 0, y.new_empty(0, dtype=torch.long)
        length = self.segment or layer.tokens
        for start in range(0, layer.tokens, length):
            segment = slice(start, min(start + length, layer.tokens))
            x, rows, count = self._solve_segment(layer, y, x, context, segment)
            unsolved = torch.cat([unsolved, rows]).unique() if len(rows) else unsolved
            iterations += count
        if len(unsolved):
            exact = layer.solve_exactly(y[unsolved], None if context is None else context[unsolved])
            x = x.index_copy(0, unsolved, exact)
        self.report.solves.append(BlockSolve(self.names[id(layer)], layer.tokens, iterations, len(y), len(unsolved)))
        return x

    def _solve_segment(
        self, layer: SequentialLayer, y: Tensor, x: Tensor, context: Tensor | None, segment: slice
    ) -> tuple[Tensor, Tensor, int]:
        """Return x with a segment solved, the rows that did not converge, and the iterations.

        Rows leave the batch as they converge.
        """
        solved, length = x, segment.stop - segment.start
        rows = torch.arange(len(y), device=y.device)
        intact = torch.ones(len(y), dtype=torch.bool, device=y.device)
        count = 0
        while len(rows) and count < min(_LIMIT, length):
            count += 1
            new = layer.iterate(y, x, context, segment)
            change = _relative_change(new, x[:, segment])
            worst = float(change.max())
            if not math.isfinite(worst):
                intact = intact & change.isfinite()
                new = new.masked_fill(~new.isfinite(), 0)  # 0·NaN passes a mask
            x = _replaced(x, segment, new)
            if worst <= self.tolerance and len(rows) == len(solved):
                return x, rows[:0], count
            if len(rows) == 1 and count < length and not worst <= self.tolerance:
                continue
            # As many iterations as tokens are exact, unless a reset has put right tokens back.
            done = intact if count == length else change <= self.tolerance
            if bool(done.any()):
                solved = solved.index_copy(0, rows[done], x[done])
                left = ~done
                rows, intact, x, y = rows[left], intact[left], x[left], y[left]
                context = None if context is None else context[left]
        return solved, rows, count


def _replaced(x: Tensor, segment: slice, new: Tensor) -> Tensor:
    """Return x with new tokens in a segment."""
    if new.shape == x.shape:
        return new
    return torch.cat([x[:, : segment.start], new, x[:, segment.stop :]], dim=1)


def _relative_change(new: Tensor, old: Tensor) -> Tensor:
    """Return max |new − old| / max(1, |new|) of each example, (B,); not finite where new is not."""
    return (new - old).abs_().div_(new.abs().clamp_(min=1)).flatten(1).amax(1)


_active: ContextVar[_Solver | None] = ContextVar("solver of autoregressive layers", default=None)
