"""The tables of the MAF paper: the published procedures, on small files of the published formats."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfkd.config.data import BSDS300Config, GasConfig, HepmassConfig, MiniBooNEConfig, PowerConfig
from nfkd.data import DataError, Dataset, NotFetchedError, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.frames import read_frame
from nfkd.data.source import RemoteFile
from nfkd.data.sources import SOURCES
from nfkd.data.sources.uci import Hepmass, MiniBooNE, Power
from tests.core.data.loopback import Site, serving
from tests.core.data.pandas_pickles import pandas_pickle

ROWS = 400
RNG = np.random.default_rng(0)


def same(dataset: Dataset, expected: list[np.ndarray]) -> None:
    for split, values in zip((dataset.train, dataset.validation, dataset.test), expected, strict=True):
        assert split.values[:].dtype == np.float32
        np.testing.assert_allclose(split.values[:], values, rtol=1e-5, atol=1e-5)


# --- the files --------------------------------------------------------------------------------------------------------


def power(folder: Path) -> np.ndarray:
    data = np.random.default_rng(1).integers(0, 50, (ROWS, 8)) / 10
    (folder / "power").mkdir()
    np.save(folder / "power" / "data.npy", data)
    return data


def miniboone(folder: Path) -> np.ndarray:
    data = np.random.default_rng(2).normal(5, 2, (ROWS, 43))
    (folder / "miniboone").mkdir()
    np.save(folder / "miniboone" / "data.npy", data)
    return data


def hepmass(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write both files: six of 27 columns have many equal values; the test file has an extra column."""
    rng = np.random.default_rng(3)
    (folder / "hepmass").mkdir()
    files = []
    for name, more in (("1000_train.csv", 0), ("1000_test.csv", 1)):
        data = rng.normal(size=(ROWS, 28 + more))
        data[:, 0] = rng.integers(0, 2, ROWS)
        data[:, [3, 7, 11, 15, 19, 23]] = rng.integers(0, 3, (ROWS, 6))
        header = ",".join(["# label", *(f"f{n}" for n in range(27 + more))])
        np.savetxt(folder / "hepmass" / name, data, "%.18e", ",", header=header, comments="")
        files.append(data)
    return files[0], files[1]


def bsds300(folder: Path) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    arrays = [rng.normal(0, 0.1, (count, 63)).astype(np.float32) for count in (60, 10, 20)]
    (folder / "BSDS300").mkdir()
    with h5py.File(folder / "BSDS300" / "BSDS300.hdf5", "w") as file:
        for name, array in zip(("train", "validation", "test"), arrays, strict=True):
            file[name] = array
    return arrays


GAS = ("Time", "Meth", "Eth", *(f"R{n}" for n in range(16)))


def gas_values() -> np.ndarray:
    """Return 16 sensors of which eight are correlated with others, after the time and two concentrations."""
    rng = np.random.default_rng(5)
    sensors = rng.normal(3, 2, (ROWS, 8))
    near = 2 * sensors + 0.05 * rng.normal(size=(ROWS, 8))
    return np.hstack([np.arange(ROWS)[:, None], rng.normal(size=(ROWS, 2)), sensors, near])


# --- the procedures, as published -------------------------------------------------------------------------------------


def split(data: np.ndarray) -> list[np.ndarray]:
    n_test = int(0.1 * data.shape[0])
    test, data = data[-n_test:], data[:-n_test]
    n_validation = int(0.1 * data.shape[0])
    return [data[:-n_validation], data[-n_validation:], test]


def standardised(published: list[np.ndarray]) -> list[np.ndarray]:
    both = np.vstack(published[:2])
    return [(part - both.mean(axis=0)) / both.std(axis=0) for part in published]


def test_power_is_prepared_as_published(tmp_path: Path) -> None:
    data = power(tmp_path)
    rng = np.random.RandomState(42)
    rng.shuffle(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    voltage_noise = 0.01 * rng.rand(ROWS, 1)
    gap_noise = 0.001 * rng.rand(ROWS, 1)
    meter_noise = rng.rand(ROWS, 3)
    data = data + np.hstack([gap_noise, voltage_noise, meter_noise, np.zeros((ROWS, 1))])
    dataset = load_dataset(PowerConfig(folder=str(tmp_path)))
    same(dataset, standardised(split(data)))
    assert dataset.unit == "nats (scaled)"


def test_miniboone_is_prepared_as_published(tmp_path: Path) -> None:
    data = miniboone(tmp_path)
    same(load_dataset(MiniBooNEConfig(folder=str(tmp_path))), standardised(split(data)))


class OneColumn(MiniBooNE):
    """The split of POWER and MINIBOONE on a single column."""

    features = 1


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("power", (1_659_917, 184_435, 204_928)),  # arXiv 1705.07057, appendix D
        ("miniboone", (29_556, 3_284, 3_648)),
    ],
)
def test_the_splits_are_as_large_as_published(kind: str, counts: tuple[int, ...], tmp_path: Path) -> None:
    assert SOURCES[kind].examples == f"{sum(counts):,}"
    (tmp_path / "miniboone").mkdir()
    np.save(tmp_path / "miniboone" / "data.npy", np.arange(sum(counts), dtype=np.float32)[:, None])
    loaded = OneColumn().load(MiniBooNEConfig(folder=str(tmp_path)))
    assert loaded.validation is not None
    assert loaded.test is not None
    assert tuple(map(len, (loaded.train, loaded.validation, loaded.test))) == counts


def test_hepmass_is_prepared_as_published(tmp_path: Path) -> None:
    train, test = hepmass(tmp_path)
    train, test = train[train[:, 0] == 1][:, 1:], test[test[:, 0] == 1][:, 1:-1]
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    kept = [n for n, column in enumerate(train.T) if min(Counter(column.tolist()).items())[1] <= 5]
    assert len(kept) == 21
    train, test = train[:, kept], test[:, kept]
    count = int(len(train) * 0.1)
    same(load_dataset(HepmassConfig(folder=str(tmp_path))), [train[:-count], train[-count:], test])


def test_bsds300_is_unchanged(tmp_path: Path) -> None:
    arrays = bsds300(tmp_path)
    dataset = load_dataset(BSDS300Config(folder=str(tmp_path)))
    same(dataset, arrays)
    assert dataset.unit == "nats"


# --- a pickled DataFrame, without pandas ------------------------------------------------------------------------------


LAYOUTS = [("0.14.1", 0, 3), ("0.14.1", 2, 2), ("0.14.1", 2, 3), ("0.14.1", 4, 3), ("blocks", 2, 3), ("blocks", 5, 3)]


def test_a_frame_is_read_without_pandas(tmp_path: Path) -> None:
    path = tmp_path / "frame.pickle"
    for layout, protocol, python in LAYOUTS:
        path.write_bytes(pandas_pickle(list(GAS), gas_values(), layout, protocol, python))
        names, values = read_frame(ConfigPath(path, "data.folder"))
        assert tuple(names) == GAS
        np.testing.assert_array_equal(values, gas_values())
        assert "pandas" not in sys.modules


def test_gas_is_prepared_as_published(tmp_path: Path) -> None:
    (tmp_path / "gas").mkdir()
    values = gas_values()
    (tmp_path / "gas" / "ethylene_CO.pickle").write_bytes(pandas_pickle(list(GAS), values, python=2))
    data = values[:, 3:]

    def crowd(data: np.ndarray) -> np.ndarray:
        return (np.corrcoef(data.T) > 0.98).sum(axis=1)

    while np.any(crowd(data) > 1):
        data = np.delete(data, np.where(crowd(data) > 1)[0][0], axis=1)
    assert data.shape[1] == 8
    expected = split((data - data.mean(axis=0)) / data.std(axis=0, ddof=1))
    same(load_dataset(GasConfig(folder=str(tmp_path))), expected)


class Bomb:
    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("function", [os.mkdir, exec, getattr, np.load, pickle.loads])
def test_a_pickle_that_calls_code_is_refused(tmp_path: Path, function: Callable[..., Any]) -> None:
    target = tmp_path / "exploded"
    (tmp_path / "gas").mkdir()
    for protocol in (0, 2, 5):
        bomb = pickle.dumps({"x": Bomb(function, str(target))}, protocol)
        (tmp_path / "gas" / "ethylene_CO.pickle").write_bytes(bomb)
        with pytest.raises(DataError, match=rf"data\.folder: .*wants to call .*{function.__name__}"):
            load_dataset(GasConfig(folder=str(tmp_path)))
        assert not target.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pickles_are_frames_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        content = bytearray(data.draw(st.binary(max_size=200)))
    else:
        layout, protocol, python = data.draw(st.sampled_from(LAYOUTS))
        content = bytearray(pandas_pickle(list(GAS), gas_values()[:9], layout, protocol, python))
        for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
            content[position] = value
        content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    path = tmp_path / "frame.pickle"
    path.write_bytes(content)
    try:
        names, values = read_frame(ConfigPath(path, "data.folder"))
    except DataError:
        return
    assert values.shape[1] == len(names)


# --- the archive ------------------------------------------------------------------------------------------------------


def archive(folder: Path, more: Callable[[tarfile.TarFile], None] = lambda tar: None) -> bytes:
    content = folder / "data"
    content.mkdir()
    power(content)
    hepmass(content)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        more(tar)
        tar.add(content, "data")
    return sink.getvalue()


def test_the_archive_is_downloaded_once_and_only_needed_files_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("NFKD_DATA", str(cache))

    def escape(tar: tarfile.TarFile) -> None:
        for name in ("../outside", "/tmp/nfkd-outside", "data/power/other.npy"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("data/power/data.npy")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    content = archive(tmp_path, escape)
    with serving(Site({"/data.tar.gz": content})) as site:
        remote = RemoteFile(f"{site.address}/data.tar.gz", f"md5:{hashlib.md5(content).hexdigest()}", "uci/data.tar.gz")
        source, progress = Power(remote), []
        with pytest.raises(NotFetchedError, match="POWER is not on this machine yet") as missing:
            source.load(PowerConfig())
        assert missing.value.event_shape == (6,)
        before = source.stamp(PowerConfig())
        source.fetch(PowerConfig(), lambda *step: progress.append(step))
        assert {name for name, _, _ in progress} == {"data.tar.gz", "data.npy"}
        assert source.stamp(PowerConfig()) != before
        source.fetch(PowerConfig(), lambda *step: progress.append(step))
        other = Hepmass(remote)
        hepmass_rows = other.load(HepmassConfig()).train.values.shape  # from the archive that is there
        assert len(site.asked) == 1
    assert hepmass_rows[1] == 21
    files = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}
    unpacked = {f"uci/data/{name}" for name in ("power/data.npy", "hepmass/1000_train.csv", "hepmass/1000_test.csv")}
    assert files == unpacked | {"uci/data.tar.gz"}
    (cache / "uci/data.tar.gz").unlink()
    loaded = source.load(PowerConfig())  # the unpacked file is enough
    np.testing.assert_array_equal(
        loaded.train.values[:], load_dataset(PowerConfig(folder=str(tmp_path / "data"))).train.values[:]
    )


def test_an_archive_without_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    sink = io.BytesIO()
    tarfile.open(fileobj=sink, mode="w:gz").close()
    content = sink.getvalue()
    (tmp_path / "uci").mkdir()
    (tmp_path / "uci" / "data.tar.gz").write_bytes(content)
    remote = RemoteFile("http://x/data.tar.gz", f"md5:{hashlib.md5(content).hexdigest()}", "uci/data.tar.gz")
    with pytest.raises(DataError, match=r"holds no data/power/data\.npy"):
        Power(remote).load(PowerConfig())


# --- refusals ---------------------------------------------------------------------------------------------------------


def replaced(folder: Path, content: np.ndarray) -> str:
    (folder / "power").mkdir(exist_ok=True)
    np.save(folder / "power" / "data.npy", content)
    return str(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.zeros((ROWS, 8)), "gives no finite number in column 5"),
        (RNG.normal(size=(ROWS, 9)), "gives 7 columns instead of 6"),
        (RNG.normal(size=(40, 8)), "gives a split of 3 rows"),
        (RNG.normal(size=(3, 8)), "too few to be split"),
        (RNG.normal(size=(ROWS, 2)), "is not a table of numbers"),
        (RNG.normal(size=ROWS), "is not a table of numbers"),
        (np.full((ROWS, 8), "x"), "is not a table of numbers"),
        (np.where(np.arange(8) == 7, np.nan, RNG.normal(size=(ROWS, 8))), "gives no finite number in column 5"),
    ],
)
def test_other_files_than_the_published_ones_are_refused(tmp_path: Path, content: np.ndarray, expected: str) -> None:
    with pytest.raises(DataError, match=rf"data\.folder: .*data\.npy: .*{expected}"):
        load_dataset(PowerConfig(folder=replaced(tmp_path, content)))


def test_a_value_too_large_for_a_flow_is_refused(tmp_path: Path) -> None:
    data = miniboone(tmp_path)
    data[-1, 3] = 1e300  # in the test split, which the scaling does not see
    np.save(tmp_path / "miniboone" / "data.npy", data)
    with pytest.raises(DataError, match=r"data\.folder: .*no finite number in column 3, row 39 of a split"):
        load_dataset(MiniBooNEConfig(folder=str(tmp_path)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.folder: .*holds no BSDS300/BSDS300\.hdf5: unpack https://zenodo"):
        load_dataset(BSDS300Config(folder=str(tmp_path)))


def test_text_that_is_not_hepmass_is_refused(tmp_path: Path) -> None:
    hepmass(tmp_path)
    for text in ("", "a,b\n1,x\n", "a\n1\n", "\0\0\0", '"'):
        (tmp_path / "hepmass" / "1000_train.csv").write_text(text)
        with pytest.raises(DataError, match=r"data\.folder"):
            load_dataset(HepmassConfig(folder=str(tmp_path)))


def test_bsds300_follows_no_link_out_of_its_file(tmp_path: Path) -> None:
    bsds300(tmp_path)
    with h5py.File(tmp_path / "BSDS300" / "BSDS300.hdf5", "a") as file:
        del file["test"]
        file["test"] = h5py.ExternalLink("elsewhere.h5", "x")
    with pytest.raises(DataError, match=r"data\.folder: .*BSDS300\.hdf5: test is a link"):
        load_dataset(BSDS300Config(folder=str(tmp_path)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tables_give_data_or_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    for make, name, config in (
        (power, "power/data.npy", PowerConfig),
        (bsds300, "BSDS300/BSDS300.hdf5", BSDS300Config),
        (hepmass, "hepmass/1000_test.csv", HepmassConfig),
    ):
        if not (tmp_path / name).exists():
            make(tmp_path)
            (tmp_path / f"{Path(name).name}.whole").write_bytes((tmp_path / name).read_bytes())
        content = bytearray((tmp_path / f"{Path(name).name}.whole").read_bytes())
        for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
            content[position] = value
        cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
        (tmp_path / name).write_bytes(content[:cut])
        try:
            dataset = load_dataset(config(folder=str(tmp_path)))
        except DataError:
            continue
        assert np.isfinite(dataset.train.values[:]).all()
