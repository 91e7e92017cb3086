"""``nfkd list``: runs that pass a filter, sorted and grouped; ``nfkd compare``: runs side by side."""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nfkd.config import ConfigError, ConfigProblem
from nfkd.config.run_filter import FilterError, RunFilter, Value, require_known
from nfkd.table_formats import WRITERS, Row, write_table
from nfkd.terminal import say
from nfkd.text import format_number, plain

if TYPE_CHECKING:
    from nfkd.evaluation.comparison import Comparison, Difference, Mean
    from nfkd.protocol.run_rows import RunRow

_SHOWN = (
    "name",
    "state",
    "data",
    "teacher",
    "student",
    "student_test",
    "baseline_test",
    "unit",
    "verdict",
)
_RUNS = "runs"
ValuesOf = Callable[["Sequence[RunRow]", bool], list[Row]]
"""Returns what is known of runs by name: only the columns of the table of runs, or everything."""
_EXACT = ("csv", "json")
_EXACT_COLUMNS = [
    "kind", "name", "unit", "number", "run", "value", "half", "seeds", "difference", "difference_half", "common_seeds",
    "outcome",
]  # fmt: skip
"""Columns of a comparison as CSV and JSON: one row for each value; `half` is half the width of its 95 % interval."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("directory", metavar="DIR", nargs="?", help=f"the folder (default: ./{_RUNS})")
    parser.add_argument(
        "--where", metavar="FILTER", default="", help="such as 'student.hidden < 64 and verdict == \"better\"'"
    )
    parser.add_argument(
        "--sort", metavar="FIELD", default="", help="a column or setting; with a minus before it, largest first"
    )
    parser.add_argument("--group", metavar="FIELD", default="", help="one row for each value: means and deviations")
    parser.add_argument("--columns", metavar="FIELDS", default="", help="columns and settings, separated by commas")
    parser.add_argument("--format", choices=["table", *WRITERS], default="table")


def list_in_terminal(options: argparse.Namespace) -> int:
    """Print the runs of a folder.

    Raises
    ------
    ConfigError
        When an option cannot be used.
    """
    from nfkd.runs.layout import list_runs
    from nfkd.runs.run_values import read_facts, run_values

    folder = options.directory or _RUNS
    found, unreadable = list_runs(Path(folder))

    def values_of(rows: Sequence[RunRow], columns_only: bool) -> list[Row]:
        top = str(Path(folder).absolute())
        return [run_values(row, None if columns_only else read_facts(row.run), folder=top) for row in rows]

    print_runs(options, folder, found, unreadable, values_of)
    return 0


def print_runs(
    options: argparse.Namespace, folder: str, found: Sequence[RunRow], unreadable: Sequence[str], values_of: ValuesOf
) -> None:
    """Print the runs that pass the filter of the options, and what could not be read.

    Raises
    ------
    ConfigError
        When an option cannot be used.
    """
    from nfkd.runs.run_values import COLUMNS

    chosen = [name.strip() for name in options.columns.split(",") if name.strip()]
    sort = options.sort.removeprefix("-")
    try:
        condition = RunFilter.parse(options.where)
        names = {*chosen, "" if options.group else sort, options.group, *condition.names} - {""}
        rows = values_of(found, names <= set(COLUMNS))
        if rows:
            require_known(sorted(names), {name for row in rows for name in row})
        rows = [row for row in rows if condition.matches(row)]
    except FilterError as error:
        raise ConfigError([ConfigProblem("", str(error))]) from error
    if options.group:
        rows, chosen = _grouped(rows, options.group, chosen)
        if sort and sort not in chosen:
            raise ConfigError([ConfigProblem("--sort", f"groups have only {', '.join(chosen)}, and not {plain(sort)}")])
    if sort:
        rows = _sorted(rows, sort, largest_first=options.sort.startswith("-"))
    if rows or options.format != "table":
        write_table(options.format, chosen or list(_SHOWN), rows)
    else:
        none = f"None of {len(found)} runs in {plain(folder)} passes the filter"
        say(none if found else f"No runs in {plain(folder)}", stderr=True)
    for message in unreadable:
        say(f"nfkd: {message}", stderr=True)


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``nfkd compare``."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="at least two runs of the same data")
    parser.add_argument("--format", choices=["table", *WRITERS], default="table")


def compare_in_terminal(options: argparse.Namespace) -> int:
    """Print runs side by side.

    Raises
    ------
    ConfigError
        When there are fewer than two runs, or their data differ.
    RunError
        When a run cannot be read.
    """
    from nfkd.evaluation.comparison import ComparedRun, DifferentDataError, compare_runs

    if len(options.runs) < 2:
        raise ConfigError([ConfigProblem("RUN", "give at least two runs")])
    try:
        comparison = compare_runs([ComparedRun.read(Path(run)) for run in options.runs])
    except DifferentDataError as error:
        raise ConfigError([ConfigProblem("RUN", str(error))]) from error
    names = [f"{name} ({number})" for number, name in enumerate(comparison.names, 1)]
    if options.format in _EXACT:
        write_table(options.format, _EXACT_COLUMNS, list(_exact_rows(comparison)))
        return 0
    rows = [{"": title, **dict(zip(names, values, strict=True))} for title, values in _comparison_rows(comparison)]
    write_table(options.format, ["", *names], rows, parts=True)
    return 0


def _exact_rows(comparison: Comparison) -> Iterator[Row]:
    """Yield one row for each value of a run, with all digits."""
    settings = {name: ("setting", values) for name, values in comparison.settings.items()}
    sizes = {name: ("size", [_finite(value) for value in values]) for name, values in comparison.sizes.items()}
    gaps = {"gap_closed": ("size", [_finite(value) for value in comparison.gaps])}
    for name, (kind, values) in (settings | sizes | gaps).items():
        for number, (run, value) in enumerate(zip(comparison.names, values, strict=True), 1):
            yield {"kind": kind, "name": name, "number": number, "run": run, "value": value}
    for row in comparison.metrics:
        unit = row.metric.unit if row.metric.unit is not None else comparison.unit
        for index, (run, mean) in enumerate(zip(comparison.names, row.means, strict=True)):
            found: dict[str, Value] = {"kind": "metric", "name": row.metric.name, "unit": unit, "run": run}
            found |= {"number": index + 1, "value": _finite(mean.value), "half": _finite(mean.half)}
            found |= {"seeds": mean.seeds}
            difference = row.differences[index]
            if difference is not None:
                change = difference.mean
                found |= {"difference": _finite(change.value), "difference_half": _finite(change.half)}
                found |= {"common_seeds": change.seeds, "outcome": difference.outcome}
            yield found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _comparison_rows(comparison: Comparison) -> Iterator[tuple[str, list[Value]]]:
    names = comparison.names
    yield from comparison.settings.items()
    for name, sizes in comparison.sizes.items():
        yield name.replace("_", "-"), [_finite(size) for size in sizes]
    seeds = [max((row.means[index].seeds for row in comparison.metrics), default=0) for index in range(len(names))]
    yield "seeds", [float(count) for count in seeds]
    for row in comparison.metrics:
        unit = row.metric.unit if row.metric.unit is not None else comparison.unit
        title = f"{row.metric.name}, {unit}" if unit else row.metric.name
        yield title, [_interval(mean, row.metric.form, count) for mean, count in zip(row.means, seeds, strict=True)]
        if any(row.differences):
            common = [min(seeds[0], count) for count in seeds]
            pairs = zip(row.differences, common, strict=True)
            yield "  difference to (1)", [_difference(item, row.metric.form, count) for item, count in pairs]
    yield "gap closed", [None if math.isnan(gap) else f"{100 * gap:.0f} %" for gap in comparison.gaps]


def _interval(mean: Mean, form: str, usual: int) -> Value:
    """Return a mean and its interval; with the number of seeds where it is not the usual one."""
    if not mean.seeds:
        return None
    half = f" ± {format_number(mean.half, form)}" if math.isfinite(mean.half) else ""
    return f"{format_number(mean.value, form)}{half}{_seeds(mean, usual)}"


def _difference(difference: Difference | None, form: str, usual: int) -> Value:
    if difference is None:
        return None
    mean = difference.mean
    half = f" ± {format_number(mean.half, form)}" if math.isfinite(mean.half) else ""
    outcome = f", {difference.outcome}" if difference.outcome else ""
    return f"{format_number(mean.value, f'+{form}')}{half}{outcome}{_seeds(mean, usual)}"


def _seeds(mean: Mean, usual: int) -> str:
    return "" if mean.seeds == usual else f" ({mean.seeds} {'seed' if mean.seeds == 1 else 'seeds'})"


def _sorted(rows: Sequence[Row], name: str, *, largest_first: bool) -> list[Row]:
    """Return the rows in the order of a field; those without it come last."""
    with_value = [row for row in rows if row.get(name) is not None]
    ordered = sorted(with_value, key=lambda row: _key(row[name]), reverse=largest_first)
    return [*ordered, *(row for row in rows if row.get(name) is None)]


def _key(value: Value) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value or 0), "")


def _grouped(rows: Sequence[Row], name: str, chosen: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Return a row for each value of a field, with counts, means and standard deviations of the numbers."""
    groups: defaultdict[Value, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.get(name)].append(row)
    numbers = [column for column in chosen or ("student_test", "baseline_test", "gap_closed") if column != name]
    columns = [name, "runs", *(text for column in numbers for text in (column, f"{column} sd"))]
    found: list[Row] = []
    for value in sorted(groups, key=lambda value: (value is None, _key(value))):
        members = groups[value]
        group: dict[str, Value] = {name: value, "runs": float(len(members))}
        for column in numbers:
            values = [float(row[column] or 0) for row in members if isinstance(row.get(column), (int, float))]
            group[column] = statistics.fmean(values) if values else None
            group[f"{column} sd"] = statistics.stdev(values) if len(values) > 1 else None
        found.append(group)
    return found, columns
