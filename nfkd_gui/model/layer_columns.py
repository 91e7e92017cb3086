"""Columns in which the layers of two flows stand, so that matched layers share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nfkd.protocol.inspection import FlowStates, LayerState

_REORDER = frozenset({"squeeze", "split"})


@dataclass(frozen=True)
class LayerColumns:
    """The columns of two flows' states; state 0 is the data, state k that after layer k.

    Attributes
    ----------
    states
        For each flow, the column of each of its states, in ascending order; empty for a flow that is not shown.
    matched
        The states of matched layers, one of each flow.
    """

    states: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    matched: tuple[tuple[int, int], ...] = ()

    @property
    def last(self) -> int:
        """The column of the noise."""
        return max((columns[-1] for columns in self.states if columns), default=0)

    def state_at(self, flow: int, column: int) -> int:
        """Return the last state of a flow that is reached at a column."""
        return max(sum(each <= column for each in self.states[flow]) - 1, 0)

    def partner(self, column: int) -> tuple[int, int] | None:
        """Return the matched states that stand in a column."""
        return next((pair for pair in self.matched if self.states[0][pair[0]] == column), None)


def align_layers(first: Sequence[str], second: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> LayerColumns:
    """Return the columns of two flows, given by the names of their layers.

    Between two matched pairs the layers of each flow are spread evenly. Pairs that cross earlier ones, or whose layers
    are not shown, are left out.

    Parameters
    ----------
    first, second
        The layers of each flow; empty for a flow that is not shown.
    pairs
        Layers of the first and of the second flow that are matched.

    Examples
    --------
    >>> align_layers(["a", "b", "c", "d"], ["u", "v"], [("c", "u")]).states
    ((0, 1, 2, 3, 4), (0, 3, 4))
    """
    if not first or not second:
        return LayerColumns((_alone(first), _alone(second)))
    known = sorted((first.index(a) + 1, second.index(b) + 1) for a, b in pairs if a in first and b in second)
    matched: list[tuple[int, int]] = []
    for pair in known:
        before = matched[-1] if matched else (0, 0)
        if pair[0] > before[0] and pair[1] > before[1]:
            matched.append(pair)
    ends = (len(first), len(second))
    anchors = [*(pair for pair in matched if pair[0] < ends[0] and pair[1] < ends[1]), ends]
    columns: tuple[list[int], list[int]] = ([0], [0])
    done, start = (0, 0), 0
    for anchor in anchors:
        steps = [end - begin for begin, end in zip(done, anchor, strict=True)]
        room = max(steps)
        for own, count in zip(columns, steps, strict=True):
            own += [start + -(-number * room // count) for number in range(1, count + 1)]
        done, start = anchor, start + room
    shared = tuple(pair for pair in matched if columns[0][pair[0]] == columns[1][pair[1]])
    return LayerColumns((tuple(columns[0]), tuple(columns[1])), shared)


def _alone(names: Sequence[str]) -> tuple[int, ...]:
    return tuple(range(len(names) + 1)) if names else ()


def pictured(flow: FlowStates) -> list[LayerState]:
    """Return the layers whose states are drawn: all but those that only reorder values or split some off."""
    return [layer for layer in flow.layers if layer.kind not in _REORDER]
