"""Tables of numbers from the user's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.tables import TableConfig
from nfkd.data.column_statistics import RowSource, chunks_of
from nfkd.data.columns import Table
from nfkd.data.dataset import DataError, DataSplit, reported_as
from nfkd.data.examples import Examples, apply
from nfkd.data.files import ConfigPath, expanded, named_file, stamp
from nfkd.data.images import FEWEST
from nfkd.data.results import Keep, Results, computed
from nfkd.data.scaling import unfit
from nfkd.data.source import Loaded, Source
from nfkd.data.suspicious import counting_warnings, sentinel_warnings
from nfkd.data.table_columns import Chosen, choose, constant_columns, same_columns
from nfkd.data.table_parts import PartTable, describe_split, open_parts, rows_of_parts

_FEWEST = 24  # rows, for three splits
_TREAT = " or choose how to treat missing values (data.missing)"


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
        """Return the file, or those of the parts."""
        parts = (config.validation_file, config.test_file) if config.split == "files" else ()
        return [expanded(path) for path in (config.path, *parts) if path.strip()]

    def load(self, config: TableConfig) -> Loaded:
        """Return the rows, before the split and the scaling.

        Raises
        ------
        DataError
            If the file is not a table; columns are missing, chosen twice or without numbers; values are infinite or,
            unless the config allows it, missing: with column and row; or the user's own parts are not complete.
        """
        file = _file(config)
        tables = open_parts(config, file)
        with reported_as(tables["train"].table.reading):
            return self._load(config, tables)

    def _load(self, config: TableConfig, tables: Mapping[str, PartTable]) -> Loaded:
        main = tables["train"]
        if not main.table.count:
            main.file.refuse("holds no rows: give a table with some")
        chosen = choose(config, main.table, main.name)
        _refuse_few(tables, chosen)
        kept = self._keep(config, tables)
        keep, several = kept or computed, len(tables) > 1
        chosen, rows = _rows_of_parts(config, tables, chosen, keep)
        reads = {
            part: _read(config, each, same_columns(chosen, main, each, part), rows[part], keep, several=several)
            for part, each in tables.items()
        }
        splits = {part: read.split for part, read in reads.items()}
        if config.split == "column":
            splits = _divide(main, chosen, reads["train"])
        for part, split in splits.items():
            _refuse_small(config, part, split, own=len(splits) > 1, chosen=chosen)
        return Loaded(
            name=main.file.path.name,
            train=splits["train"],
            validation=splits.get("validation"),
            test=splits.get("test"),
            scaling=config.scaling,
            dequantize=config.dequantize,
            columns=chosen.names[: len(chosen.targets)],
            missing=_total_missing([read.missing for read in reads.values()])[: len(chosen.targets)],
            prepare=lambda train: _prepare(config, chosen, train, keep),
            keep=kept,
            hash_whole=True,
            reading=main.table.reading,
            unused=chosen.unused,
            warnings=tuple(warning for read in reads.values() for warning in read.warnings),
            split=describe_split(config, splits),
        )

    def _keep(self, config: TableConfig, tables: Mapping[str, PartTable]) -> Keep | None:
        """Return what keeps the results of tables on disk; None if one is in memory."""
        folders = [each.table.folder for each in tables.values()]
        main = tables["train"].table.folder
        if main is None or None in folders:
            return None
        settings = config.model_dump_json(exclude={"storage"})
        return Results(main, [settings, repr(stamp(self.value_files(config)))])


def _file(config: TableConfig) -> ConfigPath:
    if not config.path.strip():
        message = "names nothing yet: name a file, such as .csv, .txt, .xlsx, .parquet, .npy or .h5"
        raise DataError([ConfigProblem("data.path", message)])
    return named_file(config.path, "data.path")


def _refuse_few(tables: Mapping[str, PartTable], chosen: Chosen) -> None:
    for each in tables.values():
        count, fewest = each.table.count, _FEWEST if len(tables) == 1 else FEWEST
        if count < fewest:
            few = "1 row" if count == 1 else f"{count} rows"
            needed = f"three splits need at least {fewest}" if len(tables) == 1 else f"a part needs at least {fewest}"
            replace(each.file, event_shape=chosen.event_shape).refuse(f"has only {few}: {needed}")


def _refuse_small(config: TableConfig, part: str, split: DataSplit, *, own: bool, chosen: Chosen) -> None:
    if own and len(split) < FEWEST:
        field = "data.part_column" if config.split == "column" else "data.split"
        message = f"the {part} part has only {len(split)} complete rows, and at least {FEWEST} are needed: add some"
        raise DataError([ConfigProblem(field, message)], chosen.event_shape)


@dataclass(frozen=True)
class _Read:
    """The rows of a table that are kept, their indices (None: all), and the missing values by column."""

    split: DataSplit
    kept: np.ndarray | None
    missing: tuple[int, ...]
    warnings: tuple[ConfigProblem, ...]


def _rows_of_parts(
    config: TableConfig, tables: Mapping[str, PartTable], chosen: Chosen, keep: Keep
) -> tuple[Chosen, dict[str, Examples]]:
    """Return the rows of each part, and the columns without those that are constant and that the config does not name.

    They must have the same value in all parts; columns that are constant in one part are refused later.
    """
    main = tables["train"]
    of_parts = {part: same_columns(chosen, main, each, part) for part, each in tables.items()}
    rows = {part: _rows(config, each.table, of_parts[part]) for part, each in tables.items()}
    constant: dict[int, float] = {}
    if not config.columns:
        constant = dict(keep("constant", lambda: [*constant_columns(list(rows.values()), len(chosen.targets)).items()]))
    if not constant or len(constant) == len(chosen.targets):
        return chosen, rows
    chosen = chosen.without(main.table, constant)
    of_parts = {part: same_columns(chosen, main, each, part) for part, each in tables.items()}
    return chosen, {part: _rows(config, each.table, of_parts[part]) for part, each in tables.items()}


def _rows(config: TableConfig, table: Table, chosen: Chosen) -> Examples:
    rows = table.rows(chosen.all)
    if table.folder is None:
        rows = rows[:]
    return _without(rows, _missing_numbers(config))


def _read(config: TableConfig, part: PartTable, chosen: Chosen, rows: Examples, keep: Keep, *, several: bool) -> _Read:
    table, numbers, where = part.table, _missing_numbers(config), f" of {part.name}" if several else ""
    missing = tuple(keep(f"missing in {part.name}", lambda: _scan(config, rows, chosen, where)))
    kept = _complete(rows, chosen) if missing and config.missing == "drop" else None
    modelled = chosen.names[: len(chosen.targets)]
    warnings = sentinel_warnings(RowSource(rows, keep=keep, name=part.name), chosen.names) + counting_warnings(
        rows, modelled
    )
    split = _split(table, rows, chosen, numbers)
    return _Read(split if kept is None else split.take(kept), kept, missing, warnings)


def _missing_numbers(config: TableConfig) -> list[float]:
    """Return the numbers that stand for missing values."""
    found = []
    for text in config.missing_texts:
        try:
            found.append(float(text))
        except ValueError:
            continue
    return found


def _without(rows: Examples, numbers: list[float]) -> Examples:
    """Return rows with NaN in place of numbers that stand for missing values."""
    return apply(lambda chunk: np.where(np.isin(chunk, numbers), np.nan, chunk), rows) if numbers else rows


def _divide(main: PartTable, chosen: Chosen, read: _Read) -> dict[str, DataSplit]:
    """Return the rows of each part by the column that names it."""
    parts = rows_of_parts(main, chosen.part)
    if read.kept is None:
        return {part: read.split.take(rows) for part, rows in parts.items()}
    return {part: read.split.take(np.flatnonzero(np.isin(read.kept, rows))) for part, rows in parts.items()}


def _total_missing(missing: list[tuple[int, ...]]) -> tuple[int, ...]:
    counted = [counts for counts in missing if counts]
    return tuple(map(sum, zip(*counted, strict=True)))


def _scan(config: TableConfig, rows: Examples, chosen: Chosen, where: str) -> list[int]:
    """Check every value once; return the number of missing values by column, or nothing if there are none.

    `where` names the file in messages, where there are several.
    """
    counts = np.zeros(len(chosen.all), int)
    for start, chunk in chunks_of(rows):
        _refuse(np.isinf(chunk), start, chosen, "is infinite", where)
        missing = np.isnan(chunk)
        if config.missing == "refuse":
            _refuse(
                missing, start, chosen, "is missing", where, " or choose how to treat missing values (data.missing)"
            )
        counts += missing.sum(axis=0)
    return counts.tolist() if counts.any() else []


def _complete(rows: Examples, chosen: Chosen) -> np.ndarray:
    """Return the indices of the rows without missing values."""
    kept = np.concatenate([start + np.flatnonzero(~np.isnan(chunk).any(axis=1)) for start, chunk in chunks_of(rows)])
    if len(kept) < _FEWEST:
        message = f"only {len(kept)} of {len(rows)} rows are complete, and {_FEWEST} are needed"
        raise DataError([ConfigProblem("data.missing", message)], chosen.event_shape)
    return kept


def _refuse(wrong: np.ndarray, start: int, chosen: Chosen, what: str, where: str, more: str = "") -> None:
    if wrong.any():
        row, position = np.argwhere(wrong)[0]
        message = f"{what} in row {start + row + 1}{where} (the first is 1): correct the file{more}"
        raise DataError([chosen.problem(int(position), message)], chosen.event_shape)


def _split(table: Table, rows: Examples, chosen: Chosen, numbers: list[float]) -> DataSplit:
    """Return the rows in float64, with contexts and weights in memory."""
    first, last = len(chosen.targets), len(chosen.targets) + len(chosen.context)
    if isinstance(rows, np.ndarray):
        values, rest = rows[:, :first], rows[:, first:]
    else:
        values = _without(table.rows(chosen.targets), numbers)
        others = _without(table.rows(chosen.all[first:]), numbers) if len(chosen.all) > first else None
        rest = np.empty((len(rows), 0)) if others is None else others[:]
    return DataSplit(
        values,
        rest[:, : last - first] if chosen.context else None,
        rest[:, last - first] if chosen.weight else None,
    )


def _prepare(config: TableConfig, chosen: Chosen, train: DataSplit, keep: Keep) -> Callable[[DataSplit], DataSplit]:
    """Refuse columns that are constant or empty in the training split; return what fills in its medians."""
    median, empty = None, {}
    if config.missing == "median":
        found = keep("medians", lambda: [each for rows in _column_groups(train) for each in _medians(RowSource(rows))])
        median = np.array(found)
        without = np.flatnonzero(np.isnan(median)).tolist()
        empty = dict.fromkeys(without, "has no value in the training split: leave it out")
        train = _fill(train, np.nan_to_num(median))
    values, *others = _column_groups(train)
    wrong = unfit(RowSource(values, keep=keep, name="the training split")) | empty
    if chosen.context:
        wrong = {len(chosen.targets) + index: why for index, why in unfit(RowSource(others[0])).items()} | wrong
    if wrong:
        problems = [chosen.problem(position, message) for position, message in sorted(wrong.items())]
        raise DataError(problems, chosen.event_shape)
    return lambda split: split if median is None else _fill(split, median)


def _column_groups(split: DataSplit) -> list[Examples]:
    """Return values, context and weight of a split, each as (N, columns), without those that it lacks."""
    groups = (split.values, split.context, None if split.weights is None else split.weights[:, None])
    return [group for group in groups if group is not None]


def _medians(rows: RowSource) -> list[float]:
    """Return the median of each column without its missing values; NaN where it has no other."""
    known = (column[~np.isnan(column)] for _, column in rows.columns())
    return [float(np.median(values)) if len(values) else np.nan for values in known]


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
