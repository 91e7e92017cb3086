"""Tables on the terminal, and as CSV, JSON, Markdown and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence

from rich.measure import Measurement
from rich.table import Table

from nfkd.config.run_filter import Value
from nfkd.terminal import say, terminal
from nfkd.text import csv_text, latex_text, markdown_text, plain

_UNLIMITED = 1_000_000  # columns of a terminal
_EXACT = 2.0**53  # whole numbers below are exact
_LONGEST = 120  # characters of a text in a table
Row = Mapping[str, Value]
"""Values by column."""


def _text(value: Value) -> str:
    """Return a value as text: four digits are enough for a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return plain(value, _LONGEST)
    return f"{value:.0f}" if math.isfinite(value) and value == int(value) and abs(value) < 1e9 else f"{value:.4g}"


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def write_table(kind: str, columns: Sequence[str], rows: Sequence[Row], *, parts: bool = False) -> None:
    """Print rows as a table, or in one of the formats of `WRITERS`; a row without a column has a gap there.

    With `parts`, a table that is wider than the terminal is printed in parts below each other, each with the first
    column.
    """
    if kind != "table":
        say(WRITERS[kind](columns, rows))
        return
    for number, names in enumerate(_parts(columns, rows) if parts else [columns]):
        if number:
            say()
        terminal().print(_table(names, rows))


def _parts(columns: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    """Return the columns of each part: as many as fit beside the first one, at least one."""
    console, (first, *rest) = terminal(), columns
    found, options = [[first]], console.options.update(width=_UNLIMITED)
    for name in rest:
        wider = [*found[-1], name]
        if len(found[-1]) > 1 and Measurement.get(console, options, _table(wider, rows)).maximum > console.width:
            found.append([first, name])
        else:
            found[-1] = wider
    return found


def _table(columns: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        number = any(_is_number(row.get(name)) for row in rows)
        table.add_column(plain(name, _LONGEST), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    return table


def _exact(value: Value) -> Value | int:
    """Return a value with all digits; whole numbers without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    values = (["" if row.get(name) is None else _exact(row.get(name)) for name in columns] for row in rows)
    return csv_text(columns, values).replace("\r\n", "\n").rstrip("\n")


def _json(columns: Sequence[str], rows: Sequence[Row]) -> str:
    values = [{name: _exact(row.get(name)) for name in columns} for row in rows]
    return json.dumps(values, indent=2, ensure_ascii=False)


def _markdown(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return markdown_text(columns, ([_text(row.get(name)) for name in columns] for row in rows))


def _latex(columns: Sequence[str], rows: Sequence[Row]) -> str:
    numbers = [any(_is_number(row.get(name)) for row in rows) for name in columns]
    return latex_text(columns, ([_text(row.get(name)) for name in columns] for row in rows), numbers)


WRITERS: dict[str, Callable[[Sequence[str], Sequence[Row]], str]] = {
    "csv": _csv, "json": _json, "markdown": _markdown, "latex": _latex,
}  # fmt: skip
"""Formats of tables beside ``table``, which is for the terminal."""
