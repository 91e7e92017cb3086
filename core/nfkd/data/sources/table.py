"""Tables of numbers from the user's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.data import TableConfig
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import Examples, apply
from nfkd.data.files import ConfigPath, expanded, named_file
from nfkd.data.scaling import sample, unfit
from nfkd.data.source import Loaded, Source
from nfkd.data.tables import Table, read_table, suggest_columns

_READ_WHOLE = 2**27  # values: a table of up to a GiB of float64 is read into memory, where batches are fast
_CHUNK = 2**21  # values
_FEWEST = 24  # rows, for three splits


class AnyTable(Source[TableConfig]):
    """Columns of a file: those that are modelled, those of the context, and each row's weight.

    Missing values are empty text, *NA* or the like in a text file, nulls in Parquet, and NaN everywhere. Infinite
    values are always refused.
    """

    config = TableConfig
    shape, unit, origin = "columns", "nats", "your file"

    def find(self, config: TableConfig) -> None:
        """Check that the file is there."""
        _file(config)

    def value_files(self, config: TableConfig) -> Iterable[Path]:
        """Return the file."""
        return [expanded(config.path)]

    def load(self, config: TableConfig) -> Loaded:
        """Return the rows, before the split and the scaling.

        Raises
        ------
        DataError
            If the file is not a table; columns are missing, chosen twice or without numbers; or values are infinite
            or, unless the config allows it, missing: with column and row.
        """
        file = _file(config)
        table, name = read_table(file, config.key), file.path.name
        if not table.count:
            file.refuse("holds no rows: give a table with some")
        chosen = _choose(config, table, name)
        if table.count < _FEWEST:
            few = "1 row" if table.count == 1 else f"{table.count} rows"
            replace(file, event_shape=chosen.event_shape).refuse(
                f"has only {few}: three splits need at least {_FEWEST}"
            )
        rows = table.rows(chosen.all)
        if len(rows) * len(chosen.all) <= _READ_WHOLE:
            rows = rows[:]
        kept, missing = _scan(config, rows, chosen)
        return Loaded(
            name=name,
            train=_split(table, rows, chosen, kept),
            scaling=config.scaling,
            dequantize=config.dequantize,
            columns=chosen.names[: len(chosen.targets)],
            missing=missing[: len(chosen.targets)],
            prepare=lambda train: _prepare(config, chosen, train),
        )


def _file(config: TableConfig) -> ConfigPath:
    if not config.path.strip():
        message = "names nothing yet: name a file, .csv, .tsv, .parquet, .npy or .h5"
        raise DataError([ConfigProblem("data.path", message)])
    return named_file(config.path, "data.path")


@dataclass(frozen=True)
class _Chosen:
    """Indices of the columns in each role, and the names of all of them in this order."""

    targets: tuple[int, ...]
    context: tuple[int, ...]
    weight: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return self.targets + self.context + self.weight

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.targets),)

    def problem(self, position: int, message: str) -> ConfigProblem:
        """Return a problem of the column at a position in `all`, at the config's field that chose it."""
        field = "columns"
        if position >= len(self.targets):
            field = "context" if position < len(self.targets) + len(self.context) else "weight"
        return ConfigProblem(f"data.{field}", f"column {self.names[position]} {message}")


def _choose(config: TableConfig, table: Table, name: str) -> _Chosen:
    """Find the columns of a config; raise all problems with them at once."""
    problems: list[ConfigProblem] = []
    owner: dict[int, str] = {}

    def find(field: str, labels: Sequence[str]) -> tuple[int, ...]:
        found = []
        for label in labels:
            index = _index(label, table)
            if index is None:
                message = f"{name} has no column {label!r}: {suggest_columns(label, table.columns)}"
                problems.append(ConfigProblem(field, message))
            elif index in owner:
                message = (
                    f"column {table.columns[index].name} is chosen twice, here and at {owner[index]}: choose it once"
                )
                problems.append(ConfigProblem(field, message))
            else:
                owner[index] = field
                found.append(index)
        return tuple(found)

    targets = find("data.columns", config.columns)
    context = find("data.context", config.context)
    weight = find("data.weight", (config.weight,) if config.weight else ())
    if not config.columns:
        targets = tuple(
            index
            for index, column in enumerate(table.columns)
            if index not in owner and (not column.problem or column.mixed)
        )
        owner |= dict.fromkeys(targets, "data.columns")
    for index, field in sorted(owner.items()):
        column = table.columns[index]
        if column.problem:
            problems.append(ConfigProblem(field, f"column {column.name} {column.problem}: choose columns of numbers"))
    if not targets and not problems:
        message = f"{name} has no column of numbers left to be modelled{_describe_first_problem(table)}"
        problems.append(ConfigProblem("data.columns", message))
    if problems:
        raise DataError(problems)
    names = tuple(table.columns[index].name for index in targets + context + weight)
    return _Chosen(targets, context, weight, names)


def _describe_first_problem(table: Table) -> str:
    for column in table.columns:
        if column.problem:
            hint = ": are the values separated by semicolons? Use commas, or tabs in a .tsv file"
            return f": column {column.name} {column.problem}{hint if ';' in column.name else ''}"
    return ""


def _index(label: str, table: Table) -> int | None:
    """Return the index of a column given by its name or, if none has that name, by its index."""
    names = [column.name for column in table.columns]
    if label in names:
        return names.index(label)
    return int(label) if label.isdecimal() and int(label) < len(names) else None


def _scan(config: TableConfig, rows: Examples, chosen: _Chosen) -> tuple[np.ndarray | None, tuple[int, ...]]:
    """Check every value once; return the rows to keep (None: all), and the number of missing values by column."""
    incomplete = np.zeros(len(rows), bool)
    counts = np.zeros(len(chosen.all), int)
    size = max(1, _CHUNK // len(chosen.all))
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        _refuse(np.isinf(chunk), start, chosen, "is infinite")
        missing = np.isnan(chunk)
        if config.missing == "refuse":
            _refuse(missing, start, chosen, "is missing", " or choose how to treat missing values (data.missing)")
        incomplete[start : start + size] = missing.any(axis=1)
        counts += missing.sum(axis=0)
    columns = tuple(counts.tolist()) if incomplete.any() else ()
    if config.missing != "drop" or not incomplete.any():
        return None, columns
    kept = np.flatnonzero(~incomplete)
    if len(kept) < _FEWEST:
        message = f"only {len(kept)} of {len(rows)} rows are complete, and {_FEWEST} are needed"
        raise DataError([ConfigProblem("data.missing", message)], chosen.event_shape)
    return kept, columns


def _refuse(wrong: np.ndarray, start: int, chosen: _Chosen, what: str, more: str = "") -> None:
    if wrong.any():
        row, position = np.argwhere(wrong)[0]
        message = f"{what} in row {start + row + 1} (the first is 1): correct the file{more}"
        raise DataError([chosen.problem(int(position), message)], chosen.event_shape)


def _split(table: Table, rows: Examples, chosen: _Chosen, kept: np.ndarray | None) -> DataSplit:
    """Return the rows in float64, with contexts and weights in memory."""
    first, last = len(chosen.targets), len(chosen.targets) + len(chosen.context)
    if isinstance(rows, np.ndarray):
        values, rest = rows[:, :first], rows[:, first:]
    else:
        values = table.rows(chosen.targets)
        rest = table.rows(chosen.all[first:])[:] if len(chosen.all) > first else np.empty((len(rows), 0))
    split = DataSplit(
        values,
        rest[:, : last - first] if chosen.context else None,
        rest[:, last - first] if chosen.weight else None,
    )
    return split if kept is None else split.take(kept)


def _prepare(config: TableConfig, chosen: _Chosen, train: DataSplit) -> Callable[[DataSplit], DataSplit]:
    """Refuse columns that are constant or empty in the training split; return what fills in its medians."""
    columns = _join_columns(train)
    modelled = slice(len(chosen.all) - len(chosen.weight))
    median, empty = None, {}
    if config.missing == "median":
        without: np.ndarray = np.all(np.isnan(columns), axis=0)
        median = np.zeros(len(without))
        median[~without] = np.nanmedian(columns[:, ~without], axis=0)
        columns = np.where(np.isnan(columns), median, columns)
        empty = dict.fromkeys(np.flatnonzero(without).tolist(), "has no value in the training split: leave it out")
    wrong = unfit(columns[:, modelled]) | empty
    if wrong:
        problems = [chosen.problem(position, message) for position, message in sorted(wrong.items())]
        raise DataError(problems, chosen.event_shape)
    return lambda split: split if median is None else _fill(split, median)


def _join_columns(train: DataSplit) -> np.ndarray:
    """Return values, context and weight of the training split (or of a sample of it) side by side."""
    values = sample(train.values)
    rest = [None if columns is None else columns[: len(values)] for columns in (train.context, train.weights)]
    return np.concatenate([values, *(columns.reshape(len(values), -1) for columns in rest if columns is not None)], 1)


def _fill(split: DataSplit, median: np.ndarray) -> DataSplit:
    """Return a split with medians in place of missing values."""
    width = split.values.shape[1]
    values = apply(lambda rows: np.where(np.isnan(rows), median[:width], rows), split.values)
    context, weights = split.context, split.weights
    if context is not None:
        context = np.where(np.isnan(context), median[width : width + context.shape[1]], context)
    if weights is not None:
        weights = np.where(np.isnan(weights), median[-1], weights)
    return DataSplit(values, context, weights)


SOURCES = (AnyTable(),)
