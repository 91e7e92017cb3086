"""The table of runs as CSV, Markdown and LaTeX: all listed groups with the chosen columns. No Qt."""

from __future__ import annotations

from collections.abc import Sequence

from nfkd.config.run_filter import Value
from nfkd.text import latex_text, markdown_text
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_columns import ColumnFormat, describe_column, format_of, titles_of
from nfkd_gui.model.run_groups import RunGroup


def numbers_table(groups: Sequence[RunGroup], names: Sequence[str]) -> Table:
    """Return values with all digits by the names of their columns, and the standard deviations over seeds."""
    spread = {name for name in names if any(name in group.deviations for group in groups)}
    header = [part for name in names for part in ([name, f"{name} deviation"] if name in spread else [name])]
    rows = [
        [
            part
            for name in names
            for part in ([_value(group, name), group.deviations.get(name)] if name in spread else [_value(group, name)])
        ]
        for group in groups
    ]
    return Table([*header, "run"], [[*row, group.key] for row, group in zip(rows, groups, strict=True)])


def _value(group: RunGroup, name: str) -> Value:
    return group.values.get(name)


def markdown_table(groups: Sequence[RunGroup], names: Sequence[str]) -> str:
    """Return the table as it is shown, in Markdown."""
    header, rows, _ = _shown(groups, names)
    return markdown_text(header, rows)


def latex_table(groups: Sequence[RunGroup], names: Sequence[str]) -> str:
    """Return the table as it is shown, in LaTeX."""
    header, rows, numeric = _shown(groups, names)
    return latex_text(header, rows, numeric)


def _shown(groups: Sequence[RunGroup], names: Sequence[str]) -> tuple[list[str], list[list[str]], list[bool]]:
    formats = [format_of(name, groups) for name in names]
    rows = [[_text(group, shown) for shown in formats] for group in groups]
    units = [describe_column(name).unit for name in names]
    header = [f"{title}, {unit}" if unit else title for title, unit in zip(titles_of(names), units, strict=True)]
    return header, rows, [shown.numeric for shown in formats]


def _text(group: RunGroup, shown: ColumnFormat) -> str:
    name = shown.column.name
    value, deviation = group.values.get(name), group.deviations.get(name)
    text = " ".join(part for part in (shown.text(value), shown.deviation(deviation)) if part)
    return f"{text} %" if text and shown.column.kind == "gap" else text
