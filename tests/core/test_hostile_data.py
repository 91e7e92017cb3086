"""Hostile data files: one short message, little memory, and nothing runs."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import psutil
import pytest

from nfkd.cli import REFUSED, main
from nfkd.config import ConfigError
from nfkd.config.datasets import parse_data
from nfkd.data import DataError, load_dataset
from nfkd.data.archives import open_archive
from nfkd.data.files import ConfigPath
from nfkd.data.pictures import decode
from nfkd.data.sources.cifar import CIFAR10
from nfkd.files import FileKindError, FileTooLargeError
from tests import hostile

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither FIFOs nor these devices"),
    pytest.mark.timeout(60),
]


def refused(**data: object) -> str:
    """Return why a data set is refused."""
    with pytest.raises((DataError, ConfigError)) as error:
        load_dataset(parse_data(data))
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    ["x.npy", "x.npz", "x.h5", "x.csv", "x.tsv", "x.parquet", "x.txt", "x.csv.gz", "x.zip", "x.feather", "x.xlsx"],
)
def test_hostile_data_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    kinds = (["table"] if name != "x.npz" else []) + (["image_stack"] if name[-3:] in {"npy", "npz", ".h5"} else [])
    for build in set(hostile.ANY_FILE.values()) - {hostile.endless}:
        build(tmp_path / name)
        for kind in kinds:
            assert name in refused(kind=kind, path=str(tmp_path / name))


@pytest.mark.parametrize("case", hostile.ARRAYS)
def test_an_array_with_a_false_size_takes_no_memory_and_gives_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build, suffix = hostile.ARRAYS[case]
    path = tmp_path / f"hostile{suffix}"
    build(path)
    tracemalloc.start()  # NumPy reports its arrays to it, and h5py's are NumPy's
    try:
        message = refused(kind="image_stack", path=str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert path.stem in message
    assert main(["data", "show", str(path)]) == REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert path.name in line


def test_the_header_of_a_npy_file_may_be_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for header in (b"((", b"('x", b"  x\n y\n", b"{1: 2, 'a': 3, b'c': 1}", b"\0\0"):
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
        with pytest.raises(ConfigError, match=r"x\.npy cannot be read as a \.npy file: it is damaged"):
            parse_data(str(path))


def test_an_unclosed_quote_gives_a_short_message(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n1,2\n"' + "x" * 1_000_000)
    message = refused(kind="table", path=str(tmp_path / "x.csv"))
    assert "x.csv: cannot be read as a table" in message
    assert len(message) < 500 + len(str(tmp_path))


def test_compressed_text_in_a_table_is_measured_before_it_takes_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    hostile.packed_parquet(path)
    assert path.stat().st_size < 100_000
    free = psutil.virtual_memory()._replace(available=50_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert "takes about 0.4 GiB" in refused(kind="table", path=str(path), columns=["number"])  # 2 copies of 200 MB


def test_lists_in_a_table_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    hostile.packed_lists(path)
    assert len(load_dataset(parse_data({"kind": "table", "path": str(path)})).columns) == 1
    assert "holds lists" in refused(kind="table", path=str(path), columns=["list"])


def test_a_large_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    hostile.content(hostile.png_claiming(8100, 8100))(tmp_path / "x.png")
    with pytest.raises(DataError, match="64 megapixels"):
        decode(ConfigPath(tmp_path / "x.png", "data.path"), 8, colour=False)


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_images_and_archives_that_are_no_files_are_refused(kind: str, tmp_path: Path) -> None:
    for name in ("x.png", "cifar-10-binary.tar.gz", "train-images-idx3-ubyte"):
        hostile.ANY_FILE[kind](tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        decode(ConfigPath(tmp_path / "x.png", "data.path"), 8, colour=False)
    with pytest.raises(DataError, match="not a regular file"):
        CIFAR10().load(parse_data({"kind": "cifar10", "folder": str(tmp_path)}))  # pyright: ignore[reportArgumentType]
    assert "not a regular file" in refused(kind="mnist", folder=str(tmp_path))


def test_an_archive_is_not_unpacked_beyond_its_limit(tmp_path: Path) -> None:
    hostile.packed_tar(tmp_path / "x.tar.gz", 8 << 20)
    with pytest.raises(FileTooLargeError, match="unpacks to more"), open_archive(tmp_path / "x.tar.gz", 1 << 20) as tar:
        list(tar)
    os.mkfifo(tmp_path / "fifo.tar.gz")
    with pytest.raises(FileKindError), open_archive(tmp_path / "fifo.tar.gz", 1 << 20):
        pass
