"""The user's own split of a table: by a column, by files, by arrays, or in the order of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest

from nfkd.config.tables import TableConfig
from nfkd.data import Dataset, load_dataset
from nfkd.data.fingerprint import differences
from tests.core.data.table_files import refusal

ROWS = np.random.default_rng(0).normal(size=(100, 2))
PARTS = {"train": ROWS[:60], "validation": ROWS[60:80], "test": ROWS[80:]}


def assert_parts(dataset: Dataset) -> None:
    for part, rows in PARTS.items():
        np.testing.assert_array_equal(getattr(dataset, part).values, rows.astype(np.float32))


def load(path: Path, **options: Any) -> Dataset:
    return load_dataset(TableConfig(path=str(path), scaling="none", **options))


@pytest.mark.parametrize("names", [("train", "val", "test"), (" Training", "VALID", "testing "), (0, 1, 2)])
def test_a_column_names_the_part(tmp_path: Path, names: tuple[Any, ...]) -> None:
    parts = [names[0]] * 60 + [names[1]] * 20 + [names[2]] * 20
    frame = pl.DataFrame({"x": ROWS[:, 0], "part": parts, "y": ROWS[:, 1]})
    shuffled = np.random.default_rng(1).permutation(100)
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        dataset = load(tmp_path / name, split="column", part_column="part")
        assert_parts(dataset)
        assert dataset.columns == ("x", "y")
        assert "split by column part" in dataset.summary
    frame[shuffled].write_csv(tmp_path / "s.csv")
    dataset = load(tmp_path / "s.csv", split="column", part_column="part")
    for part, rows in PARTS.items():
        assert set(map(tuple, getattr(dataset, part).values)) == set(map(tuple, rows.astype(np.float32)))


def test_rows_are_dropped_within_their_part(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": ROWS[:, 0], "y": ROWS[:, 1], "part": ["train"] * 60 + ["val"] * 20 + ["test"] * 20})
    frame = frame.with_columns(x=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("x")))
    frame.write_csv(tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv", split="column", part_column="part", missing="drop")
    kept = np.arange(100) % 10 != 0
    np.testing.assert_array_equal(dataset.test.values, ROWS[80:][kept[80:]].astype(np.float32))
    assert len(dataset.train) == 54


def test_problems_with_the_column_of_parts(tmp_path: Path) -> None:
    def refused(parts: list[Any], column: str = "part") -> str:
        pl.DataFrame({"x": ROWS[:, 0], "part": parts}).write_csv(tmp_path / "t.csv")
        return refusal(str(tmp_path / "t.csv"), split="column", part_column=column)

    three = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    assert "column part has 'holdout' in row 81" in refused([*three[:80], "holdout", *three[81:]])
    assert "column part has nothing in row 100" in refused([*three[:99], None])
    assert "names no row test" in refused(["train"] * 60 + ["val"] * 40)
    assert "the test part has only 3 complete rows" in refused(["train"] * 60 + ["val"] * 37 + ["test"] * 3)
    assert "data.part_column: " in refused(three, "pat")
    assert "data.part_column: names nothing yet" in refused(three, "")


def test_without_a_validation_part_one_is_split_off(tmp_path: Path) -> None:
    pl.DataFrame({"x": ROWS[:, 0], "part": ["train"] * 80 + ["test"] * 20}).write_csv(tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv", split="column", part_column="part")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (68, 12, 20)
    assert "validation at random" in dataset.split


def test_the_order_of_the_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", ROWS)
    dataset = load(tmp_path / "t.npy", split="order", validation_fraction=0.2, test_fraction=0.2)
    assert_parts(dataset)
    assert "in the order of the rows" in dataset.summary
    random = load(tmp_path / "t.npy")
    assert dataset.fingerprint is not None
    assert random.fingerprint is not None
    assert differences(random.fingerprint(), dataset.fingerprint()) == [
        "it is split in the order of the rows, the run was made with data split at random"
    ]
    assert '"split"' not in random.fingerprint().encode()  # as earlier versions wrote it


def test_three_files(tmp_path: Path) -> None:
    for part, rows in PARTS.items():
        pl.DataFrame({"x": rows[:, 0], "y": rows[:, 1]}).write_csv(tmp_path / f"{part}.csv")
    pl.DataFrame({"y": PARTS["test"][:, 1], "z": PARTS["test"][:, 0], "x": PARTS["test"][:, 0]}).write_parquet(
        tmp_path / "other.parquet"
    )
    files = {"validation_file": str(tmp_path / "validation.csv"), "split": "files"}
    for test in ("test.csv", "other.parquet"):
        assert_parts(load(tmp_path / "train.csv", test_file=str(tmp_path / test), **files))
    first = str(tmp_path / "train.csv")
    assert "data.test_file: names nothing yet" in refusal(first, **files)
    pl.DataFrame({"x": ROWS[:, 0]}).write_csv(tmp_path / "less.csv")
    message = refusal(first, test_file=str(tmp_path / "less.csv"), **files)
    assert "data.test_file: less.csv: the test part has no column y, which train.csv has" in message
    pl.DataFrame({"x": [1.5, None] * 10, "y": ROWS[:20, 1]}).write_csv(tmp_path / "gap.csv")
    message = refusal(first, test_file=str(tmp_path / "gap.csv"), **files)
    assert "column x is missing in row 2 of gap.csv" in message


def test_three_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", train=PARTS["train"], validation=PARTS["validation"], test=PARTS["test"])
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["data/train"], file["data/val"], file["data/test"] = PARTS.values()
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file["a"], file["b"], file["c"] = PARTS.values()
    assert_parts(load(tmp_path / "t.npz", split="arrays"))
    assert_parts(load(tmp_path / "t.h5", split="arrays"))
    names = {"key": "a", "validation_array": "b", "test_array": "c"}
    assert_parts(load(tmp_path / "names.h5", split="arrays", **names))
    assert 'data.split = "arrays"' in refusal(str(tmp_path / "t.h5"))
    assert "no array named train: name one of a, b, c" in refusal(str(tmp_path / "names.h5"), split="arrays")
    np.save(tmp_path / "t.npy", ROWS)
    assert "data.split: " in refusal(str(tmp_path / "t.npy"), split="arrays")
