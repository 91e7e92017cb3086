"""Tables that stay on disk: the same data sets as in memory, to the bit, from an index that survives accidents."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import polars as pl
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nfkd.config.data import TableConfig
from nfkd.data import DataError, Dataset, load_dataset, loading
from nfkd.data import frame_index as frames
from nfkd.data.column_statistics import RowSource
from nfkd.data.column_warnings import column_warnings
from nfkd.data.examples import Rows, in_memory
from nfkd.data.files import ConfigPath
from nfkd.data.index_cache import indexes_folder
from nfkd.data.progress import reporting
from nfkd.data.tables import read_table
from tests.core.data.table_files import FORMATS, NAMES, refusal, table, write

COUNT = 500
SPLITS = ("train", "validation", "test")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scaling": "robust", "context": ("eta",), "weight": "w"},
    {"scaling": "quantile"},
    {"scaling": "none", "columns": ("px", "energy")},
    {"split": "order", "dequantize": ("energy",)},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "indexes"
    assert not list(indexes_folder().glob("*.part"))


def rows() -> np.ndarray:
    values = table(COUNT)
    values[:, 4] = np.abs(values[:, 4])
    values[:, 2] = np.round(30 * (values[:, 2] - 1e6))
    return values


def pair(path: str, **options: Any) -> tuple[Dataset, Dataset]:
    """Return a data set in memory, and the same on disk."""
    memory = load_dataset(TableConfig(path=path, storage="memory", **options))
    disk = load_dataset(TableConfig(path=path, storage="disk", **options))
    assert in_memory(memory.train.values)
    assert not in_memory(disk.train.values)
    return memory, disk


def assert_same(memory: Dataset, disk: Dataset, config: TableConfig) -> None:
    for name in SPLITS:
        one, other = getattr(memory, name), getattr(disk, name)
        np.testing.assert_array_equal(one.values[:], other.values[:])
        assert one.values[:].dtype == other.values[:].dtype
        for field in ("context", "weights"):
            first, second = getattr(one, field), getattr(other, field)
            assert (first is None) == (second is None)
            if first is not None:
                np.testing.assert_array_equal(first, second)
    assert memory.fingerprint is not None
    assert disk.fingerprint is not None
    assert memory.fingerprint() == disk.fingerprint()
    for field in ("name", "columns", "missing", "reading", "unused", "warnings", "split", "summary", "event_shape"):
        assert getattr(memory, field) == getattr(disk, field), field
    assert (memory.scaler and memory.scaler.to_dict()) == (disk.scaler and disk.scaler.to_dict())
    assert (memory.dequantizer and memory.dequantizer.to_list()) == (disk.dequantizer and disk.dequantizer.to_list())
    np.testing.assert_array_equal(memory.first_rows, disk.first_rows)
    assert column_warnings(config, memory) == column_warnings(config, disk)
    index = np.random.default_rng(5).integers(0, len(memory.train), 40)
    batches = [each.training_batch(index, torch.Generator(), torch.Generator()) for each in (memory, disk)]
    torch.testing.assert_close(batches[0].x, batches[1].x, rtol=0, atol=0)


@pytest.mark.parametrize("ending", [*FORMATS, "feather", "npz", "fortran.npy"])
def test_a_table_on_disk_is_that_in_memory(tmp_path: Path, ending: str) -> None:
    path, values = tmp_path / f"t.{ending}", rows()
    if ending == "feather":
        pl.DataFrame(dict(zip(NAMES, values.T, strict=True))).write_ipc(path)
    elif ending == "npz":
        np.savez(path, rows=values)
    elif ending == "fortran.npy":
        np.save(path, np.asfortranarray(values))
    else:
        write(path, values)
    named = ending not in ("npy", "npz", "h5", "fortran.npy")
    numbers = {name: str(index) for index, name in enumerate(NAMES)}
    for options in OPTIONS:
        chosen = options if named else _by_number(options, numbers)
        assert_same(*pair(str(path), **chosen), TableConfig(path=str(path), **chosen))


def _by_number(options: dict[str, Any], numbers: dict[str, str]) -> dict[str, Any]:
    found = dict(options)
    for field in ("columns", "context", "dequantize"):
        if field in options:
            found[field] = tuple(numbers[name] for name in options[field])
    return found | ({"weight": numbers["w"]} if "weight" in options else {})


@pytest.mark.parametrize("missing", ["drop", "median"])
def test_missing_values_are_treated_as_in_memory(tmp_path: Path, missing: str) -> None:
    values = rows()
    values[np.random.default_rng(0).random(values.shape) < 0.05] = np.nan
    path = write(tmp_path / "t.csv", values)
    options: dict[str, Any] = {"missing": missing, "context": ("eta",), "weight": "w"}
    assert_same(*pair(path, **options), TableConfig(path=path, **options))
    message = {refusal(path, storage=storage) for storage in ("memory", "disk")}
    assert len(message) == 1
    row = int(np.argmax(np.isnan(values[:, :5]).any(axis=1))) + 1
    assert f"is missing in row {row} " in message.pop()


def test_own_parts_are_read_as_in_memory(tmp_path: Path) -> None:
    values, parts = rows(), np.random.default_rng(1).choice(["train", "val", "test"], COUNT)
    pl.DataFrame({"part": parts} | dict(zip(NAMES, values.T, strict=True))).write_csv(tmp_path / "t.csv")
    options: dict[str, Any] = {"split": "column", "part_column": "part"}
    assert_same(*pair(str(tmp_path / "t.csv"), **options), TableConfig(path=str(tmp_path / "t.csv"), **options))
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name, some in zip(SPLITS, np.split(values, [300, 400]), strict=True):
            file[name] = some
    assert_same(*pair(str(tmp_path / "t.h5"), split="arrays"), TableConfig(path=str(tmp_path / "t.h5"), split="arrays"))


# --- text -------------------------------------------------------------------------------------------------------------


def both_ways(path: Path, monkeypatch: pytest.MonkeyPatch, head: int) -> list[Any]:
    """Return the columns and rows of a table in memory and on disk, where the types are found in the first rows."""
    monkeypatch.setattr(frames, "_HEAD", head)
    monkeypatch.setattr(frames, "_FEWEST", 7)
    monkeypatch.setattr(frames, "_BATCH", 1)
    found = []
    for storage in ("memory", "disk"):
        read = read_table(ConfigPath(path, "data.path"), TableConfig(path=str(path), storage=storage))
        numbers = [index for index, column in enumerate(read.columns) if not column.problem]
        found.append(([*read.columns], read.count, read.reading, np.asarray(read.rows(numbers)[:]).tolist()))
    return found


@pytest.mark.parametrize(
    "lines",
    [
        ["a;b", *(f"{number},5;{number}" for number in range(60))],
        ["a;b", *(f"{number};{number}" for number in range(30)), *(f"{number},5;x" for number in range(30))],
        ["a,b", *("1,true" for _ in range(30)), *("2,false" for _ in range(30))],
        ["a,b", *(f"{number}.5 kg,{number}" for number in range(60))],
        [",b", *(f"{number},{number}.25" for number in range(60))],
        ["a,b", *(f'"{number},000.5",-' for number in range(1, 60))],
        ["a,b", *(f"{number},NA" for number in range(60)), "", ""],
        ["a,b", *(f"{number}," for number in range(40)), *(f"{number},{number}.5" for number in range(20))],
        ["a,b", *(f"{number},{number}" for number in range(50)), "x,3", *(f"{number},{number}" for number in range(9))],
    ],
    ids=["decimal comma", "late comma", "booleans", "units", "counting", "thousands", "empty end", "late", "bad cell"],
)
def test_text_is_read_as_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    memory, disk = both_ways(tmp_path / "t.csv", monkeypatch, head=20)
    if "x" in lines[-1]:  # a column of text, which is described by its first rows only
        memory, disk = memory[1:], disk[1:]
    assert repr(memory) == repr(disk)  # NaN equals NaN


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=30, max_size=90), st.data())
def test_numbers_are_read_as_in_memory(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], data: Any
) -> None:
    folder = tmp_path_factory.mktemp("text")
    texts = [repr(value) if data.draw(st.booleans()) else "" for value in values[:20]] + [
        f"{v:.3e}" for v in values[20:]
    ]
    (folder / "t.csv").write_text("\n".join(["a,b", *(f"{number},{text}" for number, text in enumerate(texts))]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NFKD_DATA", str(folder))
        memory, disk = both_ways(folder / "t.csv", patch, head=10)
    assert repr(memory) == repr(disk)


def test_a_bad_cell_is_named_with_its_row(tmp_path: Path) -> None:
    lines = ["a,b", *("1.5,2" for _ in range(150_000)), "1.5,two", *("1.5,2" for _ in range(10))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    for storage in ("memory", "disk"):
        assert "column b has 'two' in row 150001 (the first is 1), which is not a number" in refusal(
            str(tmp_path / "t.csv"), storage=storage
        )
    lines[-3] = "1,2,3"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert "has 3 values in line 150010, but 2 in its first" in refusal(str(tmp_path / "t.csv"), storage="disk")


# --- statistics -------------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(arrays(np.float64, st.tuples(st.integers(2, 200), st.just(3)), elements=st.floats(-1e12, 1e12)))
def test_moments_do_not_depend_on_the_order(values: np.ndarray) -> None:
    values = np.where(np.abs(values) < 1e-140, 0, values)  # narrower columns are refused
    order = np.random.default_rng(0).permutation(len(values))
    found = [RowSource(each).moments for each in (values, values[order], Rows(np.asfortranarray(values), order))]
    for mean, deviation in found[1:]:
        np.testing.assert_array_equal(mean, found[0][0])
        np.testing.assert_array_equal(deviation, found[0][1])
    for column, mean, deviation in zip(values.T, *found[0], strict=True):
        expected = math.fsum(column) / len(column)
        spread = np.abs(column).max() or 1
        assert mean == pytest.approx(expected, rel=1e-12, abs=1e-300 + 1e-15 * spread)
        squares = math.fsum(((value - expected) / spread) ** 2 for value in column)
        root = spread * math.sqrt(squares / len(column))
        assert deviation == pytest.approx(root, rel=1e-12, abs=1e-300 + 1e-15 * spread)


# --- accidents --------------------------------------------------------------------------------------------------------


def test_memory_decides_where_a_table_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.npy", rows())
    assert in_memory(load_dataset(TableConfig(path=path)).train.values)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * COUNT * 5 * 8 - 1))
    write(tmp_path / "other.npy", rows())
    assert not in_memory(load_dataset(TableConfig(path=str(tmp_path / "other.npy"))).train.values)


def index_of(cache: Path) -> Path:
    [folder] = [each for each in cache.iterdir() if each.is_dir()]
    return folder


@pytest.mark.parametrize("damage", ["truncated", "changed", "no header", "half a header", "another header", "removed"])
def test_a_damaged_index_is_built_again(tmp_path: Path, cache: Path, damage: str) -> None:
    path = write(tmp_path / "t.csv", rows())
    config = TableConfig(path=path, storage="disk")
    first = read_table(ConfigPath(Path(path), "data.path"), config).rows([0, 1])[:]
    folder = index_of(cache)
    match damage:
        case "truncated":
            os.truncate(folder / "rows.f64", 8)
        case "changed":
            (folder / "rows.f64").write_bytes(b"\1" * (folder / "rows.f64").stat().st_size)
        case "no header":
            (folder / "index.json").unlink()
        case "half a header":
            os.truncate(folder / "index.json", 40)
        case "another header":  # it can be read, but names other columns
            header = json.loads((folder / "index.json").read_text())
            (folder / "index.json").write_text(json.dumps(header | {"stored": [1, 0, *header["stored"][2:]]}))
        case _:
            shutil.rmtree(folder)
    again = read_table(ConfigPath(Path(path), "data.path"), config).rows([0, 1])[:]
    np.testing.assert_array_equal(first, again)
    assert index_of(cache) == folder


def test_damaged_results_are_computed_again(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "t.csv", rows())
    before = load_dataset(TableConfig(path=path, storage="disk"))
    [kept] = index_of(cache).glob("results-*.json")
    kept.write_text(kept.read_text().replace("1", "2"))
    loading._cache.clear()
    after = load_dataset(TableConfig(path=path, storage="disk"))
    np.testing.assert_array_equal(before.train.values[:], after.train.values[:])


def test_a_changed_file_has_another_index(tmp_path: Path, cache: Path) -> None:
    config = TableConfig(path=write(tmp_path / "t.csv", rows()), storage="disk")
    first = load_dataset(config)
    kept, folder = first.train.values[:5], index_of(cache)
    write(tmp_path / "t.csv", 2 * rows())
    second = load_dataset(config)
    assert index_of(cache) != folder
    assert first.fingerprint is not None
    assert second.fingerprint is not None
    assert first.fingerprint() != second.fingerprint()
    np.testing.assert_array_equal(first.train.values[:5], kept)  # a run that uses the old index goes on


@pytest.mark.parametrize("change", ["truncated", "rewritten", "removed"])
def test_an_array_that_changes_in_use_is_refused(tmp_path: Path, change: str) -> None:
    path = Path(write(tmp_path / "t.npy", rows()))
    dataset = load_dataset(TableConfig(path=str(path), storage="disk"))
    match change:
        case "truncated":
            os.truncate(path, 200)
        case "rewritten":
            write(path, 2 * rows())
            os.utime(path, ns=(1, 1))
        case _:
            path.unlink()
    with pytest.raises(DataError, match=r"t\.npy: has changed while it was in use: restore it and resume the run"):
        dataset.training_batch(np.arange(8), torch.Generator(), torch.Generator())


def test_a_full_disk_is_reported_with_the_size(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.csv", rows())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    message = refusal(path, storage="disk")
    assert "needs about 0.06 GiB" in message
    assert "0.00 GiB are free: free some space" in message
    assert [each.suffix for each in cache.iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of a file's size")
def test_a_copy_that_cannot_be_written_is_reported(tmp_path: Path, cache: Path) -> None:
    import resource

    path, limits = write(tmp_path / "t.csv", rows()), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        message = refusal(path, storage="disk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"t.csv: cannot be copied to {cache} to be read from disk (File too large): name another folder" in message
    assert [each.suffix for each in cache.iterdir()] == [".lock"]


def test_a_cache_that_is_no_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    message = refusal(write(tmp_path / "t.csv", rows()), storage="disk")
    assert "t.csv: cannot be copied to" in message
    assert "name another folder for NFKD's data by the variable NFKD_DATA" in message


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path, cache: Path) -> None:
    path = Path(write(tmp_path / "t.csv", rows()))

    def change(_message: str) -> None:
        path.write_bytes(path.read_bytes() + path.read_bytes()[-40:])

    with reporting(change):
        message = refusal(str(path), storage="disk")
    assert "t.csv: changed while it was copied to be read from disk: try again when it is complete" in message
    assert [each.suffix for each in cache.iterdir()] == [".lock"]


def test_a_build_that_is_ended_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    config = TableConfig(path=write(tmp_path / "t.csv", rows()), storage="disk")
    said: list[str] = []

    def stop(message: str) -> None:
        said.append(message)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reporting(stop):
        load_dataset(config)
    assert said == ["Preparing t.csv to be read from disk: 0 rows so far."]
    assert [each.suffix for each in cache.iterdir()] == [".lock"]
    with reporting(said.append):
        load_dataset(config)
    assert said[-1] == "t.csv is prepared: 500 rows."


def test_two_processes_build_one_index(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "t.csv", rows())
    program = (
        "import sys; from nfkd.config.data import TableConfig; from nfkd.data import load_dataset;"
        "print(load_dataset(TableConfig(path=sys.argv[1], storage='disk')).fingerprint().encode())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert printed[0] == printed[1] != ""
    index_of(cache)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_training_needs_less_memory_than_the_table_has(tmp_path: Path) -> None:
    values = np.lib.format.open_memmap(tmp_path / "t.npy", "w+", np.float64, (4_000_000, 8), fortran_order=True)
    for column in range(8):
        values[:, column] = np.random.default_rng(column).standard_normal(4_000_000, np.float32)
    del values
    data = json.dumps({"kind": "table", "path": str(tmp_path / "t.npy"), "storage": "disk"})
    command = [sys.executable, "-m", "tests.benchmarks.large_data", data, "25"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=170).stdout
    assert json.loads(printed.splitlines()[-1])["above_mib"]["RssAnon"] < 8 * 4_000_000 * 8 / 2**20
