"""Kinds of table files: compressed text, Feather, Excel, arrays and the HDF5 files of pandas, and their limits."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest

from nfkd.config.tables import TableConfig
from nfkd.data import load_dataset, unpacking
from nfkd.data.columns import Table
from nfkd.data.files import ConfigPath
from nfkd.data.tables import read_table
from tests.core.data.table_files import joined, refusal, table, write

PANDAS = Path(__file__).parents[2] / "data" / "pandas.zip"
"""Files that pandas 3.1 wrote: columns label, px = n/7, flag, py = n²/3, day, n mod 5; 60 rows."""
ROWS = np.arange(60)
PX, PY, N = ROWS / 7, ROWS**2 / 3, ROWS % 5


@pytest.fixture(scope="module")
def pandas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pandas")
    with zipfile.ZipFile(PANDAS) as archive:
        archive.extractall(folder)
    return folder


def opened(path: Path, key: str = "") -> Table:
    return read_table(ConfigPath(path, "data.path"), TableConfig(path=str(path), key=key))


def numbers(found: Table) -> dict[str, np.ndarray]:
    """Return the columns that are used without being named."""
    used = [index for index, column in enumerate(found.columns) if not column.problem and not column.optional]
    values = np.asarray(found.rows(used)[:])
    return {found.columns[index].name: values[:, position] for position, index in enumerate(used)}


def assert_columns(found: dict[str, np.ndarray]) -> None:
    assert set(found) == {"px", "py", "n"}
    np.testing.assert_allclose(np.stack([found["px"], found["py"], found["n"]]), [PX, PY, N], rtol=1e-14)


# --- pandas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fixed", "mixed_fixed", "table", "data_columns"])
def test_data_frames_in_hdf5_are_tables(pandas: Path, name: str) -> None:
    found = opened(pandas / f"{name}.h5")
    assert_columns(numbers(found))
    reasons = {column.name: column.problem or column.optional for column in found.columns}
    if name != "fixed":
        assert "text" in reasons["label"]
        assert "dates" in reasons["day"]
        assert "true and false" in reasons["flag"]
    if name in ("table", "data_columns"):
        assert "index of a pandas table" in reasons["index"]
    dataset = load_dataset(TableConfig(path=str(pandas / f"{name}.h5"), scaling="none"))
    assert set(dataset.columns) == {"px", "py", "n"}


def test_other_objects_of_pandas_are_refused(pandas: Path) -> None:
    assert "a series of pandas" in refusal(str(pandas / "series.h5"))
    assert "data.key: " in refusal(str(pandas / "two.h5"))
    assert_columns(numbers(opened(pandas / "two.h5", "b")))


def test_a_pickle_in_a_data_frame_is_not_loaded(tmp_path: Path) -> None:
    bomb = b"cos\nmkdir\n(S'" + str(tmp_path / "exploded").encode() + b"'\ntR."
    values = np.zeros(60, [("index", "i8"), ("values_block_0", "f8", (2,))])
    values["values_block_0"] = np.stack([PX, PY], axis=1)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["df/table"] = values
        file["df"].attrs["pandas_type"] = b"frame_table"
        file["df/table"].attrs["values_block_0_kind"] = np.bytes_(bomb)
    found = numbers(opened(tmp_path / "t.h5"))
    np.testing.assert_array_equal(found["values_block_0[1]"], PY)
    assert not (tmp_path / "exploded").exists()


def test_the_index_of_a_csv_file_of_pandas_is_left_out(pandas: Path) -> None:
    found = opened(pandas / "mixed.csv")
    assert_columns(numbers(found))
    assert "counts the rows" in found.columns[0].optional
    frame = pl.DataFrame({"px": PX, "__index_level_0__": ROWS[::-1]})
    frame.write_parquet(pandas / "index.parquet")
    assert list(numbers(opened(pandas / "index.parquet"))) == ["px"]


# --- Excel ------------------------------------------------------------------------------------------------------------


def test_sheets_are_tables(pandas: Path) -> None:
    assert_columns(numbers(opened(pandas / "book.xlsx")))
    assert_columns(numbers(opened(pandas / "book.xlsx", "mixed")))
    bare = numbers(opened(pandas / "book.xlsx", "bare"))
    np.testing.assert_allclose(bare["0"], PX, rtol=1e-14)
    text = numbers(opened(pandas / "book.xlsx", "text"))
    np.testing.assert_array_equal(text["x"], ROWS + 0.5)
    np.testing.assert_array_equal(text["y"], np.where(ROWS == 3, np.nan, ROWS))
    assert "data.key: " in refusal(str(pandas / "book.xlsx"), key="none")
    formulas = opened(pandas / "book.xlsx", "formulas")
    assert [column.problem for column in formulas.columns] == ["", "holds nothing"]  # no values are stored


# --- compressed and other files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", [".csv.gz", ".tsv.gz", ".gz", ".csv.zip", ".zip", ".feather", ".npz", ".txt", ".data"]
)
def test_other_kinds_give_the_same_values(tmp_path: Path, suffix: str) -> None:
    values, path = table(), tmp_path / f"t{suffix}"
    text = Path(write(tmp_path / ("t.tsv" if "tsv" in suffix else "t.csv"), values)).read_bytes()
    if suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(text))
    elif suffix.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/t.csv", text)
            archive.writestr("__MACOSX/t.csv", b"x")
    elif suffix == ".feather":
        pl.DataFrame({str(index): column for index, column in enumerate(values.T)}).write_ipc(path, compression="zstd")
    elif suffix == ".npz":
        np.savez_compressed(path, rows=values)
    else:
        np.savetxt(path, values, "%.17g")
    found = joined(load_dataset(TableConfig(path=str(path), scaling="none")))
    expected = values.astype(np.float32)
    np.testing.assert_array_equal(found, expected[np.lexsort(expected.T)])


def zeros_in_gzip(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(400):
            file.write(bytes(1 << 20))


def zeros_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/x.csv", "w") as file:
        for _ in range(400):
            file.write(bytes(1 << 20))


@pytest.mark.parametrize(
    ("name", "build"), [("t.gz", zeros_in_gzip), ("t.zip", zeros_in_zip), ("t.xlsx", zeros_in_zip)]
)
def test_a_bomb_is_refused_fast(tmp_path: Path, name: str, build: Callable[[Path], None]) -> None:
    build(tmp_path / name)
    tracemalloc.start()
    try:
        start = time.perf_counter()
        message = refusal(str(tmp_path / name))
        seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "times its size, as no table of numbers does" in message
    assert seconds < 5
    assert peak < 200 << 20


def test_a_false_size_in_a_zip_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_SMALL", 1000)
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", bytes(1 << 20))
    content = (tmp_path / "t.zip").read_bytes()
    (tmp_path / "t.zip").write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert "damaged" in refusal(str(tmp_path / "t.zip"))


def test_archives_of_several_or_no_files_are_refused(tmp_path: Path) -> None:
    for names in ((), ("a.csv", "b.csv")):
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "x,y\n1,2\n")
        assert f"holds {len(names)} files" in refusal(str(tmp_path / "t.zip"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1.5,2\n" * 90)[:-12])
    assert "truncated" in refusal(str(tmp_path / "t.csv.gz"))


# --- wide tables ------------------------------------------------------------------------------------------------------


def test_a_wide_table_is_read_or_refused_within_seconds(tmp_path: Path) -> None:
    for width in (20_000, 100_000):
        text = io.StringIO()
        np.savetxt(text, np.random.default_rng(0).normal(size=(60, width // 10)), "%.3f", ",")
        rows = [",".join([line] * 10) for line in text.getvalue().splitlines()]
        header = ",".join(f"column{index}" for index in range(width))
        (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
        start = time.process_time()  # other processes do not count
        if width < 65_536:
            assert len(opened(tmp_path / "t.csv").columns) == width
            message = refusal(str(tmp_path / "t.csv"), columns=tuple(f"none{index}" for index in range(500)))
            assert len(message) < 300_000
        else:
            assert "more than 65,536 columns" in refusal(str(tmp_path / "t.csv"))
        assert time.process_time() - start < 5
