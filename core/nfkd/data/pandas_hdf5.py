"""DataFrames that pandas saved as HDF5, in its fixed or its table format, read without pandas and without pickles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from nfkd.data.array_tables import Stored, array_table, column_of_type, refuse_parts, stored_table
from nfkd.data.columns import Column, Table, refuse_wide
from nfkd.data.files import ConfigPath, list_names
from nfkd.data.hdf5 import array_names, open_array, open_hdf5

_MOST_BLOCKS = 1000
_OTHERWISE = "save it with to_parquet or to_csv"


def read_hdf5(file: ConfigPath, key: str) -> Table:
    """Return the table in an HDF5 file: a DataFrame of pandas, or an array.

    Raises
    ------
    DataError
        As `open_array`; or if pandas saved something else, or with text as column names that is pickled.
    """
    frames = _frames(file)
    name = key.strip("/") or (next(iter(frames)) if len(frames) == 1 else "")
    if not name and len(frames) > 1:
        replace(file, field="data.key").refuse(f"holds tables of pandas, {list_names(list(frames))}: name one of them")
    match frames.get(name):
        case None:
            return _read_array(file, key)
        case "frame_table":
            return _read_array(file, f"{name}/table")
        case "frame":
            return _read_fixed(file, name)
        case kind:
            return file.refuse(f"{name} is a {kind} of pandas, not a DataFrame: {_OTHERWISE}")


def _frames(file: ConfigPath) -> dict[str, str]:
    """Return the kinds of the groups that pandas made, by name."""
    found: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and "pandas_type" in item.attrs:
            kind = item.attrs["pandas_type"]
            found[name] = kind.decode("utf-8", "replace") if isinstance(kind, bytes) else str(kind)

    with open_hdf5(file) as content:
        content.visititems(visit)
    return found


def _read_array(file: ConfigPath, key: str) -> Table:
    if not key:
        refuse_parts(file, array_names(file))
    array = open_array(file, key)
    if array.shape is None:
        file.refuse(f"its array {array.name} is empty")
    return array_table(file, array, dict(array.attrs))


def _read_fixed(file: ConfigPath, name: str) -> Table:
    """Return a DataFrame in the fixed format: blocks of columns of one type, (rows, columns), and their names."""
    names = _labels(file, f"{name}/axis0")
    refuse_wide(file, len(names))
    with open_hdf5(file) as content:
        group = content[name]
        blocks = int(group.attrs.get("nblocks", 0)) if isinstance(group, h5py.Group) else 0
    stored: dict[str, Stored] = {}
    count = len(open_array(file, f"{name}/axis1"))
    for number in range(min(blocks, _MOST_BLOCKS)):
        items, values = _labels(file, f"{name}/block{number}_items"), open_array(file, f"{name}/block{number}_values")
        if values.dtype.kind == "O":  # pickled
            stored |= {label: Stored(Column(label, "holds text or objects"), values) for label in items}
            continue
        if values.shape != (count, len(items)):
            file.refuse(f"{name} has a block of the shape {values.shape} instead of {count} rows: {_OTHERWISE}")
        kind = values.attrs.get("value_type", b"")
        stored_as = kind.decode("utf-8", "replace") if isinstance(kind, bytes) else str(kind)
        if values.id.get_type().get_class() == h5py.h5t.BITFIELD:  # how PyTables stores booleans
            stored_as = "bool"
        for index, label in enumerate(items):
            stored[label] = Stored(column_of_type(label, values.dtype, stored_as), values, index=index)
    if set(names) != stored.keys():
        file.refuse(f"{name} lacks the values of a column, or has two of one name: {_OTHERWISE}")
    return stored_table(file, [stored[label] for label in names], count)


def _labels(file: ConfigPath, key: str) -> list[str]:
    array = open_array(file, key)
    if array.dtype.kind not in "SUiuf" or len(array.shape) != 1:
        file.refuse(f"{key} names its columns with Python objects, which are not read: {_OTHERWISE}")
    return [
        label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
        for label in np.asarray(array[:]).tolist()
    ]
