"""Runs as a grid over two settings, such as those that a sweep varies. No widgets."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from nfkd.config.run_filter import Value
from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.compare_figures import Figure
from nfkd_gui.model.run_groups import RunGroup
from nfkd_gui.model.run_states import LIVE

_ENDED = {"finished", "failed", "stopped", "interrupted"}


@dataclass(frozen=True)
class GridCell:
    """The runs with one pair of values.

    Attributes
    ----------
    keys
        Their groups.
    value
        Mean of the figure; NaN while no run has it.
    state
        The state that says most: *running* before *queued*, *failed* and *finished*.
    progress
        Share of all runs of the cell that is done.
    measured
        Number of groups that have the figure.
    """

    keys: tuple[str, ...]
    value: float
    state: str
    progress: float
    measured: int = 1


@dataclass(frozen=True)
class ValueGrid:
    """Cells by (row, column).

    Attributes
    ----------
    columns, rows
        The values of both settings, in order; one None where there is no second setting.
    runs, ended, failed
        Numbers of runs.
    """

    columns: tuple[Value, ...]
    rows: tuple[Value, ...]
    cells: Mapping[tuple[int, int], GridCell]
    runs: int
    ended: int
    failed: int

    def shares(self, *, larger: bool) -> dict[tuple[int, int], float]:
        """Return how good each cell with a figure is, from 0 for the worst to 1 for the best."""
        known = {place: cell.value for place, cell in self.cells.items() if math.isfinite(cell.value)}
        low, high = min(known.values(), default=0.0), max(known.values(), default=0.0)
        span = high - low
        shares = {place: (value - low) / span if span else 1.0 for place, value in known.items()}
        return shares if larger or not span else {place: 1.0 - share for place, share in shares.items()}


def value_grid(
    groups: Sequence[RunGroup],
    across: str,
    down: str,
    figure: Figure,
    fractions: Mapping[str, float],
    planned: Mapping[str, Sequence[Value]] | None = None,
) -> ValueGrid:
    """Return groups as a grid.

    Parameters
    ----------
    groups
        The groups.
    across, down
        The settings of columns and rows; `down` may be empty.
    figure
        What the cells show.
    fractions
        The part of each run in training that is done, by directory.
    planned
        The values that a sweep tries, by setting: its pairs of values have a cell before they have a run.
    """
    plan = planned or {}
    columns = _in_order({*(group.values.get(across) for group in groups), *plan.get(across, ())})
    rows = _in_order({*(group.values.get(down) for group in groups), *plan.get(down, ())}) if down else (None,)
    members: defaultdict[tuple[int, int], list[RunGroup]] = defaultdict(list)
    for group in groups:
        row = rows.index(group.values.get(down)) if down else 0
        members[row, columns.index(group.values.get(across))].append(group)
    states = [row.state for group in groups for row in group.rows]
    cells = {place: _cell(inside, figure, fractions) for place, inside in members.items()}
    if plan:
        places = product(_places(rows, plan.get(down, rows)), _places(columns, plan.get(across, columns)))
        cells = dict.fromkeys(places, _WAITING) | cells
    return ValueGrid(
        columns=columns,
        rows=rows,
        cells=cells,
        runs=max(len(states), math.prod(map(len, plan.values())) if plan else 0),
        ended=sum(state in _ENDED for state in states),
        failed=states.count("failed"),
    )


_WAITING = GridCell((), math.nan, "queued", 0.0, 0)


def _places(axis: Sequence[Value], values: Sequence[Value]) -> list[int]:
    return [axis.index(value) for value in values]


def _cell(groups: Sequence[RunGroup], figure: Figure, fractions: Mapping[str, float]) -> GridCell:
    rows = [row for group in groups for row in group.rows]
    values = [value for group in groups if math.isfinite(value := figure.of(group.values))]
    return GridCell(
        keys=tuple(group.key for group in groups),
        value=statistics.fmean(values) if values else math.nan,
        state=min((row.state for row in rows), key=_rank),
        progress=statistics.fmean(_done(row, fractions) for row in rows),
        measured=len(values),
    )


def _rank(state: str) -> int:
    return ("running", "paused", "queued", "failed", "interrupted", "stopped", "finished").index(state)


def _done(row: RunRow, fractions: Mapping[str, float]) -> float:
    return fractions.get(row.run, row.progress) if row.state in LIVE else 1.0


def _in_order(values: set[Value]) -> tuple[Value, ...]:
    """Return numbers by size, then texts, and last None."""
    return tuple(sorted(values, key=_order))


def _order(value: Value) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")
