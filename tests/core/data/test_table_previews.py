"""Previews of tables: how they were read, what is not used, and changes that solve warnings and problems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nfkd.config.tables import TableConfig
from nfkd.data.preview import preview_dataset
from nfkd.protocol.data import DataPreview


def preview(path: Path, **options: Any) -> DataPreview:
    return preview_dataset(TableConfig(path=str(path), **options))


def write(path: Path, names: str, row: Callable[[int], str]) -> Path:
    path.write_text("\n".join([names, *map(row, range(200))]) + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "row", "reading"),
    [
        ("x;y", lambda n: f"{n % 9 + 1},{100 + n};{n % 7 + 1},{200 + n}", "separated by ;"),
        ("x;y", lambda n: f"{n};{n}" + ";1" * (n == 150), "separated by ;"),
        (
            "x;y",
            lambda n: f"{n},5;" + ("NA" if n == 20 else "1"),
            "separated by ;, missing values as NA, decimal comma",
        ),
        ("x;y", lambda n: f"{n}.5;" + ("text" if n == 60 else "1"), "separated by ;"),
    ],
)
def test_the_reading_is_told_also_of_a_refused_file(
    tmp_path: Path, names: str, row: Callable[[int], str], reading: str
) -> None:
    found = preview(write(tmp_path / "t.csv", names, row))
    assert found.problems
    assert found.reading == reading


def test_unused_columns_tell_whether_they_can_be_used(tmp_path: Path) -> None:
    found = preview(write(tmp_path / "t.csv", ",x,flag,kind", lambda n: f"{n},{n / 7},{n % 3 == 0},{'abc'[n % 3]}"))
    assert {column.name: column.usable for column in found.unused} == {"0": True, "flag": True, "kind": False}
    named = preview(tmp_path / "t.csv", columns=("x", "flag"))
    assert [column.name for column in named.columns] == ["x", "flag"]


def test_warnings_name_the_change_that_solves_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, far = rng.normal(size=200), np.where(np.arange(200) % 20, rng.normal(size=200), 1e9)
    sentinel = np.where(np.arange(200) % 30, rng.normal(size=200), -999)
    path = write(tmp_path / "t.csv", "x,far,count,gap", lambda n: f"{x[n]},{far[n]},{n % 4},{sentinel[n]}")
    fixes = {warning.path: warning.fix for warning in preview(path).warnings}
    assert fixes["data.dequantize"] == ("count",)
    assert fixes["data.scaling"] == "quantile"
    assert fixes["data.missing_texts"] == ("-999",)
    solved = preview(path, dequantize=("count",), scaling="quantile", missing_texts=("-999",), missing="drop")
    assert not solved.problems
    assert not solved.warnings


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_arrays_of_parts_propose_their_split(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    arrays = {name: np.random.default_rng(0).normal(size=(40, 2)) for name in ("train", "validation", "test")}
    if suffix == ".npz":
        np.savez(path, train=arrays["train"], validation=arrays["validation"], test=arrays["test"])
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    [problem] = preview(path).problems
    assert (problem.path, problem.fix) == ("data.split", "arrays")
    solved = preview(path, split=problem.fix)
    assert (solved.counts, solved.split) == ([40, 40, 40], "split by arrays")
