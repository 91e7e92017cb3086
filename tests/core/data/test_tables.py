"""Tables from files: every format gives the same numbers, and problems name the column and the row."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from nfkd.config.data import TableConfig
from nfkd.data import column_statistics, load_dataset
from nfkd.data.examples import in_memory
from tests.core.data.table_files import FORMATS, NAMES, ROWS, joined, refusal, table, write

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
    monkeypatch.setattr(column_statistics, "CHUNK", 2**16)
    monkeypatch.setattr(column_statistics, "_BLOCK", 2**16)
    values = np.repeat(np.arange(rows)[:, None] % 251, width, axis=1)
    values[:, 1] += 1
    np.save(tmp_path / "t.npy", values.astype(np.uint8))
    del values
    tracemalloc.start()
    try:
        config = TableConfig(
            path=str(tmp_path / "t.npy"), columns=tuple(map(str, range(127))), weight="127", storage="disk"
        )
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
    path = str(tmp_path / "t.npy")
    named = refusal(path, missing="median", columns=("0", "1"))
    assert "data.columns: column 1 has no value in the training split" in named
    unused = load_dataset(TableConfig(path=path, missing="median")).unused
    assert [(column.name, column.reason) for column in unused] == [("1", "holds nothing")]


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
