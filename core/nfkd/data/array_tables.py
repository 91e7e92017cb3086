"""Tables in arrays: .npy, .npz and HDF5."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.columns import (
    AS_CODES,
    AS_DAYS,
    PANDAS_INDEX,
    TRUE_FALSE,
    Column,
    Table,
    as_text,
    mark_index,
    refuse_wide,
)
from nfkd.data.dataset import DataError
from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath, list_names, refuse_large

_DTYPES = {
    "c": "holds complex numbers",
    "m": "holds durations",
    "S": "holds text",
    "U": "holds text",
    "O": "holds text or objects",
}
_LONGEST_PICKLE = 1 << 20  # bytes
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_LISTING = {"PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "PUT", "BINPUT", "MEMOIZE", "STOP"}


@dataclass(frozen=True)
class Stored:
    """A column in an array: of its field, if it has fields, and at an index of the last axis, if that is an axis."""

    column: Column
    array: Any
    field: str = ""
    index: int | None = None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the values of the column from rows of its array, (rows,)."""
        values = rows[self.field] if self.field else rows
        return values if self.index is None else values[:, self.index]


def refuse_parts(file: ConfigPath, names: Sequence[str]) -> None:
    """Refuse arrays that are the parts of one data set, such as *train* and *test*: they are to be used as parts."""
    if {"train", "test"} <= {name.rpartition("/")[2].lower() for name in names}:
        hint = 'use them as parts (data.split = "arrays"), or name one of them (data.key)'
        message = f"{file.path}: holds {list_names(names)}: {hint}"
        raise DataError([ConfigProblem("data.split", message, "arrays")])


def array_table(file: ConfigPath, array: Any, kinds: Mapping[str, Any] | None = None) -> Table:
    """Return a stored array as a table: two dimensions, or one with named fields.

    Parameters
    ----------
    file
        The file.
    array
        An array, a memory map or an HDF5 dataset.
    kinds
        Attributes of the dataset, in which pandas names the columns of a field.
    """
    fields, dimensions = array.dtype.names, len(array.shape)
    if fields is not None and dimensions != 1:
        file.refuse(f"has named fields and {dimensions} dimensions: it should have one")
    if fields is None and dimensions != 2:
        shape = "×".join(map(str, array.shape)) or "a single value"
        file.refuse(f"has the shape {shape}: a table has rows and columns")
    refuse_wide(file, array.shape[1] if fields is None else sum(_width(array.dtype[name]) for name in fields))
    if fields is None:
        stored = [
            Stored(column_of_type(str(index), array.dtype), array, index=index) for index in range(array.shape[1])
        ]
    else:
        stored = [column for name in fields for column in _field(array, name, kinds or {})]
    return stored_table(file, stored, array.shape[0])


def stored_table(file: ConfigPath, stored: Sequence[Stored], count: int) -> Table:
    """Return the table of some stored columns of `count` rows."""

    def texts(index: int) -> list[str | None]:
        refuse_large(file, 64 * count, "give fewer rows")
        with file.reading():
            values = stored[index].take(np.asarray(stored[index].array[:])).tolist()
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else as_text(value) for value in values]

    def rows(indices: Sequence[int]) -> Examples:
        return _StoredRows(file, [stored[index] for index in indices], count)

    return Table(tuple(each.column for each in stored), count, rows, texts)


class _StoredRows:
    """Some stored columns, as examples of float64."""

    def __init__(self, file: ConfigPath, columns: Sequence[Stored], count: int) -> None:
        self._file, self._columns = file, columns
        self.shape = (count, len(columns))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        arrays = {id(column.array): column.array for column in self._columns}
        with self._file.reading():
            read = {key: np.asarray(array[index]) for key, array in arrays.items()}
        plain = [column.index for column in self._columns if not column.field and column.index is not None]
        if len(read) == 1 and len(plain) == len(self._columns):
            rows: Any = next(iter(read.values()))
            return rows[:, plain].astype(np.float64)
        values = [column.take(read[id(column.array)]).astype(np.float64) for column in self._columns]
        return np.stack(values, axis=1)


def _width(dtype: np.dtype) -> int:
    return dtype.shape[0] if len(dtype.shape) == 1 else 1


def _field(array: Any, field: str, kinds: Mapping[str, Any]) -> Iterator[Stored]:
    """Yield the columns of a field: several if it holds an array, as the blocks of pandas do."""
    dtype, is_pandas = array.dtype[field], any(name.startswith("values_block_") for name in array.dtype.names)
    stored_as = _text(kinds.get(f"{field}_dtype"))
    if field == "index" and (is_pandas or "index_kind" in kinds):
        column = replace(column_of_type(field, dtype), optional=PANDAS_INDEX)
        yield Stored(column, array, field)
        return
    names = names_in_pickle(kinds.get(f"{field}_kind"))
    if len(dtype.shape) != 1:
        name = names[0] if len(names) == 1 else field
        yield Stored(mark_index(column_of_type(name, dtype, stored_as)), array, field)
        return
    names = names if len(names) == dtype.shape[0] else [f"{field}[{index}]" for index in range(dtype.shape[0])]
    for index, name in enumerate(names):
        yield Stored(column_of_type(name, dtype.base, stored_as), array, field, index)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def column_of_type(name: str, dtype: np.dtype, stored_as: str = "") -> Column:
    """Return a column with values of a type.

    Parameters
    ----------
    stored_as
        The type that pandas keeps beside the values, such as ``datetime64[ns]``; may be empty.
    """
    if dtype.shape:
        return Column(name, "holds arrays")
    if dtype.kind == "b" or stored_as == "bool":
        return Column(name, optional=TRUE_FALSE)
    if dtype.kind == "M" or stored_as.startswith(("datetime", "timedelta")):
        return Column(name, "holds dates", advice=AS_DAYS)
    if dtype.kind in "fiu":
        return Column(name)
    return Column(name, _DTYPES.get(dtype.kind, "holds no numbers"), advice=AS_CODES if dtype.kind in "SUO" else "")


def names_in_pickle(content: Any) -> list[str]:
    """Return the texts of a pickled list, which is taken apart but not loaded; empty if it holds anything else."""
    if not isinstance(content, bytes) or len(content) > _LONGEST_PICKLE:
        return []
    found = []
    try:
        for operation, argument, _ in pickletools.genops(content):
            if operation.name in _LISTING:
                continue
            if operation.name not in _TEXTS:
                return []
            found.append(str(argument))
    except (ValueError, IndexError):  # not a pickle
        return []
    return found
