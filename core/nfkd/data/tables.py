"""Tables in CSV, TSV, Parquet, .npy and HDF5 files, as columns of numbers.

CSV and Parquet are read whole, since a row cannot be found without decoding those before it. A table too large for
memory is better saved as .npy or .h5, which are read on access.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nfkd.data.arrays import open_npy
from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath, list_names, refuse_large
from nfkd.data.hdf5 import open_array
from nfkd.files import open_regular, require_regular

_AS_NPY = "save it as .npy or .h5, which are read on access"
_MOST_COLUMNS = 65_536
_SAMPLED = 1 << 20  # bytes at three positions of a text file, from which the number of values is estimated
_MISSING = ["NA", "N/A", "n/a", "null", "NULL", "None", "?"]
"""Text that stands for a missing value, besides empty text and NaN."""
_DTYPES = {
    "b": "holds true and false",
    "c": "holds complex numbers",
    "M": "holds dates",
    "m": "holds durations",
    "S": "holds text",
    "U": "holds text",
    "O": "holds text or objects",
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        From the file; its index if it has none.
    problem
        Why it cannot be read as numbers, such as ``holds dates``; empty if it can.
    mixed
        Whether it holds some numbers in spite of a problem, and may be meant as a column of numbers.
    """

    name: str
    problem: str = ""
    mixed: bool = False


@dataclass(frozen=True)
class Table:
    """A table in a file.

    Attributes
    ----------
    columns
        All columns, in the order of the file.
    count
        Number of rows.
    rows
        Returns the columns with these indices, which must hold numbers, as (rows, columns) float64 with NaN for
        missing values. If the file is not read whole, their values are read on access.
    """

    columns: tuple[Column, ...]
    count: int
    rows: Callable[[Sequence[int]], Examples]


def read_table(file: ConfigPath, key: str = "") -> Table:
    """Open a table by its suffix.

    Parameters
    ----------
    file
        The file: ``.csv`` (commas), ``.tsv`` (tabs), ``.parquet``, ``.npy``, ``.h5`` or ``.hdf5``. The first row of
        a CSV or TSV file names its columns, unless it holds only numbers.
    key
        The name of the array in an HDF5 file.

    Raises
    ------
    DataError
        If the file cannot be read as a table.
    """
    reader = _READERS.get(file.path.suffix.lower())
    if reader is None:
        file.refuse("is not a table that can be read: give a .csv, .tsv, .parquet, .npy or .h5 file")
    with file.reading():
        if not require_regular(file.path).st_size:
            file.refuse("is empty")
        table = reader(file, key)
        refuse_large(file, 16 * table.count, "give fewer rows")  # for the mask and indices of the rows
    names = [column.name for column in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        file.refuse(f"has several columns of the name {twice[0]!r}: give each its own")
    return table


def _refuse_wide(file: ConfigPath, columns: int) -> None:
    if columns > _MOST_COLUMNS:
        file.refuse(f"has more than {_MOST_COLUMNS:,} columns: give a file with fewer")


# --- text and Parquet -------------------------------------------------------------------------------------------------


def _frame_table(names: Sequence[str], frame: Any) -> Table:
    read = [_read_column(name, series) for name, series in zip(names, frame.get_columns(), strict=True)]

    def rows(indices: Sequence[int]) -> np.ndarray:
        found = np.empty((frame.height, len(indices)))
        for position, index in enumerate(indices):
            found[:, position] = read[index][1].fill_null(float("nan")).to_numpy()
        return found

    return Table(tuple(column for column, _ in read), frame.height, rows)


def _read_column(name: str, series: Any) -> tuple[Column, Any]:
    """Return a column, and its numbers if it has any."""
    import polars as pl

    kind = series.dtype
    if kind.is_numeric():
        return Column(name), series.cast(pl.Float64)
    if kind != pl.String:
        return Column(name, _describe_polars_type(kind)), None
    if series.null_count() == len(series):
        return Column(name, "holds nothing"), None
    numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
    wrong = series.is_not_null() & numbers.is_null()
    if not wrong.any():
        return Column(name), numbers
    row = wrong.arg_max()
    text = series[row] if len(series[row]) <= 30 else f"{series[row][:29]}…"
    problem = f"has {text!r} in row {row + 1} (the first is 1), which is not a number"
    return Column(name, problem, mixed=numbers.null_count() < len(series)), None


def _describe_polars_type(kind: Any) -> str:
    import polars as pl

    if kind == pl.Boolean:
        return "holds true and false"
    if kind in (pl.Categorical, pl.Enum):
        return "holds categories"
    if kind.is_temporal():
        return "holds dates or times"
    if kind == pl.Null:
        return "holds nothing"
    return "holds lists" if kind.is_nested() else "holds no numbers"


def _read_text(file: ConfigPath, separator: str) -> Table:
    import polars as pl

    options: dict[str, Any] = {"separator": separator, "encoding": "utf8-lossy", "glob": False}
    refuse_large(file, _text_size(file, separator), _AS_NPY)
    with _polars(lambda: file.refuse(_describe_text_problem(file, separator))):
        first = pl.read_csv(file.path, has_header=False, infer_schema=False, n_rows=1, **options).row(0)
        header = any(value is None or not _is_number(value) for value in first)
        indices = [str(index) for index in range(len(first))]
        names = [value or index for value, index in zip(first, indices, strict=True)] if header else indices
        frame = pl.read_csv(
            file.path,
            has_header=header,
            new_columns=indices,
            infer_schema_length=None,
            null_values=_MISSING,
            **options,
        )
        filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
        return _frame_table(names, frame.head(filled[-1] + 1 if len(filled) else 0))  # without empty lines at the end


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text in _MISSING
    return True


def _text_size(file: ConfigPath, separator: str) -> int:
    """Estimate the bytes that the values of a text file take as numbers: 8 each, at least the file's own size."""
    with open_regular(file.path) as content:
        size = os.fstat(content.fileno()).st_size
        first = content.read(_SAMPLED)
        _refuse_wide(file, first.partition(b"\n")[0].count(separator.encode()) + 1)
        samples = [first]
        for start in (size // 2, size - _SAMPLED):
            if start >= _SAMPLED:
                content.seek(start)
                samples.append(content.read(_SAMPLED))
    ends = sum(sample.count(separator.encode()) + sample.count(b"\n") for sample in samples)
    return max(size, 8 * ends * size // max(1, sum(map(len, samples))))


def _describe_text_problem(file: ConfigPath, separator: str) -> str:
    """Return what is wrong with a text file: the first line that is longer than the header, if there is one."""
    try:
        with io.TextIOWrapper(open_regular(file.path), encoding="utf-8", errors="replace", newline="") as content:
            rows = csv.reader(content, delimiter=separator)
            width = len(next(rows))
            for row in rows:
                if len(row) > width:
                    return f"has {len(row)} values in line {rows.line_num}, but {width} in its first"
    except (OSError, StopIteration, csv.Error):
        pass
    return "cannot be read as a table: it needs lines of values, with every quote closed"


def _read_parquet(file: ConfigPath, _key: str) -> Table:
    import polars as pl

    with _polars(lambda: file.refuse("is not a complete Parquet file: get it again")):
        lazy = pl.scan_parquet(file.path, glob=False, hive_partitioning=False)
        schema = lazy.collect_schema()
        _refuse_wide(file, len(schema))
        refuse_large(file, 8 * len(schema) * lazy.select(pl.len()).collect().item(), _AS_NPY)
        # A kilobyte of compressed text or lists may stand for any amount: text is measured first, lists are not read.
        lengths = [
            pl.col(name).str.len_bytes().cast(pl.UInt64).sum() for name, kind in schema.items() if kind == pl.String
        ]
        if lengths:
            refuse_large(file, sum(lazy.select(lengths).collect().row(0)), _AS_NPY)
        columns = [
            pl.lit(None, kind).alias(name) if kind.is_nested() or kind == pl.Binary else pl.col(name)
            for name, kind in schema.items()
        ]
        frame = lazy.select(columns).collect()
        return _frame_table(frame.columns, frame)


@contextmanager
def _polars(refuse: Callable[[], Any]) -> Iterator[None]:
    """Call `refuse` for an error of polars; a panic of it is no `Exception`."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        refuse()


# --- arrays -----------------------------------------------------------------------------------------------------------


def _array_table(file: ConfigPath, array: Any) -> Table:
    """Return a stored array as a table: two dimensions, or one with named fields."""
    fields, dimensions = array.dtype.names, len(array.shape)
    if fields is not None and dimensions != 1:
        file.refuse(f"has named fields and {dimensions} dimensions: it should have one")
    if fields is None and dimensions != 2:
        shape = "×".join(map(str, array.shape)) or "a single value"
        file.refuse(f"has the shape {shape}: a table has rows and columns")
    _refuse_wide(file, array.shape[1] if fields is None else len(fields))
    if fields is None:
        problem = _dtype_problem(array.dtype)
        columns = tuple(Column(str(index), problem) for index in range(array.shape[1]))
    else:
        columns = tuple(Column(name, _dtype_problem(array.dtype[name])) for name in fields)
    return Table(columns, array.shape[0], lambda indices: _ArrayColumns(file, array, list(indices)))


class _ArrayColumns:
    """Some columns of a stored array, as examples of float64."""

    def __init__(self, file: ConfigPath, array: Any, indices: list[int]) -> None:
        self._file, self._array, self._indices = file, array, indices
        self.shape = (array.shape[0], len(indices))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._file.reading():
            rows = np.asarray(self._array[index])
        names = rows.dtype.names
        if names is None:
            return rows[:, self._indices].astype(np.float64)
        return np.stack([rows[names[column]].astype(np.float64) for column in self._indices], axis=1)


def _dtype_problem(dtype: np.dtype) -> str:
    if dtype.shape:
        return "holds arrays"
    return "" if dtype.kind in "fiu" else _DTYPES.get(dtype.kind, "holds no numbers")


def _read_hdf5(file: ConfigPath, key: str) -> Table:
    array = open_array(file, key)
    if array.shape is None:
        file.refuse(f"its array {array.name} is empty")
    return _array_table(file, array)


_READERS: dict[str, Callable[[ConfigPath, str], Table]] = {
    ".csv": lambda file, _key: _read_text(file, ","),
    ".tsv": lambda file, _key: _read_text(file, "\t"),
    ".parquet": _read_parquet,
    ".npy": lambda file, _key: _array_table(file, open_npy(file)),
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}


def suggest_columns(name: str, columns: Sequence[Column]) -> str:
    """Return the columns with names similar to one that does not exist, or else the first few, for a message."""
    from difflib import get_close_matches

    names = [column.name for column in columns]
    similar = get_close_matches(name, names, 3, 0.5)
    return f"did you mean {' or '.join(similar)}?" if similar else f"there are {list_names(names)}"
