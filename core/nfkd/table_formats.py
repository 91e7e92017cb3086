"""Tables on the terminal, and as CSV, JSON, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.table import Table

from nfkd.config.run_filter import Value
from nfkd.terminal import say, terminal
from nfkd.text import plain

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


def write_table(kind: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows as a table, or in one of the formats of `WRITERS`; a row without a column has a gap there."""
    if kind == "table":
        _print(columns, rows)
    else:
        say(WRITERS[kind](columns, rows))


def _print(columns: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        number = any(_is_number(row.get(name)) for row in rows)
        table.add_column(plain(name, _LONGEST), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    terminal().print(table)


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if row.get(name) is None else row.get(name) for name in columns] for row in rows])
    return file.getvalue().rstrip("\n")


def _json(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return json.dumps([{name: row.get(name) for name in columns} for row in rows], indent=2, ensure_ascii=False)


def _markdown(columns: Sequence[str], rows: Sequence[Row]) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    body = [line(_text(row.get(name)) for name in columns) for row in rows]
    return "\n".join([line(columns), line("---" for _ in columns), *body])


_LATEX = str.maketrans({**{letter: f"\\{letter}" for letter in "&%$#_{}"}, "\\": r"\textbackslash{}",
                        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"})  # fmt: skip


def _latex(columns: Sequence[str], rows: Sequence[Row]) -> str:
    def line(cells: Iterable[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    numbers = [any(_is_number(row.get(name)) for row in rows) for name in columns]
    body = [line(_text(row.get(name)) for name in columns) for row in rows]
    head = rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numbers)}}}"
    return "\n".join([head, r"\toprule", line(columns), r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


WRITERS: dict[str, Callable[[Sequence[str], Sequence[Row]], str]] = {
    "csv": _csv, "json": _json, "markdown": _markdown, "latex": _latex,
}  # fmt: skip
"""Formats of tables beside ``table``, which is for the terminal."""
