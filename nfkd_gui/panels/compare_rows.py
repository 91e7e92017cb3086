"""The rows of *What differs*: settings that differ, results with differences, costs and verdicts. No widgets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nfkd.protocol.comparing import ComparedDifference, ComparedMean, ComparedMetric, RunsCompared
from nfkd.text import format_number
from nfkd_gui.model.setting_names import format_setting, setting_title
from nfkd_gui.numbers import format_count, format_percent

Kind = Literal["section", "plain", "metric", "verdict"]
_SIZES = {"parameters": "Parameters", "multiply_adds": "Multiply-adds"}
_SEVERAL = 2
_SIGNS = {"better": "✓ ", "worse": "✗ "}
"""In place of the outcome where there is no room for the word."""
_FIXED = re.compile(r"\.(\d)f")


@dataclass(frozen=True)
class Cell:
    """What a run has in a row.

    Attributes
    ----------
    text
        The value.
    best
        Whether it is the best of all runs.
    details
        The difference to the first run, from long to short; empty for none.
    outcome
        Of this difference: ``better``, ``worse`` or another word.
    help
        For the tooltip.
    """

    text: str
    best: bool = False
    details: tuple[str, ...] = ()
    outcome: str = ""
    help: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the value is a number, which is never cut."""
        return self.text.lstrip("−")[:1].isdigit()

    @property
    def shortest(self) -> str:
        """The shortest details that have the difference."""
        return self.details[-2] if len(self.details) > 1 else ""


@dataclass(frozen=True)
class Row:
    """A row with its label and one cell for each run; a section has none."""

    label: str
    kind: Kind = "plain"
    cells: tuple[Cell, ...] = ()
    help: str = ""
    unit: str = ""


def difference_rows(reply: RunsCompared) -> list[Row]:
    """Return the rows of a comparison."""
    rows = [Row("Settings", "section")] if reply.settings else []
    rows += [
        Row(setting_title(path), cells=tuple(Cell(format_setting(value)) for value in values), help=path)
        for path, values in reply.settings.items()
    ]
    rows.append(Row("Results", "section"))
    rows += [_metric_row(metric) for metric in reply.metrics]
    if any(map(math.isfinite, reply.gaps)):
        best = max(filter(math.isfinite, reply.gaps))
        cells = tuple(
            Cell(format_percent(gap), best=gap == best) if math.isfinite(gap) else Cell("–") for gap in reply.gaps
        )
        rows.append(Row("Gap closed", cells=cells, help="Share of the gap between baseline and teacher."))
    for name, values in reply.sizes.items():
        cells = tuple(Cell(format_count(value) if math.isfinite(value) else "–") for value in values)
        rows.append(Row(_SIZES.get(name, name), cells=_with_best(cells, values)))
    if any(reply.verdicts):
        rows.append(Row("Verdict", "verdict", tuple(map(Cell, reply.verdicts)), "Against the run's own baseline."))
    return rows


def _with_best(cells: tuple[Cell, ...], values: list[float]) -> tuple[Cell, ...]:
    """Mark the smallest values, unless all are equal."""
    known = [value for value in values if math.isfinite(value)]
    if len(set(known)) < _SEVERAL:
        return cells
    return tuple(Cell(cell.text, best=value == min(known)) for cell, value in zip(cells, values, strict=True))


def _metric_row(metric: ComparedMetric) -> Row:
    cells = []
    for number, (mean, difference) in enumerate(zip(metric.means, metric.differences, strict=True)):
        text = _number(mean.value, _form_of(mean.value, metric.form))
        half = f" ± {_number(mean.half, metric.form)}" if math.isfinite(mean.half) else ""
        help_ = f"{text}{half}, {_seeds(mean.seeds)}" if mean.seeds else "No value"
        details, outcome = (), ""
        if difference is not None and difference.mean.seeds:
            details, outcome = _details(difference, metric.form), difference.outcome
            help_ += f"\nDifference: {details[0]}"
        cells.append(Cell(text, number == metric.best, details, outcome, help_))
    name = metric.name[:1].upper() + metric.name[1:]
    return Row(name, "metric", tuple(cells), unit=metric.unit)


def _details(difference: ComparedDifference, form: str) -> tuple[str, ...]:
    """Return a difference with its interval and outcome, from long to short."""
    mean = difference.mean
    value = _number(mean.value, f"+{form}")
    half = f" ± {_number(mean.half, form)}" if math.isfinite(mean.half) else ""
    word = difference.outcome or _seeds(mean.seeds)
    sign = _SIGNS.get(difference.outcome, "")
    return f"{value}{half}, {word}", f"{value}, {word}", f"{sign}{value}", sign.strip()


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _form_of(value: float, form: str) -> str:
    """Return the form of a value: one with an exponent if the fixed decimals would leave one digit or none."""
    fixed = _FIXED.fullmatch(form)
    small = fixed is not None and 0 < abs(value) < 10.0 ** (1 - int(fixed[1]))
    return ".1e" if small else form


def _number(value: float, form: str) -> str:
    """Return a value as text, with an exponent as short as it can be: ``8.3e−5``."""
    if not math.isfinite(value):
        return "–"
    head, exponent, digits = format_number(value, form).partition("e")
    return f"{head}{exponent}{int(digits) if exponent else ''}".replace("-", "−")


def table_rows(reply: RunsCompared) -> Iterator[list[object]]:
    """Return the comparison with all digits, one value in a row: its name, the run, value, interval, difference."""
    for path, values in reply.settings.items():
        for run, value in zip(reply.names, values, strict=True):
            yield [path, run, value, "", "", "", "", ""]
    for metric in reply.metrics:
        for run, mean, difference in zip(reply.names, metric.means, metric.differences, strict=True):
            change = difference.mean if difference is not None else ComparedMean(value=math.nan, half=math.nan, seeds=0)
            outcome = difference.outcome if difference is not None else ""
            yield [metric.name, run, mean.value, mean.half, mean.seeds, change.value, change.half, outcome]
    for name, sizes in {**reply.sizes, "gap_closed": reply.gaps, "verdict": reply.verdicts}.items():
        for run, value in zip(reply.names, sizes, strict=True):
            yield [name, run, value, "", "", "", "", ""]
