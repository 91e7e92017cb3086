"""Tables from files: every format gives the same numbers, and problems name the column and the row."""

from __future__ import annotations

import datetime as dt
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import polars as pl
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from nfkd.config.data import TableConfig
from nfkd.data import DataError, Dataset, load_dataset, scaling
from nfkd.data.examples import in_memory
from nfkd.data.sources import table as table_source

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


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_splits(tmp_path: Path, ending: str) -> None:
    values = table()
    values[:, 4] = np.abs(values[:, 4])
    path = write(tmp_path / f"t.{ending}", values)
    options: dict[str, Any] = {"path": path, "scaling": "none", "split_seed": 4}
    dataset = load_dataset(TableConfig(columns=("2", "0"), context=("3",), weight="4", **options))
    named = ending not in ("npy", "h5")
    if named:
        by_name = load_dataset(TableConfig(columns=("energy", "px"), context=("eta",), weight="w", **options))
        np.testing.assert_array_equal(joined(by_name), joined(dataset))
        np.testing.assert_array_equal(by_name.train.context, dataset.train.context)
    order = np.random.default_rng(4).permutation(ROWS)
    expected = {"validation": order[:30], "test": order[30:60], "train": order[60:]}
    for name, index in expected.items():
        split = getattr(dataset, name)
        np.testing.assert_array_equal(split.values[:], values[index][:, [2, 0]].astype(np.float32))
        np.testing.assert_array_equal(split.context, values[index][:, [3]].astype(np.float32))
        weights = values[index, 4]
        np.testing.assert_allclose(split.weights, weights / weights.mean(), rtol=1e-6)
    assert dataset.columns == (("energy", "px") if named else ("2", "0"))
    assert dataset.context_features == 1


def test_without_a_choice_all_numbers_are_modelled(tmp_path: Path) -> None:
    frame = pl.DataFrame(dict(zip(NAMES, table().T, strict=True)))
    frame = frame.with_columns(label=pl.Series([f"event {n}" for n in range(ROWS)]), nothing=pl.lit(None))
    frame.write_csv(tmp_path / "t.csv")
    dataset = load_dataset(TableConfig(path=str(tmp_path / "t.csv"), context=("eta",), weight=""))
    assert dataset.columns == ("px", "py", "energy", "w")


@pytest.mark.parametrize(
    "text",
    ["{}", "\ufeff{}", "{}\n\n\n", "{}\r\n"],
    ids=["plain", "byte order mark", "empty lines at the end", "CRLF"],
)
def test_text_of_other_programs_is_read(tmp_path: Path, text: str) -> None:
    lines = [",".join(NAMES), *(",".join(f" {value!r}" for value in row) for row in table().tolist())]
    content = text.format(("\r\n" if "\r" in text else "\n").join(lines))
    (tmp_path / "t.csv").write_text(content, newline="")
    values = joined(load_dataset(TableConfig(path=str(tmp_path / "t.csv"), scaling="none")))
    np.testing.assert_array_equal(values, _sorted(table().astype(np.float32)))


def test_a_text_file_need_not_name_its_columns(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "t.csv", table(), "%.17g", ",")
    dataset = load_dataset(TableConfig(path=str(tmp_path / "t.csv"), columns=("4", "0"), scaling="none"))
    np.testing.assert_array_equal(joined(dataset), _sorted(table()[:, [4, 0]].astype(np.float32)))


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


def test_whole_numbers_of_every_size_are_numbers(tmp_path: Path) -> None:
    for kind in (np.uint8, np.int16, ">i4", "<u8", np.float16, ">f8"):
        values = np.random.default_rng(0).integers(0, 100, (ROWS, 2)).astype(kind)
        np.save(tmp_path / "t.npy", values)
        dataset = load_dataset(TableConfig(path=str(tmp_path / "t.npy"), scaling="none"))
        np.testing.assert_array_equal(joined(dataset), _sorted(values.astype(np.float32)))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "t.npy", table())
    first = load_dataset(TableConfig(path=path, scaling="none"))
    assert load_dataset(TableConfig(path=path, scaling="none")) is first
    write(tmp_path / "t.npy", 2 * table())
    os.utime(path, ns=(1, 1))
    second = load_dataset(TableConfig(path=path, scaling="none"))
    np.testing.assert_allclose(joined(second), 2 * joined(first), rtol=1e-6)


def test_a_table_larger_than_memory_is_read_on_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, width, seen = 20_000, 128, 4096
    monkeypatch.setattr(table_source, "_READ_WHOLE", rows * width - 1)
    monkeypatch.setattr(table_source, "_CHUNK", 2**16)
    monkeypatch.setattr(scaling, "_MOST_FITTED", 2**18)
    values = np.repeat(np.arange(rows)[:, None] % 251, width, axis=1)
    values[:, 1] += 1
    np.save(tmp_path / "t.npy", values.astype(np.uint8))
    del values
    tracemalloc.start()
    try:
        config = TableConfig(path=str(tmp_path / "t.npy"), columns=tuple(map(str, range(127))), weight="127")
        dataset = load_dataset(config)
        batch = dataset.training_batch(np.arange(seen), torch.Generator(), torch.Generator())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not in_memory(dataset.train.values)
    assert peak < rows * width * 8 / 2
    train = np.random.default_rng(0).permutation(rows)[round(0.3 * rows) :][:seen]
    raw = (train[:, None] % 251 + (np.arange(127) == 1)).astype(np.float64)
    assert dataset.scaler is not None
    np.testing.assert_allclose(dataset.scaler.undo(batch.x.numpy()), raw, atol=1e-3)
    assert np.abs(batch.x.numpy().mean(axis=0)).max() < 0.1
    assert batch.weights is not None
    np.testing.assert_allclose(batch.weights.numpy(), raw[:, 0] / np.mean(np.arange(251)), rtol=1e-2)


# --- scaling and units ------------------------------------------------------------------------------------------------


def test_the_likelihood_is_that_of_the_original_values(tmp_path: Path) -> None:
    mean, deviation = np.array([3.0, -40.0]), np.array([0.02, 500.0])
    values = np.random.default_rng(1).normal(size=(4000, 2)) * deviation + mean
    np.save(tmp_path / "t.npy", values)
    for kind in ("standard", "robust", "none"):
        dataset = load_dataset(TableConfig(path=str(tmp_path / "t.npy"), scaling=kind))
        assert dataset.unit == "nats"
        order = np.random.default_rng(0).permutation(4000)
        test, train = values[order[600:1200]], values[order[1200:]]
        if kind == "standard":
            centre, width = train.mean(axis=0), train.std(axis=0)
        elif kind == "robust":
            low, centre, high = np.percentile(train, [25, 50, 75], axis=0)
            width = high - low
        else:
            centre, width = np.zeros(2), np.ones(2)
        np.testing.assert_allclose(dataset.test.values[:], (test - centre) / width, rtol=1e-4, atol=1e-5)
        exact: Any = stats.norm((mean - centre) / width, deviation / width)  # a flow that is right in scaled space
        log_prob = torch.from_numpy(exact.logpdf(dataset.test.values[:].astype(np.float64)).sum(axis=1))
        original: Any = stats.norm(mean, deviation)
        expected = -original.logpdf(test).sum(axis=1)
        np.testing.assert_allclose(dataset.nll(log_prob), expected, atol=2e-3)
        np.testing.assert_allclose(dataset.nll_loss(log_prob), expected / 2, atol=2e-3)


def test_a_scaling_that_is_not_invertible_is_named_in_the_unit(tmp_path: Path) -> None:
    dataset = load_dataset(TableConfig(path=write(tmp_path / "t.csv", np.exp(table() / 5e5)), scaling="quantile"))
    assert dataset.unit == "nats (scaled)"
    log_prob = torch.tensor([-3.0, 2.0])
    torch.testing.assert_close(dataset.nll(log_prob), -log_prob)
    for column in dataset.train.values[:].T:
        result: Any = stats.kstest(column, "norm")
        assert result.pvalue > 0.05


def test_the_scaling_is_fitted_on_the_training_split(tmp_path: Path) -> None:
    values = table()
    order = np.random.default_rng(0).permutation(ROWS)
    other = values.copy()
    other[order[:60]] *= 7  # validation and test
    first, second = (
        load_dataset(TableConfig(path=write(tmp_path / f"{n}.csv", rows), context=("eta",)))
        for n, rows in enumerate((values, other))
    )
    np.testing.assert_array_equal(first.train.values[:], second.train.values[:])
    np.testing.assert_array_equal(first.train.context, second.train.context)
    assert not np.array_equal(first.test.values[:], second.test.values[:])
    train = values[order[60:]][:, 3]
    assert first.train.context is not None
    np.testing.assert_allclose(first.train.context[:, 0], (train - train.mean()) / train.std(), rtol=1e-5, atol=1e-6)


# --- missing values ---------------------------------------------------------------------------------------------------


def holes(path: Path, rows: list[int], column: int) -> np.ndarray:
    values = table()
    values[rows, column] = np.nan
    write(path, values)
    return values


@pytest.mark.parametrize("ending", FORMATS)
def test_a_missing_value_is_refused_where_it_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    holes(path, [17, 40], 1)
    name = "py" if ending not in ("npy", "h5") else "1"
    assert f"data.columns: column {name} is missing in row 18" in refusal(str(path))
    assert f"data.context: column {name} is missing in row 18" in refusal(str(path), context=("1",))
    assert f"data.weight: column {name} is missing in row 18" in refusal(str(path), weight="1")


def test_rows_with_missing_values_are_dropped(tmp_path: Path) -> None:
    values = holes(tmp_path / "t.csv", list(range(50)), 1)
    dataset = load_dataset(TableConfig(path=str(tmp_path / "t.csv"), missing="drop", scaling="none"))
    np.testing.assert_array_equal(joined(dataset), _sorted(values[50:].astype(np.float32)))
    holes(tmp_path / "t.csv", list(range(190)), 1)
    assert "data.missing: only 10 of 200 rows" in refusal(str(tmp_path / "t.csv"), missing="drop")


def test_missing_values_become_the_median_of_the_training_split(tmp_path: Path) -> None:
    rows = list(range(0, ROWS, 3))
    values = holes(tmp_path / "t.csv", rows, 1)
    dataset = load_dataset(TableConfig(path=str(tmp_path / "t.csv"), missing="median", scaling="none"))
    order = np.random.default_rng(0).permutation(ROWS)
    median = np.nanmedian(values[order[60:], 1])
    assert median != np.nanmedian(values[:, 1])
    for split, index in ((dataset.train, order[60:]), (dataset.test, order[30:60])):
        np.testing.assert_array_equal(
            split.values[:, 1], np.where(np.isnan(values[index, 1]), median, values[index, 1]).astype(np.float32)
        )


def test_missing_contexts_and_weights_are_filled_in_too(tmp_path: Path) -> None:
    values = np.abs(table())
    values[::5, 3:] = np.nan
    write(tmp_path / "t.csv", values)
    options: dict[str, Any] = {"context": ("eta",), "weight": "w", "scaling": "none", "missing": "median"}
    dataset = load_dataset(TableConfig(path=str(tmp_path / "t.csv"), **options))
    train = values[np.random.default_rng(0).permutation(ROWS)[60:]]
    filled = np.where(np.isnan(train), np.nanmedian(train, axis=0), train)
    assert dataset.train.context is not None
    np.testing.assert_array_equal(dataset.train.context[:, 0], filled[:, 3].astype(np.float32))
    assert dataset.train.weights is not None
    np.testing.assert_allclose(dataset.train.weights, filled[:, 4] / filled[:, 4].mean(), rtol=1e-6)


def test_a_column_without_values_cannot_be_filled_in(tmp_path: Path) -> None:
    holes(tmp_path / "t.npy", list(range(ROWS)), 1)
    assert "data.columns: column 1 has no value in the training split" in refusal(
        str(tmp_path / "t.npy"), missing="median"
    )


# --- weights ----------------------------------------------------------------------------------------------------------


def test_negative_weights_are_accepted_but_not_a_negative_sum(tmp_path: Path) -> None:
    values = table()
    values[:, 4] = np.where(np.arange(ROWS) % 4 == 0, -0.5, 1.0)
    dataset = load_dataset(TableConfig(path=write(tmp_path / "t.csv", values), weight="w"))
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.weights is not None
        assert split.weights.mean() == pytest.approx(1, rel=1e-5)
        assert (split.weights < 0).any()
    values[:, 4] *= -1
    assert "data.weight: the weights of a split have no positive sum" in refusal(
        write(tmp_path / "t.csv", values), weight="w"
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


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
        assert f"data.columns: {message}" in refusal(path, scaling=kind)
        assert f"data.context: {message}" in refusal(path, scaling=kind, context=("py",))


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
        (pl.Series([True, False] * 100), "x holds true and false"),
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
    for kind in ("?", "c16", "M8[s]", "m8[s]", "S3", "U3"):
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
        (
            "t.csv",
            b"a;b\n" + b"1;2\n" * 50,
            "which is not a number: are the values separated by semicolons?",
        ),
        ("t.csv", b"a\n" + b"x\n" * 50, "no column of numbers left to be modelled: column a has 'x' in row 1"),
        ("t.parquet", b"PAR1 and then nothing", "is not a complete Parquet file"),
        ("t.npy", b"\x93NUMPY", "cannot be read"),
        ("t.h5", b"\x89HDF\r\n\x1a\n", "not a complete HDF5 file"),
        ("t.xlsx", b"PK", "is not a table that can be read"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refusal(str(tmp_path / name))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_larger_than_memory_is_refused_if_it_must_be_read_whole(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / f"t.{ending}", table(2000))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2000 * 5 * 8 - 1))
    assert "save it as .npy or .h5, which are read on access" in refusal(path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2000 * 5 * 25))
    assert load_dataset(TableConfig(path=path)).event_shape == (5,)


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
