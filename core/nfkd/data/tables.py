"""Tables in files of every kind, as columns of numbers.

A table is read whole into memory. One that is too large for that stays on disk (`data.storage`): a row of most files
cannot be found without decoding those before it, so the numbers are first copied to an index (`index_cache.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nfkd.config.tables import TableConfig
from nfkd.data.array_index import array_index, direct_index
from nfkd.data.array_tables import array_table, refuse_parts
from nfkd.data.arrays import npz_names, open_array, open_npy
from nfkd.data.columns import Table, polars_errors, refuse_repeated, refuse_wide
from nfkd.data.disk_rows import FileRows
from nfkd.data.files import ConfigPath, is_kept_on_disk, list_names, refuse_large
from nfkd.data.frame_index import frame_index
from nfkd.data.frame_tables import frame_table
from nfkd.data.header import count_titles, count_units, is_header, skipped_rows
from nfkd.data.pandas_hdf5 import read_hdf5
from nfkd.data.text_tables import ON_DISK, read_text
from nfkd.data.unpacking import refuse_inflated
from nfkd.files import require_regular

_HEAD_ROWS = 200
_PACKED = 100  # times the size of a file: more text is suspicious
_DEFAULT = TableConfig()


def read_table(file: ConfigPath, config: TableConfig = _DEFAULT, key: str | None = None) -> Table:
    """Open a table by its suffix.

    Parameters
    ----------
    file
        The file: text (``.csv``, ``.tsv``, ``.txt``, ``.dat``, ``.data``, also as ``.gz`` or ``.zip``), ``.parquet``,
        ``.feather``, ``.xlsx``, ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``.
    config
        How text is read; what is not set is detected.
    key
        The name of the array or sheet; that of the config by default.

    Raises
    ------
    DataError
        If the file cannot be read as a table.
    """
    reader = _READERS.get(file.path.suffix.lower())
    if reader is None:
        file.refuse(f"is not a table that can be read: give one of {', '.join(_READERS)}")
    with file.reading():
        if not require_regular(file.path).st_size:
            file.refuse("is empty")
        table = reader(file, config, config.key if key is None else key)
        refuse_large(file, 16 * table.count, "give fewer rows")  # for the mask and indices of the rows
    refuse_repeated(file, table)
    return table


def _read_parquet(file: ConfigPath, config: TableConfig, _key: str) -> Table:
    import polars as pl

    with polars_errors(lambda: file.refuse("is not a complete Parquet file: get it again")):
        return _read_lazy(file, config, pl.scan_parquet(file.path, glob=False, hive_partitioning=False))


def _read_feather(file: ConfigPath, config: TableConfig, _key: str) -> Table:
    import polars as pl

    with polars_errors(lambda: file.refuse("is not a complete Feather file of version 2: save it again")):
        return _read_lazy(file, config, pl.scan_ipc(file.path, glob=False, hive_partitioning=False))


def _read_lazy(file: ConfigPath, config: TableConfig, lazy: Any) -> Table:
    import polars as pl

    schema = lazy.collect_schema()
    refuse_wide(file, len(schema))
    size = 8 * len(schema) * lazy.select(pl.len()).collect().item()
    # A kilobyte of compressed text or lists may stand for any amount: text is measured first, lists are not read.
    lengths = [pl.col(name).str.len_bytes().cast(pl.UInt64).sum() for name, kind in schema.items() if kind == pl.String]
    text = sum(lazy.select(lengths).collect().row(0)) if lengths else 0
    columns = [
        pl.lit(None, kind).alias(name) if kind.is_nested() or kind == pl.Binary else pl.col(name)
        for name, kind in schema.items()
    ]
    chosen = lazy.select(columns)
    if text > _PACKED * file.path.stat().st_size:  # reading it in batches does not help: a batch may hold most of it
        refuse_large(file, text, "save its columns of numbers alone")
    if size and is_kept_on_disk(config.storage, max(size, text)):
        return frame_index(file, schema.names(), [lambda: chosen], config, size)
    refuse_large(file, max(size, text), ON_DISK)
    frame = chosen.collect()
    return frame_table(frame.columns, frame, config)


def _read_sheet(file: ConfigPath, config: TableConfig, key: str) -> Table:
    """Return a sheet of an Excel file; of formulas their stored values, and links are not followed."""
    import fastexcel
    import polars as pl

    refuse_inflated(file)
    try:
        book = fastexcel.read_excel(file.path)
        if key and key not in book.sheet_names:
            replace(file, field="data.key").refuse(f"has no sheet {key!r}: there is {list_names(book.sheet_names)}")
        size = book.load_sheet(key or 0, header_row=None, n_rows=0)
        refuse_wide(file, size.width)
        refuse_large(file, 16 * size.total_height * size.width, "save it as .csv or .parquet")
        head = book.load_sheet(key or 0, header_row=None, n_rows=_HEAD_ROWS, dtypes="string").to_polars()
        titles, header, units = _rows_above(
            [["" if cell is None else cell for cell in row] for row in head.rows()], config
        )
        sheet = book.load_sheet(
            key or 0,
            header_row=titles if header else None,
            skip_rows=units if header else titles,
            schema_sample_rows=None,
        )
    except fastexcel.FastExcelError:
        file.refuse("is not a complete Excel file (.xlsx), or needs a password: save it again")
    with polars_errors(lambda: file.refuse("is not a table that can be read: save it as .csv")):
        frame = pl.DataFrame(sheet.to_polars())
        parts = [f"sheet {key or book.sheet_names[0]}", *skipped_rows(titles, units)]
        return frame_table(_names(frame), frame, config, parts=parts)


def _rows_above(rows: Sequence[Sequence[str]], config: TableConfig) -> tuple[int, bool, int]:
    """Return the number of titles in the first rows of a sheet, whether a header follows, and the rows of units."""
    titles = count_titles(rows)
    header = bool(rows) and (is_header(rows[titles:]) if config.header == "auto" else config.header == "yes")
    return titles, header, count_units(rows[titles + 1 :]) if header else 0


def _read_npy(file: ConfigPath, config: TableConfig, _key: str) -> Table:
    array = open_npy(file)
    if array.flags.c_contiguous and is_kept_on_disk(config.storage, 8 * array.size):
        rows = FileRows(file, array.dtype, array.shape, array.offset, watched=True)  # type: ignore[attr-defined]
        return direct_index(file, array_table(file, rows))
    return _kept(file, config, "", array_table(file, array))


def _read_npz(file: ConfigPath, config: TableConfig, key: str) -> Table:
    if not key:
        refuse_parts(file, npz_names(file))
    return _kept(file, config, key, array_table(file, open_array(file, key, "data.key")))


def _kept(file: ConfigPath, config: TableConfig, key: str, table: Table) -> Table:
    """Return the table of an array in memory or on disk."""
    size = 8 * table.count * len(table.columns)
    if table.count and is_kept_on_disk(config.storage, size):
        return array_index(file, key, table, size)
    refuse_large(file, size, ON_DISK)
    return table


def _names(frame: Any) -> list[str]:
    return ["" if name.startswith("__UNNAMED__") else name.strip() for name in frame.columns]


_TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".gz", ".zip")
_READERS: dict[str, Callable[[ConfigPath, TableConfig, str], Table]] = {
    **dict.fromkeys(_TEXT, lambda file, config, _key: read_text(file, config)),
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".xlsx": _read_sheet,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".h5": lambda file, config, key: _kept(file, config, key, read_hdf5(file, key)),
    ".hdf5": lambda file, config, key: _kept(file, config, key, read_hdf5(file, key)),
}
