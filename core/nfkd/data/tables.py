"""Tables in files: CSV and TSV, Parquet, .npy and HDF5, each as columns of numbers.

CSV and Parquet are read whole: no row of theirs can be found without decoding those before it, so that random batches
want them in memory, and a second copy on the disk would have to be kept in step with the file. A table too large for
that is better saved as .npy or .h5, which are read where they lie.
"""

from __future__ import annotations

import csv
import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.data.arrays import open_npy
from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath, refuse_large
from nfkd.data.hdf5 import open_array
from nfkd.files import open_regular, require_regular
from nfkd.text import plain

_AS_NPY = "save it as .npy or .h5, which are read where they lie"
_WIDEST = 65_536  # columns
_LOOKED_AT = 1 << 20  # bytes at three places of a text file, by which its values are counted
_SAID = 200  # characters of what polars says, which may quote a whole file
_NOTHING = ["NA", "N/A", "n/a", "null", "NULL", "None", "?"]
"""What stands for a missing value in text, besides nothing at all and NaN."""
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
        From the file, or its number from 0 where it has none.
    trouble
        Why it cannot be read as numbers, such as ``holds dates``; empty where it can.
    mixed
        Whether there are numbers in it all the same: it may be meant as a column of numbers.
    """

    name: str
    trouble: str = ""
    mixed: bool = False


class Table(ABC):
    """A table of a file, read as far as its columns.

    Attributes
    ----------
    columns
        All of them, in the order of the file.
    """

    columns: tuple[Column, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def rows(self, chosen: Sequence[int]) -> Examples:
        """Return some columns, by their numbers, as (rows, columns) float64 with NaN for what is missing.

        They must hold numbers. What is not read whole comes as examples that are read when they are looked at.
        """


def read_table(place: ConfigPath, key: str = "") -> Table:
    """Open a table by the ending of its name.

    Parameters
    ----------
    place
        The file: ``.csv`` (commas), ``.tsv`` (tabs), ``.parquet``, ``.npy``, ``.h5`` or ``.hdf5``. The first row of
        a CSV or TSV file names its columns, unless it holds numbers alone.
    key
        The name of the array in an HDF5 file.

    Raises
    ------
    DataError
        When the file cannot be read as a table.
    """
    reader = _READERS.get(place.path.suffix.lower())
    if reader is None:
        place.refuse("is no table that can be read: give a .csv, .tsv, .parquet, .npy or .h5 file")
    with place.reading():
        if not require_regular(place.path).st_size:
            place.refuse("is empty")
        table = reader(place, key)
        refuse_large(place, 16 * len(table), "give fewer rows")  # marks and places of them, kept in memory
    names = [column.name for column in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        place.refuse(f"has several columns of the name {twice[0]!r}: give each its own")
    return table


# --- text and Parquet -------------------------------------------------------------------------------------------------


class _Frame(Table):
    """Columns in memory."""

    def __init__(self, names: Sequence[str], frame: Any) -> None:
        self._frame = frame
        read = [_read_column(name, series) for name, series in zip(names, frame.get_columns(), strict=True)]
        self.columns = tuple(column for column, _ in read)
        self._series = [series for _, series in read]

    def __len__(self) -> int:
        return self._frame.height

    def rows(self, chosen: Sequence[int]) -> np.ndarray:
        found = np.empty((len(self), len(chosen)))
        for place, number in enumerate(chosen):
            found[:, place] = self._series[number].fill_null(float("nan")).to_numpy()
        return found


def _read_column(name: str, series: Any) -> tuple[Column, Any]:
    """Return a column, and its numbers where it has any."""
    import polars as pl

    kind = series.dtype
    if kind.is_numeric():
        return Column(name), series.cast(pl.Float64)
    if kind == pl.String:
        numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
        strange = series.is_not_null() & numbers.is_null()
        if series.null_count() == len(series):
            return Column(name, "holds nothing"), None
        if not strange.any():
            return Column(name), numbers
        row = strange.arg_max()
        trouble = f"has {_short(series[row])} in row {row + 1} (the first is 1), which is no number"
        return Column(name, trouble, mixed=numbers.null_count() < len(series)), None
    return Column(name, _describe_polars_type(kind)), None


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:29]}…")


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


def _read_text(place: ConfigPath, delimiter: str) -> Table:
    import polars as pl

    path = place.path
    options: dict[str, Any] = {"separator": delimiter, "encoding": "utf8-lossy", "glob": False}
    refuse_large(place, _text_size(place, delimiter), _AS_NPY)
    with _polars(place, lambda error: _describe_text_error(path, delimiter, error)):
        first = pl.read_csv(path, has_header=False, infer_schema=False, n_rows=1, **options).row(0)
        header = any(value is None or not _is_number(value) for value in first)
        names = [value or str(n) for n, value in enumerate(first)] if header else [str(n) for n in range(len(first))]
        frame = pl.read_csv(
            path,
            has_header=header,
            new_columns=[str(n) for n in range(len(first))],
            infer_schema_length=None,
            null_values=_NOTHING,
            **options,
        )
        filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
        frame = frame.head(filled[-1] + 1 if len(filled) else 0)  # empty lines at the end
        return _Frame(names, frame)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text in _NOTHING
    return True


def _describe_text_error(path: Path, delimiter: str, error: BaseException) -> str:
    """Return what is wrong with a text file: the first row of another length, or else what polars says."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            width = len(next(rows))
            for row in rows:
                if len(row) > width:
                    return f"has {len(row)} values in line {rows.line_num}, but {width} in its first"
    except (OSError, StopIteration, csv.Error):
        pass
    return f"cannot be read as a table: {_words(error)}"


def _read_parquet(place: ConfigPath, _key: str) -> Table:
    import polars as pl

    with _polars(place, lambda error: f"is no whole Parquet file: {_words(error)}"):
        lazy = pl.scan_parquet(place.path, glob=False, hive_partitioning=False)
        schema = lazy.collect_schema()
        _refuse_wide(place, len(schema))
        refuse_large(place, 8 * len(schema) * lazy.select(pl.len()).collect().item(), _AS_NPY)
        # A kilobyte of packed text or lists may stand for any amount: texts are measured first, and lists not read.
        lengths = [
            pl.col(name).str.len_bytes().cast(pl.UInt64).sum() for name, kind in schema.items() if kind == pl.String
        ]
        if lengths:
            refuse_large(place, sum(lazy.select(lengths).collect().row(0)), _AS_NPY)
        left_out = {name for name, kind in schema.items() if kind.is_nested() or kind == pl.Binary}
        frame = lazy.select(
            pl.lit(None, kind).alias(name) if name in left_out else pl.col(name) for name, kind in schema.items()
        ).collect()
        return _Frame(frame.columns, frame)


def _refuse_wide(place: ConfigPath, columns: int) -> None:
    if columns > _WIDEST:
        place.refuse(f"has more than {_WIDEST:,} columns: give a file with fewer")


def _text_size(place: ConfigPath, delimiter: str) -> int:
    """Return about how many bytes the values of a text file take as numbers: 8 each, at least the file's own size."""
    with open_regular(place.path) as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(_LOOKED_AT)
        _refuse_wide(place, first.partition(b"\n")[0].count(delimiter.encode()) + 1)
        pieces = [first]
        for start in (size // 2, size - _LOOKED_AT):
            if start >= _LOOKED_AT:
                file.seek(start)
                pieces.append(file.read(_LOOKED_AT))
    ends = sum(piece.count(delimiter.encode()) + piece.count(b"\n") for piece in pieces)
    return max(size, 8 * ends * size // max(1, sum(map(len, pieces))))


@contextmanager
def _polars(place: ConfigPath, words: Callable[[BaseException], str]) -> Iterator[None]:
    """Turn what polars raises into a `DataError`; a panic of its own is no `Exception`."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        place.refuse(words(error))


def _words(error: BaseException) -> str:
    return plain(re.sub(r"\s+", " ", str(error).partition("\n")[0]), _SAID) or type(error).__name__


# --- arrays -----------------------------------------------------------------------------------------------------------


class _Stored(Table):
    """An array of a file that is read where it lies: of two dimensions, or of one with named fields."""

    def __init__(self, place: ConfigPath, array: Any) -> None:
        self._place, self._array = place, array
        fields, dimensions = array.dtype.names, len(array.shape)
        if fields is None and dimensions != 2:
            shape = "×".join(map(str, array.shape)) or "a single value"
            place.refuse(f"has the shape {shape}: a table has rows and columns")
        if fields is not None and dimensions != 1:
            place.refuse(f"has named fields and {dimensions} dimensions: it should have one")
        if fields is None:
            trouble = _dtype_label(array.dtype)
            _refuse_wide(place, array.shape[1])
            self.columns = tuple(Column(str(number), trouble) for number in range(array.shape[1]))
        else:
            self.columns = tuple(Column(name, _dtype_label(array.dtype[name])) for name in fields)

    def __len__(self) -> int:
        return self._array.shape[0]

    def rows(self, chosen: Sequence[int]) -> Examples:
        fields = None if self._array.dtype.names is None else [self.columns[number].name for number in chosen]
        return _Columns(self._place, self._array, list(chosen), fields)


class _Columns:
    """Some columns of a stored array, as examples of float64."""

    def __init__(self, place: ConfigPath, array: Any, chosen: list[int], fields: list[str] | None) -> None:
        self._place, self._array, self._chosen, self._fields = place, array, chosen, fields

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._array.shape[0], len(self._chosen))

    def __len__(self) -> int:
        return self._array.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._place.reading():
            found = np.asarray(self._array[index])
        if self._fields is None:
            return found[:, self._chosen].astype(np.float64)
        return np.stack([found[name].astype(np.float64) for name in self._fields], axis=1)


def _dtype_label(dtype: np.dtype) -> str:
    if dtype.shape:
        return "holds arrays"
    return "" if dtype.kind in "fiu" else _DTYPES.get(dtype.kind, "holds no numbers")


def _read_npy(place: ConfigPath, _key: str) -> Table:
    return _Stored(place, open_npy(place))


def _read_hdf5(place: ConfigPath, key: str) -> Table:
    array = open_array(place.path, key)
    if array.shape is None:
        place.refuse(f"its array {array.name} is empty")
    return _Stored(place, array)


_READERS: dict[str, Callable[[ConfigPath, str], Table]] = {
    ".csv": lambda place, _key: _read_text(place, ","),
    ".tsv": lambda place, _key: _read_text(place, "\t"),
    ".parquet": _read_parquet,
    ".npy": _read_npy,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}


def near(name: str, columns: Sequence[Column]) -> str:
    """Return the names of the columns that are like one that is not there, or the first few, for a message."""
    from difflib import get_close_matches

    names = [column.name for column in columns]
    found = get_close_matches(name, names, 3, 0.5)
    if found:
        return f"did you mean {' or '.join(found)}?"
    return f"there are {', '.join(islice(names, 8))}{' …' if len(names) > 8 else ''}"
