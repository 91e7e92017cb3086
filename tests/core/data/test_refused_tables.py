"""Tables that are refused: what is wrong is said, and damaged files give data or a message."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import polars as pl
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfkd.config.data import TableConfig
from nfkd.data import DataError, load_dataset
from tests.core.data.table_files import FORMATS, ROWS, refusal, table, write


@pytest.mark.parametrize("ending", FORMATS)
def test_infinite_values_are_always_refused(tmp_path: Path, ending: str) -> None:
    values = table()
    values[120, 0] = -np.inf
    path = write(tmp_path / f"t.{ending}", values)
    for missing in ("refuse", "drop", "median"):
        assert " is infinite in row 121" in refusal(path, missing=missing)


def test_constant_columns_are_refused_by_name(tmp_path: Path) -> None:
    values = table()
    values[:, 1] = 0.1  # not exactly representable: its deviation is not exactly 0
    path = write(tmp_path / "t.csv", values)
    for kind in ("standard", "robust", "quantile", "none"):
        message = "column py is 0.1 in every row of the training split"
        assert f"data.columns: {message}" in refusal(path, scaling=kind, columns=("px", "py"))
        assert f"data.context: {message}" in refusal(path, scaling=kind, context=("py",))


@pytest.mark.parametrize("ending", FORMATS)
def test_constant_columns_that_no_setting_names_are_left_out_and_reported(tmp_path: Path, ending: str) -> None:
    values = table()
    path = write(tmp_path / f"t.{ending}", values)
    names = load_dataset(TableConfig(path=path)).columns
    values[:, 1] = 0.1
    write(tmp_path / f"t.{ending}", values)
    dataset = load_dataset(TableConfig(path=path))
    assert dataset.columns == names[:1] + names[2:]
    assert [(column.name, column.reason) for column in dataset.unused] == [(names[1], "is 0.1 in every row")]
    values[:] = 2.0
    assert "is 2 in every row of the training split" in refusal(write(tmp_path / f"t.{ending}", values))


def test_a_column_that_is_constant_in_the_training_split_is_refused(tmp_path: Path) -> None:
    values = table()
    values[np.random.default_rng(0).permutation(ROWS)[60:], 1] = 2.0
    assert "py is 2 in every row of the training split" in refusal(write(tmp_path / "t.csv", values), scaling="robust")


def test_a_column_whose_quartiles_coincide_is_not_constant(tmp_path: Path) -> None:
    values = table()
    values[20:, 1] = 0
    dataset = load_dataset(TableConfig(path=write(tmp_path / "t.csv", values), scaling="robust"))
    assert np.isfinite(dataset.train.values[:]).all()
    assert dataset.unit == "nats"


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (
            pl.Series(["1"] * 5 + ["many"] + ["2.5"] * 194),
            "x has 'many' in row 6 (the first is 1), which is not a number",
        ),
        (pl.Series([dt.date(2020, 1, 1)] * 200), "x holds dates or times"),
        (pl.Series([dt.datetime(2020, 1, 1, tzinfo=dt.UTC)] * 200), "x holds dates or times"),
        (pl.Series(["a", "b"] * 100, dtype=pl.Categorical), "x holds categories"),
        (pl.Series(["a", "b"] * 100, dtype=pl.Enum(["a", "b"])), "x holds categories"),
        (pl.Series([[1.0, 2.0]] * 200), "x holds lists"),
        (pl.Series([b"ab"] * 200), "x holds no numbers"),
        (pl.Series([None] * 200, dtype=pl.Null), "x holds nothing"),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "",
)
def test_a_chosen_column_without_numbers_is_refused(tmp_path: Path, column: Any, problem: str) -> None:
    frame = pl.DataFrame({"y": table()[:, 0], "z": table()[:, 1], "x": column})
    frame.write_parquet(tmp_path / "t.parquet")
    path = str(tmp_path / "t.parquet")
    assert f"data.context: column {problem}" in refusal(path, context=("x",))
    if "not a number" in problem and "many" in problem:
        assert f"data.columns: column {problem}" in refusal(path)  # it may be meant as numbers
    else:
        assert load_dataset(TableConfig(path=path)).columns == ("y", "z")


def test_arrays_of_other_types_are_refused(tmp_path: Path) -> None:
    for kind in ("c16", "M8[s]", "m8[s]", "S3", "U3"):
        np.save(tmp_path / "t.npy", np.zeros((50, 2), kind))
        assert "holds" in refusal(str(tmp_path / "t.npy"), columns=("0", "1"))


def test_an_array_that_is_no_table_is_refused(tmp_path: Path) -> None:
    for shape in ((), (50,), (50, 2, 2)):
        np.save(tmp_path / "t.npy", np.zeros(shape))
        with h5py.File(tmp_path / f"t{len(shape)}.h5", "w") as file:
            file["x"] = np.zeros(shape)
        for name in ("t.npy", f"t{len(shape)}.h5"):
            assert "a table has rows and columns" in refusal(str(tmp_path / name))


def test_an_array_that_calls_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "t.npy", np.array([[Bomb()] * 2] * 50, dtype=object), allow_pickle=True)
    message = refusal(str(tmp_path / "t.npy"))
    assert "t.npy: it holds Python objects" in message
    assert "plain numbers" in message
    assert not (tmp_path / "exploded").exists()


def test_all_problems_with_columns_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", table())
    with pytest.raises(DataError) as refused:
        load_dataset(TableConfig(path=path, columns=("pz", "px", "px", "9"), context=("0",), weight="weights"))
    found = [(problem.path, problem.message) for problem in refused.value.problems]
    assert [where for where, _ in found] == ["data.columns"] * 3 + ["data.context", "data.weight"]
    assert "no column 'pz': did you mean py or px?" in found[0][1]
    assert "px is chosen twice" in found[1][1]
    assert "no column '9': there are px, py, energy, eta, w" in found[2][1]
    assert "px is chosen twice, here and at data.columns" in found[3][1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv: is empty"),
        ("t.csv", b"a,b\n", "t.csv: holds no rows"),
        ("t.csv", b"\n\n\n", "cannot be read as a table: it needs lines of values"),
        ("t.csv", b"a,b\n1,2\n", "has only 1 row"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "has 3 values in line 3, but 2 in its first"),
        ("t.csv", b"a,a\n1,2\n", "several columns of the name 'a'"),
        ("t.csv", b"a,b\n1,2\n" * 50, "a has 'a' in row 2"),
        ("t.csv", b"a;b\n1;2\n3;4;5\n", "has 3 values in line 3, but 2 in its first (read as separated by ;"),
        ("t.csv", b"a\n" + b"x\n" * 50, "no column of numbers left to be modelled: column a has 'x' in row 1"),
        ("t.parquet", b"PAR1 and then nothing", "is not a complete Parquet file"),
        ("t.npy", b"\x93NUMPY", "cannot be read"),
        ("t.h5", b"\x89HDF\r\n\x1a\n", "not a complete HDF5 file"),
        ("t.xlsx", b"PK", "its compressed data is damaged"),
        ("t.docx", b"PK", "is not a table that can be read"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refusal(str(tmp_path / name))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_larger_than_memory_is_refused_if_it_may_not_stay_on_disk(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / f"t.{ending}", table(2000))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2000 * 5 * 8 - 1))
    assert 'keep it on disk (data.storage = "disk")' in refusal(path, storage="memory")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2000 * 5 * 25))
    assert load_dataset(TableConfig(path=path, storage="memory")).event_shape == (5,)


def test_an_archive_under_another_name_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "t.npy").open("wb") as file:
        np.savez(file, a=np.zeros((50, 2)))
    assert "an archive of arrays" in refusal(str(tmp_path / "t.npy"))


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    assert refusal("").startswith("data.path: names nothing yet: name a file")
    assert "is a folder" in refusal(str(tmp_path))
    assert "there is no such file" in refusal(str(tmp_path / "t.csv"))
    assert "there is no such file" in refusal("nul\0.csv")


def test_hdf5_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret.h5", table())
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "some/rows")
        file["a"], file["b"] = table(), table()
    assert "t.h5: out is a link" in refusal(str(tmp_path / "t.h5"), key="out")
    assert "t.h5: holds a, b: name one of them" in refusal(str(tmp_path / "t.h5"))
    assert load_dataset(TableConfig(path=str(tmp_path / "t.h5"), key="b")).event_shape == (5,)


def test_values_too_large_for_a_flow_are_refused(tmp_path: Path) -> None:
    values = table()
    values[:, 1] *= 1e100
    assert "data.scaling: column py" in refusal(write(tmp_path / "t.csv", values), scaling="none")
    assert load_dataset(TableConfig(path=write(tmp_path / "t.csv", values))).event_shape == (5,)
    values[:, 1] *= 1e100
    assert "data.columns: column py goes from" in refusal(write(tmp_path / "t.csv", values))


# --- fuzz -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid")
    return {ending: Path(write(folder / f"t.{ending}", table(80))).read_bytes() for ending in FORMATS}


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_data_or_are_refused(
    valid: dict[str, bytes], tmp_path: Path, ending: str, data: st.DataObject
) -> None:
    whole = bytearray(valid[ending])
    if data.draw(st.booleans(), "only bytes"):
        whole = bytearray(data.draw(st.binary(max_size=300)))
    else:
        for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)))):
            whole[position] = value
        whole = whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))]
    path = tmp_path / f"t.{ending}"
    path.write_bytes(whole)
    changed = data.draw(st.integers(1, 2**60))
    os.utime(path, ns=(changed, changed))
    try:
        dataset = load_dataset(TableConfig(path=str(path), missing=data.draw(st.sampled_from(["refuse", "drop"]))))
    except DataError:
        return
    assert np.isfinite(dataset.train.values[:]).all()
