"""The tables of a report with the metrics that ``nfkd evaluate`` has added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nfkd.evaluation.comparison import Comparison, Mean
from nfkd.evaluation.evaluated_metrics import LAYERS, metric_of
from nfkd.evaluation.report_parts import mean_text
from nfkd.protocol.roles import Role
from nfkd.runs.evaluation_file import EvaluatedMetric
from nfkd.text import format_number, plain

_MAX_RUNS = 6  # columns


@dataclass(frozen=True)
class EvaluatedTable:
    """A table of metrics.

    Attributes
    ----------
    columns
        Names of flows or runs.
    rows
        Title and values of each metric.
    """

    columns: list[str]
    rows: list[list[str]]


def evaluated_table(comparison: Comparison) -> EvaluatedTable | None:
    """Return the evaluated metrics of the first runs of a comparison, as means over seeds; None without any."""
    count = min(len(comparison.names), _MAX_RUNS)
    rows: list[list[str]] = []
    for row in comparison.metrics:
        if row.evaluated and not _is_layer(row.metric.figure):
            unit = comparison.unit if row.metric.unit is None else row.metric.unit
            title = row.metric.name.removesuffix(", evaluated")
            cells = [mean_text(mean, row.metric.form) for mean in row.means[:count]]
            rows.append([f"{title}, {unit}" if unit else title, *cells])
    return EvaluatedTable(comparison.names[:count], rows) if rows else None


def flows_table(values: Sequence[EvaluatedMetric], roles: Sequence[Role]) -> list[list[str]]:
    """Return a row for each evaluated metric of a run: its title, the flows' values, train against test, and N.

    With one seed, the interval is that of the examples; with several, that of the seeds.
    """
    rows: list[list[str]] = []
    for name in dict.fromkeys(value.metric for value in values):
        metric = metric_of(name)
        if metric is None or _is_layer(name):
            continue
        found = [value for value in values if value.metric == name and math.isfinite(value.value)]
        if not found:
            continue
        title = f"{metric.name}, {plain(found[0].unit)}" if found[0].unit else metric.name
        cells = [_cell([value for value in found if value.stage == role], metric.form) for role in roles]
        references = [value.reference for value in found if value.stage == "student" and math.isfinite(value.reference)]
        reference = Mean.of(references)
        shown = format_number(reference.value, metric.form).replace("-", "−") if references else "–"
        rows.append([title, *cells, shown, f"{max(value.count for value in found):,}"])
    return rows


def _cell(values: Sequence[EvaluatedMetric], form: str) -> str:
    if len(values) != 1:
        return mean_text(Mean.of([value.value for value in values]), form)
    value = values[0]
    text = format_number(value.value, form)
    if math.isfinite(value.low) and math.isfinite(value.high) and value.low < value.high:
        text += f" ({format_number(value.low, form)} … {format_number(value.high, form)})"
    return text.replace("-", "−")


def _is_layer(name: str) -> bool:
    return any(name.startswith(f"{kind}.") for kind in LAYERS)
