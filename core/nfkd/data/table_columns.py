"""The roles of a table's columns: modelled, context, weight and part; and why the others are not used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.tables import TableConfig
from nfkd.data.columns import Column, Table, suggest_columns
from nfkd.data.dataset import DataError, UnusedColumn
from nfkd.data.examples import Examples
from nfkd.data.files import list_names
from nfkd.data.table_parts import PartTable

_MOST_PROBLEMS = 100
_FIRST_ROWS, _CHUNK = 100, 2**21  # rows that are looked at first for constant columns, and values at a time then


@dataclass(frozen=True)
class Chosen:
    """Indices of the columns in each role.

    Attributes
    ----------
    targets, context, weight
        Columns that are modelled, that are the context, and that of the weights.
    names
        Of all of these, in this order.
    part
        The column that names the part of each row; -1 without one.
    unused
        Each other column, and why it is not used.
    """

    targets: tuple[int, ...]
    context: tuple[int, ...]
    weight: tuple[int, ...]
    names: tuple[str, ...]
    part: int = -1
    unused: tuple[UnusedColumn, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        """The indices of all columns that are read as numbers."""
        return self.targets + self.context + self.weight

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an example."""
        return (len(self.targets),)

    def without(self, table: Table, values: Mapping[int, float]) -> Chosen:
        """Return the choice without modelled columns that are constant.

        Parameters
        ----------
        table
            The table.
        values
            The value of each constant column by its position in `targets`; NaN if it holds nothing.
        """
        unused = {column.name: column for column in self.unused}
        for position, value in values.items():
            reason = "holds nothing" if math.isnan(value) else f"is {value:.6g} in every row"
            unused[self.names[position]] = UnusedColumn(self.names[position], reason)
        return replace(
            self,
            targets=tuple(index for position, index in enumerate(self.targets) if position not in values),
            names=tuple(name for position, name in enumerate(self.names) if position not in values),
            unused=tuple(unused[column.name] for column in table.columns if column.name in unused),
        )

    def problem(self, position: int, message: str) -> ConfigProblem:
        """Return a problem of the column at a position in `all`, at the config's field that chose it."""
        field = "columns"
        if position >= len(self.targets):
            field = "context" if position < len(self.targets) + len(self.context) else "weight"
        return ConfigProblem(f"data.{field}", f"column {self.names[position]} {message}")


def constant_columns(parts: Sequence[Examples], count: int) -> dict[int, float]:
    """Return the value of each of the first `count` columns that has one value (or NaN) in all rows, by its index."""
    first = np.asarray(parts[0][:1])[0, :count]
    candidates = np.arange(count)
    for rows in parts:
        start, size = 0, _FIRST_ROWS
        while start < len(rows) and len(candidates):
            chunk = np.asarray(rows[start : start + size])[:, candidates]
            same = (chunk == first[candidates]) | (np.isnan(chunk) & np.isnan(first[candidates]))
            candidates = candidates[same.all(axis=0)]
            start, size = start + size, max(_FIRST_ROWS, _CHUNK // count)
    return {int(index): float(first[index]) for index in candidates}


class _Finder:
    """Finds columns by name or index, and keeps the problems and what chose each column."""

    def __init__(self, table: Table, name: str) -> None:
        self._table, self._name = table, name
        self._indices = _indices(table)
        self.problems: list[ConfigProblem] = []
        self.owner: dict[int, str] = {}

    def find(self, field: str, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the indices of the columns that a field names."""
        found = []
        for label in labels:
            index = _index(label, self._indices, len(self._table.columns))
            if index is None:
                if len(self.problems) < _MOST_PROBLEMS:
                    message = f"{self._name} has no column {label!r}: {suggest_columns(label, self._table.columns)}"
                    self.problems.append(ConfigProblem(field, message))
            elif index in self.owner:
                column, owner = self._table.columns[index].name, self.owner[index]
                message = f"column {column} is chosen twice, here and at {owner}: choose it once"
                self.problems.append(ConfigProblem(field, message))
            else:
                self.owner[index] = field
                found.append(index)
        return tuple(found)


def choose(config: TableConfig, table: Table, name: str) -> Chosen:
    """Find the columns of a config.

    Parameters
    ----------
    name
        Of the table, for messages.

    Raises
    ------
    DataError
        With all problems at once.
    """
    finder = _Finder(table, name)
    targets = finder.find("data.columns", config.columns)
    context = finder.find("data.context", config.context)
    weight = finder.find("data.weight", (config.weight,) if config.weight else ())
    part = _find_part(config, finder)
    owner, problems = finder.owner, finder.problems
    if not config.columns:
        targets = tuple(
            index
            for index, column in enumerate(table.columns)
            if index not in owner and not column.optional and (not column.problem or column.mixed)
        )
        owner |= dict.fromkeys(targets, "data.columns")
    for index, field in sorted(owner.items()):
        column = table.columns[index]
        if column.problem and index not in part:
            advice = column.advice if column.field or column.advice else "choose columns of numbers"
            problems.append(ConfigProblem(column.field or field, f"column {column.name} {column.problem}: {advice}"))
    if not targets and not problems:
        message = f"{name} has no column of numbers left to be modelled{_describe_first(table)}"
        problems.append(ConfigProblem("data.columns", message))
    if problems:
        raise DataError(problems)
    names = tuple(table.columns[index].name for index in targets + context + weight)
    unused = tuple(
        UnusedColumn(column.name, _reason(column), usable=not column.problem)
        for index, column in enumerate(table.columns)
        if index not in owner
    )
    return Chosen(targets, context, weight, names, part[0] if part else -1, unused)


def _find_part(config: TableConfig, finder: _Finder) -> tuple[int, ...]:
    if config.split != "column":
        return ()
    if not config.part_column:
        message = "names nothing yet: name the column that says train, validation or test in each row"
        finder.problems.append(ConfigProblem("data.part_column", message))
        return ()
    return finder.find("data.part_column", (config.part_column,))


def _reason(column: Column) -> str:
    reason = column.problem or column.optional or "is not chosen"
    return f"{reason}; {column.advice}" if column.advice else reason


def _describe_first(table: Table) -> str:
    column = next((column for column in table.columns if column.problem or column.optional), None)
    read = f" (read as {table.reading})" if table.reading else ""
    return f": column {column.name} {column.problem or column.optional}{read}" if column else ""


def _indices(table: Table) -> dict[str, int]:
    return {column.name: index for index, column in enumerate(table.columns)}


def _index(label: str, indices: dict[str, int], count: int) -> int | None:
    """Return the index of a column given by its name or, if none has that name, by its index.

    Blanks around a name, and a comment sign before it, do not count: earlier versions kept them.
    """
    for name in (label, label.strip(), label.lstrip("#% ").strip()):
        if name in indices:
            return indices[name]
    return int(label) if label.isdecimal() and int(label) < count else None


def same_columns(chosen: Chosen, main: PartTable, other: PartTable, part: str) -> Chosen:
    """Return the chosen columns of the first table in that of another part, found by name.

    Raises
    ------
    DataError
        If one is missing, or holds no numbers.
    """
    if other is main:
        return chosen
    indices, columns = _indices(other.table), other.table.columns
    missing = [name for name in chosen.names if name not in indices]
    if missing:
        message = f"the {part} part has no column {list_names(missing)}, which {main.name} has: give the same columns"
        raise DataError([ConfigProblem(other.file.field, f"{other.name}: {message}")], chosen.event_shape)
    found = [indices[name] for name in chosen.names]
    wrong = next((columns[index] for index in found if columns[index].problem), None)
    if wrong is not None:
        message = f"{other.name}: column {wrong.name} {wrong.problem}: give numbers, as in {main.name}"
        raise DataError([ConfigProblem(other.file.field, message)], chosen.event_shape)
    first, last = len(chosen.targets), len(chosen.targets) + len(chosen.context)
    return replace(chosen, targets=tuple(found[:first]), context=tuple(found[first:last]), weight=tuple(found[last:]))
