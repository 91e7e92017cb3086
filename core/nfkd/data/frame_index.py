"""Indexes of text, Parquet and Feather files, made from batches of their rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nfkd.config.tables import TableConfig
from nfkd.data.columns import Column, Table, as_text, mark_index
from nfkd.data.disk_rows import SomeColumns
from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath
from nfkd.data.frame_tables import TextStyles, describe_columns, may_be_index, number
from nfkd.data.index_cache import Header, Index, RowWriter, open_index
from nfkd.data.numbers import allowed_styles, cleaned

_HEAD = 100_000  # rows in which the types and signs of columns of text are found
_BATCH = 2**20  # values
_FEWEST = 1000  # rows of a batch
_READING = ("separator", "decimal", "thousands", "encoding", "comment", "header", "missing_texts")

Scan = Callable[[], Any]
"""Returns a polars LazyFrame of a file."""


def frame_index(
    file: ConfigPath,
    names: Sequence[str],
    scans: Sequence[Scan],
    config: TableConfig,
    needed: int,
    *,
    separator: str = "",
    parts: Sequence[str] = (),
) -> Table:
    """Return the table of a file that is read in batches; its rows are in an index.

    Parameters
    ----------
    names
        Of the columns; empty text where the file gives none.
    scans
        Ways of reading the file; the first is used that does not fail.
    config
        Its settings say how text stands for numbers.
    needed
        Bytes of the values in float64, about.
    separator, parts
        As for `frame_table`.

    Raises
    ------
    DataError
        As `open_index`.
    """

    def build(writer: RowWriter) -> Header:
        import polars as pl

        for attempt, scan in enumerate(scans):
            try:
                return _Builder(file, names, scan(), config, writer, separator, parts).build(attempt)
            except pl.exceptions.ComputeError:
                if scan is scans[-1]:
                    raise
            writer.keep(0, 0)
        raise AssertionError

    options = [repr(getattr(config, name)) for name in _READING]
    index = open_index(file, [*options, separator, *names], needed, build)
    return index_table(index, lambda column: _texts(scans[index.header.attempt](), column, config, index.header.count))


def index_table(index: Index, texts: Callable[[int], list[str | None]]) -> Table:
    """Return the table of an index."""
    header = index.header

    def rows(indices: Sequence[int]) -> Examples:
        return SomeColumns(index.rows, [header.stored[column] for column in indices])

    return Table(tuple(header.columns), header.count, rows, texts, header.reading, index.folder)


def _texts(frame: Any, column: int, config: TableConfig, count: int) -> list[str | None]:
    """Return a column as text; equal texts are one object."""
    import polars as pl

    key = frame.collect_schema().names()[column]
    found: list[str | None] = []
    for batch in frame.select(key).collect_batches(maintain_order=True):
        text = cleaned(batch, config) if batch.schema[key] == pl.String else batch
        found += [None if value is None else sys.intern(str(as_text(value))) for value in text[key]]
    return found[:count]


class _Builder:
    """Writes the rows of a frame."""

    def __init__(
        self,
        file: ConfigPath,
        names: Sequence[str],
        frame: Any,
        config: TableConfig,
        writer: RowWriter,
        separator: str,
        parts: Sequence[str],
    ) -> None:
        import polars as pl

        self._file, self._names, self._frame, self._writer = file, names, frame, writer
        self._config, self._parts = config, parts
        head = frame.head(_HEAD).collect()
        self._schema = dict(head.schema)
        text = cleaned(head.select(key for key, kind in self._schema.items() if kind == pl.String), config)
        self._styles = TextStyles(text, head, allowed_styles(config), separator)
        self._columns = describe_columns(names, head, self._styles)
        numeric = set(self._styles.numeric)
        stored = [
            key for key, kind in self._schema.items() if key in numeric or kind.is_numeric() or kind == pl.Boolean
        ]
        self._stored = {key: position for position, key in enumerate(stored)}
        self._wrong: dict[str, Column] = {}
        self._first_counts = {0, 1} if names and may_be_index(names) else set[int]()

    @property
    def _width(self) -> int:
        return max(1, len(self._stored))  # a file has no rows without columns

    def build(self, attempt: int) -> Header:
        """Write all rows, and return the header of the index."""
        start = filled = 0
        for batch in self._batches():
            values = self._values(batch, start)
            self._writer.write(values)
            filled = self._last_filled(batch, start) or filled
            self._count_first(values, start)
            start += len(values)
        if not filled:
            self._file.refuse("holds no rows: give a table with some")
        if filled < start:  # empty lines at the end
            self._writer.keep(filled, self._width)
        keys, columns = list(self._schema), self._describe()
        labels = self._styles.labels(dict(zip(keys, self._names, strict=True)))
        return Header(
            source=str(self._file.path),
            count=filled,
            width=self._width,
            columns=columns,
            stored=[self._stored.get(key, -1) for key in keys],
            reading=", ".join([*self._parts, *labels]),
            attempt=attempt,
        )

    def _batches(self) -> Iterator[Any]:
        size = max(_FEWEST, _BATCH // max(1, len(self._schema)))
        yield from self._frame.collect_batches(chunk_size=size, maintain_order=True)

    def _values(self, batch: Any, start: int) -> np.ndarray:
        """Return the stored columns of a batch, (rows, stored) float64."""
        import polars as pl

        text = cleaned(batch.select(key for key in self._stored if self._schema[key] == pl.String), self._config)
        numbers = batch.select(
            number(key, kind) for key, kind in self._schema.items() if key in self._stored and kind != pl.String
        )
        values = np.full((batch.height, self._width), np.nan)
        for key, position in self._stored.items():
            found = numbers[key] if self._schema[key] != pl.String else self._read_text(key, text[key], start)
            values[:, position] = np.nan if found is None else found.to_numpy()
        return values

    def _read_text(self, key: str, series: Any, start: int) -> Any:
        """Return the numbers of a column of text; None after a value that is none."""
        if key in self._wrong:
            return None
        found, wrong = self._styles.read_more(key, series, start)
        if wrong is not None:
            self._wrong[key] = wrong
        return found

    def _last_filled(self, batch: Any, start: int) -> int:
        """Return the index after the last row of a batch that has a value; 0 if none has."""
        import polars as pl

        if not batch.height or any(value is not None for value in batch.row(-1)):
            return start + batch.height
        filled = batch.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
        return start + filled[-1] + 1 if len(filled) else 0

    def _count_first(self, values: np.ndarray, start: int) -> None:
        """Find out whether the first column counts the rows, from 0 or 1."""
        if not self._first_counts or not self._stored or next(iter(self._schema)) not in self._stored:
            self._first_counts = set()
            return
        rows = np.arange(start, start + len(values))
        self._first_counts = {first for first in self._first_counts if np.array_equal(values[:, 0], rows + first)}

    def _describe(self) -> list[Column]:
        """Return the columns, as all rows have shown them."""
        columns, numeric = list[Column](), set(self._styles.numeric)
        for key, column in zip(self._schema, self._columns, strict=True):
            if key in self._wrong:
                columns.append(replace(self._wrong[key], name=column.name))
            else:
                columns.append(mark_index(self._styles.describe(column.name, key)) if key in numeric else column)
        if self._first_counts:
            columns[0] = mark_index(columns[0], np.arange(min(self._first_counts), 2))  # as if these were all rows
        return columns
