"""Any table of numbers from a file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.data import TableConfig
from nfkd.data.cache import stamp
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import Examples, Mapped, in_memory
from nfkd.data.files import ConfigPath, expanded, named_file
from nfkd.data.scaling import sample, unfit
from nfkd.data.source import Loaded, Source
from nfkd.data.tables import Table, near, read_table

_WHOLE = 2**27  # values: a table up to a GiB of float64 is read into memory, where batches cost nothing
_PIECE = 2**21
_FEWEST = 24


class AnyTable(Source[TableConfig]):
    """Columns of a file: what is modelled, what it is conditioned on, and each row's weight.

    A value is missing where a text file has nothing, *NA* or the like, Parquet a null, and everywhere where there is
    NaN. Infinite values are always refused.
    """

    config = TableConfig
    shape, unit, origin = "columns", "nats", "your file"

    def find(self, config: TableConfig) -> None:
        """Look for the file."""
        _place(config)

    def value_files(self, config: TableConfig) -> Iterable[Path]:
        """Return the file."""
        return [expanded(config.path)]

    def stamp(self, config: TableConfig) -> Hashable:
        """Return the file's size and the time of its last change."""
        return stamp([expanded(config.path)])

    def load(self, config: TableConfig) -> Loaded:
        """Return the rows, before the split and the scaling.

        Raises
        ------
        DataError
            When the file is no table; columns are not there, chosen twice or hold no numbers; or values are infinite
            or, unless the config says otherwise, missing: with column and row.
        """
        place = _place(config)
        table, name = read_table(place, config.key), place.path.name
        if not len(table):
            place.refuse("holds no rows: give a table with some")
        chosen = _choose(config, table, name)
        if len(table) < _FEWEST:
            few = f"{len(table)} row" if len(table) == 1 else f"{len(table)} rows"
            message = f"has only {few}: {_FEWEST} are the least that three parts can be made of"
            replace(place, event_shape=chosen.event_shape).refuse(message)
        rows = table.rows(chosen.all)
        if len(rows) * len(chosen.all) <= _WHOLE:
            rows = rows[:]
        kept, missing = _complete(config, rows, chosen)
        return Loaded(
            name=name,
            train=_part(table, rows, chosen, kept),
            scaling=config.scaling,
            columns=chosen.names[: len(chosen.targets)],
            missing=missing[: len(chosen.targets)],
            prepare=lambda train: _prepare(config, chosen, train),
        )


def _place(config: TableConfig) -> ConfigPath:
    if not config.path.strip():
        raise DataError(
            [ConfigProblem("data.path", "names nothing yet: name a file, .csv, .tsv, .parquet, .npy or .h5")]
        )
    return named_file(config.path, "data.path")


@dataclass(frozen=True)
class _Chosen:
    """The numbers of the columns in each role, and the names of all of them in that order."""

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

    def field(self, place: int) -> str:
        """Return the config's field that chose the column at a place of `all`."""
        if place < len(self.targets):
            return "data.columns"
        return "data.context" if place < len(self.targets) + len(self.context) else "data.weight"


def _choose(config: TableConfig, table: Table, name: str) -> _Chosen:
    """Find the columns of a config, with every problem in them."""
    problems: list[ConfigProblem] = []
    owner: dict[int, str] = {}

    def find(field: str, wanted: Sequence[str]) -> tuple[int, ...]:
        numbers = []
        for word in wanted:
            number = _number(word, table)
            if number is None:
                problems.append(ConfigProblem(field, f"{name} has no column {word!r}: {near(word, table.columns)}"))
            elif number in owner:
                column = f"column {table.columns[number].name}"
                problems.append(
                    ConfigProblem(field, f"{column} is chosen twice, here and at {owner[number]}: choose it once")
                )
            else:
                owner[number] = field
                numbers.append(number)
        return tuple(numbers)

    targets = find("data.columns", config.columns)
    context = find("data.context", config.context)
    weight = find("data.weight", (config.weight,) if config.weight else ())
    if not config.columns:
        targets = tuple(
            number
            for number, column in enumerate(table.columns)
            if number not in owner and (not column.trouble or column.mixed)
        )
        owner |= dict.fromkeys(targets, "data.columns")
    for number, field in sorted(owner.items()):
        column = table.columns[number]
        if column.trouble:
            problems.append(ConfigProblem(field, f"column {column.name} {column.trouble}: choose columns of numbers"))
    if not targets and not problems:
        problems.append(
            ConfigProblem("data.columns", f"{name} has no column of numbers left to be modelled{_first(table)}")
        )
    if problems:
        raise DataError(problems)
    names = tuple(table.columns[number].name for number in targets + context + weight)
    return _Chosen(targets, context, weight, names)


def _first(table: Table) -> str:
    """Say of the first column that holds no numbers why, and what may be meant; nothing where all do."""
    for column in table.columns:
        if column.trouble:
            hint = ": are the values parted by semicolons? Use commas, or tabs in a .tsv file"
            return f": column {column.name} {column.trouble}{hint if ';' in column.name else ''}"
    return ""


def _number(word: str, table: Table) -> int | None:
    """Return the number of a column given by its name or, where none has that name, its number."""
    names = [column.name for column in table.columns]
    if word in names:
        return names.index(word)
    return int(word) if word.isdecimal() and int(word) < len(names) else None


def _complete(config: TableConfig, rows: Examples, chosen: _Chosen) -> tuple[np.ndarray | None, tuple[int, ...]]:
    """Look at every value once; return the rows to keep (None: all), and the number of missing values by column."""
    missing = np.zeros(len(rows), bool)
    counts = np.zeros(len(chosen.all), int)
    size = max(1, _PIECE // len(chosen.all))
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        _refuse(np.isinf(piece), start, chosen, "is infinite")
        nothing = np.isnan(piece)
        if config.missing == "refuse":
            _refuse(nothing, start, chosen, "is missing", " or choose what is done with missing values (data.missing)")
        missing[start : start + size] = nothing.any(axis=1)
        counts += nothing.sum(axis=0)
    columns = tuple(counts.tolist()) if missing.any() else ()
    if config.missing != "drop" or not missing.any():
        return None, columns
    kept = np.flatnonzero(~missing)
    if len(kept) < _FEWEST:
        message = f"only {len(kept)} of {len(rows)} rows are complete, and {_FEWEST} are needed"
        raise DataError([ConfigProblem("data.missing", message)], chosen.event_shape)
    return kept, columns


def _refuse(bad: np.ndarray, start: int, chosen: _Chosen, what: str, more: str = "") -> None:
    if bad.any():
        row, place = np.argwhere(bad)[0]
        message = f"column {chosen.names[place]} {what} in row {start + row + 1} (the first is 1): mend the file{more}"
        raise DataError([ConfigProblem(chosen.field(int(place)), message)], chosen.event_shape)


def _part(table: Table, rows: Examples, chosen: _Chosen, kept: np.ndarray | None) -> DataSplit:
    """Return all rows as a part, in float64 until they are scaled; only what is modelled may stay in its file."""
    first, last = len(chosen.targets), len(chosen.targets) + len(chosen.context)
    if isinstance(rows, np.ndarray):
        values, rest = rows[:, :first], rows[:, first:]
    else:
        values = table.rows(chosen.targets)
        rest = table.rows(chosen.all[first:])[:] if len(chosen.all) > first else np.empty((len(rows), 0))
    part = DataSplit(
        values,
        rest[:, : last - first] if chosen.context else None,
        rest[:, last - first] if chosen.weight else None,
    )
    return part if kept is None else part.take(kept)


def _prepare(config: TableConfig, chosen: _Chosen, train: DataSplit) -> Callable[[DataSplit], DataSplit]:
    """Fit what is put in for missing values on the training part, and refuse columns that say nothing there."""
    columns = _columns(train)
    modelled = slice(len(chosen.all) - len(chosen.weight))
    if config.missing == "median":
        empty: np.ndarray = np.all(np.isnan(columns), axis=0)
        middle = np.zeros(len(empty))
        middle[~empty] = np.nanmedian(columns[:, ~empty], axis=0)
        columns = np.where(np.isnan(columns), middle, columns)
        wrong = dict.fromkeys(np.flatnonzero(empty).tolist(), "has no value in the training part: leave it out")
        wrong = unfit(columns[:, modelled]) | wrong
    else:
        middle, wrong = None, unfit(columns[:, modelled])
    told = {place: f"column {chosen.names[place]} {words}" for place, words in sorted(wrong.items())}
    problems = [ConfigProblem(chosen.field(place), words) for place, words in told.items()]
    if problems:
        raise DataError(problems, chosen.event_shape)
    return lambda part: part if middle is None else _filled(part, middle)


def _columns(train: DataSplit) -> np.ndarray:
    """Return values, context and weight of the training part (or of enough of it) side by side."""
    values = sample(train.values)
    rest = [None if part is None else part[: len(values)] for part in (train.context, train.weights)]
    return np.concatenate([values, *(part.reshape(len(values), -1) for part in rest if part is not None)], axis=1)


def _filled(part: DataSplit, middle: np.ndarray) -> DataSplit:
    """Return a part with the training part's medians where it has no value."""
    width = part.values.shape[1]
    values, context, weights = part.values, part.context, part.weights

    def fill(these: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(these), middle[:width], these)

    if context is not None:
        context = np.where(np.isnan(context), middle[width : width + context.shape[1]], context)
    if weights is not None:
        weights = np.where(np.isnan(weights), middle[-1], weights)
    return DataSplit(fill(values[:]) if in_memory(values) else Mapped(values, fill), context, weights)


SOURCES = (AnyTable(),)
