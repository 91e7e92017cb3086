"""The user's own split of a table: a column that names the part of each row, three files, or three arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.tables import TableConfig
from nfkd.data.arrays import npz_names
from nfkd.data.columns import Table
from nfkd.data.dataset import DataError
from nfkd.data.files import ConfigPath, list_names, named_file
from nfkd.data.hdf5 import array_names as hdf5_names
from nfkd.data.tables import read_table

PARTS = ("train", "validation", "test")
_NAMES = {
    "train": ("train", "training", "tr"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "te"),
}
_CODES = {"0": "train", "1": "validation", "2": "test"}
_KNOWN = {name: part for part, names in _NAMES.items() for name in names}
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class PartTable:
    """The table of a part, or of all rows, and the file that it is in; `name` is used in messages."""

    file: ConfigPath
    table: Table
    name: str


def part_of(text: str) -> str:
    """Return the part that a value names, such as ``val`` or ``1``; empty if it names none."""
    return _KNOWN.get(text.strip().lower(), _CODES.get(text.strip(), ""))


def open_parts(config: TableConfig, file: ConfigPath) -> dict[str, PartTable]:
    """Return the tables of a config by part; that of all rows as ``train``.

    Raises
    ------
    DataError
        If a file or an array of a part is missing, or cannot be read.
    """
    if config.split == "files":
        return _open_files(config, file)
    if config.split == "arrays":
        return _open_arrays(config, file)
    return {"train": PartTable(file, read_table(file, config), file.path.name)}


def _open_files(config: TableConfig, file: ConfigPath) -> dict[str, PartTable]:
    if not config.test_file.strip():
        message = "names nothing yet: name the file of the test part, or split in another way (data.split)"
        raise DataError([ConfigProblem("data.test_file", message)])
    files = {"train": file}
    if config.validation_file.strip():
        files["validation"] = named_file(config.validation_file, "data.validation_file")
    files["test"] = named_file(config.test_file, "data.test_file")
    return {part: PartTable(each, read_table(each, config), each.path.name) for part, each in files.items()}


def _open_arrays(config: TableConfig, file: ConfigPath) -> dict[str, PartTable]:
    names = array_names(file)
    given = {"train": config.key, "validation": config.validation_array, "test": config.test_array}
    fields = {"train": "data.key", "validation": "data.validation_array", "test": "data.test_array"}
    found: dict[str, PartTable] = {}
    for part, name in given.items():
        key = name or next(
            (each for each in names if part_of(each.rpartition("/")[2]) == part and not each.isdigit()), ""
        )
        if key:
            table = read_table(replace(file, field=fields[part]), config, key)
            found[part] = PartTable(replace(file, field=fields[part]), table, f"{file.path.name}, {key}")
        elif part != "validation":
            replace(file, field=fields[part]).refuse(f"has no array named {part}: name one of {list_names(names)}")
    return found


def array_names(file: ConfigPath) -> list[str]:
    """Return the names of the arrays in a .npz or HDF5 file; refuse others."""
    suffix = file.path.suffix.lower()
    with file.reading():
        if suffix in (".h5", ".hdf5"):
            return hdf5_names(file)
        if suffix == ".npz":
            return npz_names(file)
    return replace(file, field="data.split").refuse("has no named arrays: give a .npz or .h5 file, or another split")


def rows_of_parts(table: PartTable, index: int) -> dict[str, np.ndarray]:
    """Return the rows of each part, in order, by a column that names it.

    Raises
    ------
    DataError
        If a row names no part, or the training or test part is empty.
    """
    texts = table.table.texts(index)
    parts: dict[str | None, str] = {text: part_of(text or "") for text in set(texts)}
    for row, text in enumerate(texts):
        if not parts[text]:
            given = "nothing" if text is None else repr(text[:_SHOWN])
            message = (
                f"column {table.table.columns[index].name} has {given} in row {row + 1} (the first is 1), which names "
                "no part: write train, validation or test (or 0, 1, 2)"
            )
            raise DataError([ConfigProblem("data.part_column", message)])
    named = np.array([PARTS.index(parts[text]) for text in texts])
    rows = {part: np.flatnonzero(named == number) for number, part in enumerate(PARTS)}
    if empty := [part for part in ("train", "test") if not len(rows[part])]:
        message = f"column {table.table.columns[index].name} names no row {empty[0]}: each part needs some"
        raise DataError([ConfigProblem("data.part_column", message)])
    return {part: found for part, found in rows.items() if len(found)}


def describe_split(config: TableConfig, parts: Mapping[str, object]) -> str:
    """Return how the rows are split, for summaries; empty for a random split."""
    labels = {
        "order": "split in the order of the rows",
        "column": f"split by column {config.part_column}",
        "files": "split by files",
        "arrays": "split by arrays",
    }
    label = labels.get(config.split, "")
    return f"{label}, validation at random" if len(parts) == 2 else label
