"""Tables of the numbers that a panel shows, and CSV files of them. No widgets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nfkd.protocol.events import DensityDrawn, LogLine
from nfkd.protocol.inspection import LayerStates, PlaneStates
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import FlowDescription
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd.text import csv_text
from nfkd_gui.model.export_files import Progress, exporting


@dataclass(frozen=True)
class Table:
    """Numbers with the names of their columns; the rows can be read once."""

    header: Sequence[str]
    rows: Iterable[Sequence[object]]


def write_csv(path: Path, table: Table, progress: Progress | None = None) -> None:
    """Write a table.

    Raises
    ------
    ExportError
        When the file cannot be written; an existing file stays as it is.
    CancelledError
        When `progress` is cancelled.
    """
    progress = progress or Progress()

    def rows() -> Iterator[Sequence[object]]:
        for row in table.rows:
            progress.advance()
            yield row

    text = csv_text(table.header, rows())
    with exporting(path) as temporary:
        temporary.write_bytes(text.encode())


def samples_table(samples: Mapping[Any, np.ndarray], names: Sequence[str] = ()) -> Table:
    """Return the samples of several flows, one in a row: the flow, the sample's number, and its values.

    Parameters
    ----------
    samples
        By flow, of one event shape: (n, features) with `names`, or (n, channels, height, width).
    names
        Names of the features, if they have any.
    """
    shape = next((array.shape[1:] for array in samples.values()), ())
    return Table(["flow", "sample", *_value_names(shape, names)], _rows_of(samples))


def _value_names(shape: tuple[int, ...], names: Sequence[str]) -> list[str]:
    if len(shape) == 1:
        return list(names) or [f"x{number}" for number in range(1, shape[0] + 1)]
    ranges = [range(1, size + 1) for size in shape]
    return [f"channel {channel}, row {row}, column {column}" for channel, row, column in product(*ranges)]


def _rows_of(samples: Mapping[Any, np.ndarray]) -> Iterator[list[Any]]:
    for flow, array in samples.items():
        for number, sample in enumerate(array.reshape(len(array), -1), start=1):
            yield [flow, number, *sample]


def paths_table(alpha: np.ndarray, paths: Mapping[Any, np.ndarray], names: Sequence[str] = ()) -> Table:
    """Return the interpolations of several flows: the flow, the path, the position alpha on it, and the values there.

    Parameters
    ----------
    alpha
        (steps,) from 0 to 1.
    paths
        By flow: (paths, steps, features) or (paths, steps, channels, height, width).
    names
        As in `samples_table`.
    """
    shape = next((array.shape[2:] for array in paths.values()), ())
    rows = (
        [flow, number, position, *values.ravel()]
        for flow, array in paths.items()
        for number, path in enumerate(array, start=1)
        for position, values in zip(alpha, path, strict=True)
    )
    return Table(["flow", "path", "alpha", *_value_names(shape, names)], rows)


def densities_table(densities: Mapping[Any, DensityDrawn]) -> Table:
    """Return log p on the grid: the flow, x, y and log p in nats."""

    def rows() -> Iterator[list[object]]:
        for flow, density in densities.items():
            x0, x1, y0, y1 = density.extent
            down, across = density.log_prob.shape
            for y, row in zip(np.linspace(y0, y1, down), density.log_prob, strict=True):
                for x, log_prob in zip(np.linspace(x0, x1, across), row, strict=True):
                    yield [flow, x, y, log_prob]

    return Table(("flow", "x", "y", "log p (nats)"), rows())


def plane_table(states: PlaneStates, what: Literal["points", "grid"]) -> Table:
    """Return points or lines of a grid after each layer: the flow, the state (0 is the data), the layer, x and y.

    Points of a grid have the number of their line, too.
    """

    def rows() -> Iterator[list[object]]:
        for flow, found in states.flows.items():
            for state, layer in enumerate(["data", *found.names]):
                lines = found.points[state][None] if what == "points" else found.grid[state]
                for line, points in enumerate(lines, start=1):
                    for number, (x, y) in enumerate(points, start=1):
                        yield [flow, state, layer, *([line] if what == "grid" else []), number, x, y]

    x, y = list(states.columns) or ["x1", "x2"]
    return Table(("flow", "state", "layer", *(["line"] if what == "grid" else []), "point", x, y), rows())


def states_table(states: LayerStates) -> Table:
    """Return the states of an example, one value in a row: flow, state (0 is the data), layer, index."""
    rows = (
        [flow, state, layer, "x".join(map(str, place)), values[place]]
        for flow, found in states.flows.items()
        for state, (layer, values) in enumerate(
            [("data", found.state), *((layer.name, layer.value) for layer in found.layers)]
        )
        for place in np.ndindex(values.shape)
    )
    return Table(("flow", "state", "layer", "index", "value"), rows)


def log_dets_table(states: LayerStates) -> Table:
    """Return the terms of log p of an example: the flow, the layer, its log-determinant and that so far, in nats."""

    def rows() -> Iterator[list[object]]:
        for flow, found in states.flows.items():
            before = 0.0
            for layer in found.layers:
                yield [flow, layer.name, layer.log_det - before, layer.log_det]
                before = layer.log_det
            yield [flow, "base", found.base_log_prob, ""]
            yield [flow, "log p", found.log_prob, ""]

    return Table(("flow", "term", "value (nats)", "log-det so far (nats)"), rows())


def matching_table(pairs: Sequence[LayerPair], steps: Sequence[int], errors: np.ndarray) -> Table:
    """Return matching errors, (steps, pairs): the step, both layers, the weight of the pair, and its error."""
    rows = (
        [step, pair.student, pair.teacher, pair.weight, error]
        for step, row in zip(steps, errors, strict=True)
        for pair, error in zip(pairs, row, strict=True)
    )
    return Table(("step", "student layer", "teacher layer", "weight", "mean squared error"), rows)


def curves_table(view: RunView, names: Collection[str]) -> Table:
    """Return the points of some curves of all seeds and stages: seed, flow, curve, step, time and value.

    The rows are those of now: they may be read in another thread while the run continues.
    """
    kept = [
        (seed, role, name, curve.batch())
        for (seed, role), stage in view.stages.items()
        for name, curve in stage.curves.items()
        if name in names
    ]
    rows = (
        [seed, role, name, int(step), float(time), float(value)]
        for seed, role, name, points in kept
        for step, time, value in zip(points.steps, points.times, points.values, strict=True)
    )
    return Table(("seed", "flow", "curve", "step", "time (s)", "value"), rows)


def log_table(lines: Iterable[LogLine]) -> Table:
    """Return lines of the log: time in seconds since 1970, run, seed, stage, level and text."""
    rows = ([line.time, line.run, line.seed, line.stage, line.level, line.text] for line in lines)
    return Table(("time (s)", "run", "seed", "stage", "level", "text"), rows)


def figures_table(figures: Mapping[Role, Mapping[str, float]], floors: Mapping[str, float]) -> Table:
    """Return each flow's figures as means over seeds, one flow in a row, and the noise floor of each measure."""
    names = list(next(iter(figures.values()), {}))
    rows: dict[str, Mapping[str, float]] = {**figures, **({"floor": floors} if floors else {})}
    return Table(["flow", *names], ([flow, *(own.get(name, "") for name in names)] for flow, own in rows.items()))


def sizes_table(flows: Mapping[Role, FlowDescription], times: Mapping[Role, float]) -> Table:
    """Return the estimate of each stage: parameters and multiply-adds of its flow, memory in bytes, and seconds."""
    stages: list[Role] = [*flows, *(stage for stage in times if stage not in flows)]
    rows = (
        [stage, *((flow.parameters, flow.multiply_adds, flow.memory) if flow else ("", "", "")), times.get(stage, "")]
        for stage in stages
        for flow in [flows.get(stage)]
    )
    return Table(("stage", "parameters", "multiply-adds", "memory (bytes)", "time (s)"), rows)


def layers_table(flows: Mapping[Role, FlowDescription]) -> Table:
    """Return the layers of several flows: the flow, the layer, its kind, the shape of its output, its parameters."""
    rows = (
        [flow, layer.name, layer.kind, "×".join(map(str, layer.shape)), layer.parameters]
        for flow, description in flows.items()
        for layer in description.layers
    )
    return Table(("flow", "layer", "kind", "output", "parameters"), rows)
