"""Tables in files of every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest

from nfkd.config.data import TableConfig
from nfkd.data import DataError, Dataset, load_dataset

NAMES = ("px", "py", "energy", "eta", "w")
ROWS = 200
FORMATS = ["csv", "tsv", "parquet", "npy", "structured.npy", "h5", "compound.h5"]


def table(count: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(count, 5)) * [1, 10, 0.1, 5, 1] + [3, 0, 1e6, 2, 0.5]
    values[:, 1] += 3 * values[:, 0]
    return values


def write(path: Path, values: np.ndarray, names: tuple[str, ...] = NAMES) -> str:
    """Write a table in the format of the path's ending."""
    fields = np.array([tuple(row) for row in values], [(name, "f8") for name in names])
    if path.name.endswith((".csv", ".tsv")):
        delimiter = "," if path.suffix == ".csv" else "\t"
        np.savetxt(path, values, "%.17g", delimiter, header=delimiter.join(names), comments="")
    elif path.suffix == ".parquet":
        pl.DataFrame(dict(zip(names, values.T, strict=True))).write_parquet(path)
    elif path.suffix == ".npy":
        np.save(path, fields if "structured" in path.name else values)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("some/rows", data=fields if "compound" in path.name else values, chunks=True)
    return str(path)


def refusal(path: str, **options: Any) -> str:
    """Return the message of a table that is refused."""
    with pytest.raises(DataError) as refused:
        load_dataset(TableConfig(path=path, **options))
    return str(refused.value)


def joined(dataset: Dataset) -> np.ndarray:
    """Return all rows of a data set, sorted."""
    splits = (dataset.train, dataset.validation, dataset.test)
    rows = np.concatenate([split.values[:] for split in splits])
    return rows[np.lexsort(rows.T)]
