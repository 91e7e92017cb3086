"""Indexes of tables in arrays: HDF5, .npz, and .npy files whose rows are not one after the other."""

from __future__ import annotations

from dataclasses import replace

from nfkd.data.column_statistics import chunks_of
from nfkd.data.columns import Table
from nfkd.data.files import ConfigPath
from nfkd.data.frame_index import index_table
from nfkd.data.index_cache import Header, RowWriter, folder_of, open_index


def array_index(file: ConfigPath, key: str, table: Table, needed: int) -> Table:
    """Return a table of stored columns whose rows are in an index.

    Parameters
    ----------
    key
        The name of the array; empty if the file has only one.
    table
        The table as it is stored.
    needed
        Bytes of the values in float64.

    Raises
    ------
    DataError
        As `open_index`.
    """
    numbers = [index for index, column in enumerate(table.columns) if not column.problem]
    if not numbers:
        return table
    positions = {index: position for position, index in enumerate(numbers)}

    def build(writer: RowWriter) -> Header:
        for _, chunk in chunks_of(table.rows(numbers)):
            writer.write(chunk)
        return Header(
            source=str(file.path),
            count=table.count,
            width=len(numbers),
            columns=list(table.columns),
            stored=[positions.get(index, -1) for index in range(len(table.columns))],
        )

    return index_table(open_index(file, ["array", key], needed, build), table.texts)


def direct_index(file: ConfigPath, table: Table) -> Table:
    """Return a table whose file can be read on access as it is; only results are kept beside an index."""
    return replace(table, folder=folder_of(file.path, ["direct"]))
