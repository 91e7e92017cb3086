"""MNIST and similar sets, and CIFAR-10: all formats of their files, and files that are refused."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import DataConfig
from nfkd.config.data import CIFAR10Config, FashionMNISTConfig, KMNISTConfig, MNISTConfig
from nfkd.data import DataError, Dataset, NotFetchedError, load_dataset
from nfkd.data.source import RemoteFile
from nfkd.data.sources.mnist import IDXImages
from tests.core.data import image_files as files
from tests.core.data.loopback import Site, serving


def rows(values: np.ndarray) -> list[bytes]:
    return sorted(value.tobytes() for value in values)


def refusal(config: DataConfig) -> tuple[str, str]:
    with pytest.raises(DataError) as refused:
        load_dataset(config)
    (problem,) = refused.value.problems
    return problem.path, problem.message


@pytest.mark.parametrize(("config", "packed"), [(MNISTConfig, True), (FashionMNISTConfig, False), (KMNISTConfig, True)])
def test_idx_images_are_padded_and_keep_their_test_split(config: Any, packed: bool, tmp_path: Path) -> None:
    arrays = files.write_mnist(tmp_path, packed=packed)
    dataset = load_dataset(config(folder=str(tmp_path), validation_fraction=0.25, class_labels=True))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [45, 15, 20]
    assert dataset.event_shape == (1, 32, 32)
    assert dataset.levels == 256
    test = dataset.test.values[:]
    np.testing.assert_array_equal(test[:, 0, 2:30, 2:30], arrays["t10k-images-idx3-ubyte"])
    assert test.sum() == arrays["t10k-images-idx3-ubyte"].sum()  # zeros around them
    assert dataset.test.context is not None
    np.testing.assert_array_equal(dataset.test.context.argmax(1), arrays["t10k-labels-idx1-ubyte"])
    rest = np.concatenate([dataset.train.values[:], dataset.validation.values[:]])[:, 0, 2:30, 2:30]
    assert rows(rest) == rows(arrays["train-images-idx3-ubyte"])


def test_fewer_bits_give_fewer_levels(tmp_path: Path) -> None:
    arrays = files.write_mnist(tmp_path)
    dataset = load_dataset(MNISTConfig(folder=str(tmp_path), bits=5))
    assert dataset.levels == 32
    floored = np.floor(arrays["t10k-images-idx3-ubyte"] / 8).astype(np.uint8)
    np.testing.assert_array_equal(dataset.test.values[:][:, 0, 2:30, 2:30], floored)
    uniform = torch.zeros(2)
    torch.testing.assert_close(dataset.nll(uniform), torch.full((2,), 5.0))
    x = dataset.dequantize(torch.from_numpy(dataset.test.values[:]), torch.Generator().manual_seed(0))
    assert x.min() >= 0
    assert x.max() < 1
    np.testing.assert_array_equal(np.floor(x.numpy() * 32), dataset.test.values[:])


def change(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    files.write_mnist(tmp_path)
    config = MNISTConfig(folder=str(tmp_path))
    first = load_dataset(config)
    assert load_dataset(config) is first
    images = files.some(20, 28, 28)
    change(tmp_path / "t10k-images-idx3-ubyte.gz", gzip.compress(files.idx(images)))
    np.testing.assert_array_equal(load_dataset(config).test.values[:][:, 0, 2:30, 2:30], images)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("train-images-idx3-ubyte", b"", "is not an IDX file"),
        ("train-images-idx3-ubyte", b"\x89PNG and more", "is not an IDX file: it begins with 89 50 4e 47"),
        ("train-images-idx3-ubyte", files.idx(files.some(60, 28, 28))[:-1], "is truncated: 47,039 of 47,040 values"),
        ("train-images-idx3-ubyte", files.idx(files.some(60, 28, 28))[:9], "is truncated in its header"),
        ("train-images-idx3-ubyte", files.idx(files.some(60, 28, 28)) + b"x", "has more bytes after its 47,040 values"),
        ("train-images-idx3-ubyte", files.idx(files.some(60, 28, 28), code=13), "type 0x0d and 3 dimensions"),
        ("train-images-idx3-ubyte", files.idx(files.some(60)), "type 0x08 and 1 dimensions"),
        ("train-images-idx3-ubyte", files.idx(files.some(60, 28, 27)), "28×27 pixels instead of 28×28"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "claims 4294967295×4294967295×4294967295"),
        ("train-labels-idx1-ubyte", files.idx(files.some(59, high=10)), "59 labels for 60 images"),
        ("train-labels-idx1-ubyte", files.idx(np.array([3] * 7 + [10] + [0] * 52, np.uint8)), "label number 7 is 10"),
        ("t10k-images-idx3-ubyte", files.idx(files.some(3, 28, 28)), "holds 3 images: at least 8"),
    ],
)
def test_wrong_idx_files_are_refused(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    for packed in (False, True):
        folder = tmp_path / str(packed)
        folder.mkdir()
        files.write_mnist(folder, packed=packed)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
        field, message = refusal(MNISTConfig(folder=str(folder)))
        assert field == "data.folder"
        assert str(path) in message
        assert expected in message


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    files.write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    assert "cannot be read: it is truncated, get it again" in refusal(MNISTConfig(folder=str(tmp_path)))[1]


def test_loading_never_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    for config in (MNISTConfig(), FashionMNISTConfig(), KMNISTConfig()):
        with pytest.raises(NotFetchedError) as missing:
            load_dataset(config)
        assert missing.value.event_shape == (1, 32, 32)
        assert len(missing.value.files) == 4
        assert "MB" in str(missing.value)
        assert list(tmp_path.iterdir()) == []


def test_downloaded_files_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    arrays = files.write_mnist(tmp_path)
    contents = {f"/{name}.gz": (tmp_path / f"{name}.gz").read_bytes() for name in arrays}
    with serving(Site(contents)) as site:

        class Local(IDXImages):
            config = MNISTConfig
            title = "local"
            downloads = tuple(
                RemoteFile(site.address + path, hashlib.sha256(content).hexdigest(), f"local{path}")
                for path, content in contents.items()
            )

        source, config = Local(), MNISTConfig()
        before = source.stamp(config)
        with pytest.raises(NotFetchedError):
            source.load(config)
        source.fetch(config, lambda *_: None)
    loaded = source.load(config)
    assert loaded.test is not None
    np.testing.assert_array_equal(loaded.test.values[:][:, 0, 2:30, 2:30], arrays["t10k-images-idx3-ubyte"])
    assert source.stamp(config) != before


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------------


def unpack(folder: Path, members: dict[str, bytes]) -> None:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("layout", ["archive", "folder in folder", "folder"])
def test_cifar_is_read_from_both_versions(version: str, layout: str, tmp_path: Path) -> None:
    batches = files.cifar()
    members = files.cifar_files(batches, version)
    if layout == "archive":
        (tmp_path / f"cifar-10-{version}.tar.gz").write_bytes(files.tar(members))
    else:
        unpack(tmp_path, members)
    folder = tmp_path if layout != "folder" else tmp_path / Path(next(iter(members))).parent
    dataset = load_dataset(CIFAR10Config(folder=str(folder), class_labels=True))
    assert dataset.event_shape == (3, 32, 32)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [51, 9, 12]
    images, labels = batches["test_batch"]
    np.testing.assert_array_equal(dataset.test.values[:], images)
    assert dataset.test.context is not None
    np.testing.assert_array_equal(dataset.test.context.argmax(1), labels)
    rest = np.concatenate([dataset.train.values[:], dataset.validation.values[:]])
    assert rows(rest) == rows(np.concatenate([batches[name][0] for name in files.BATCHES[:-1]]))


def python_2_pickle(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a pickle as in the published files: protocol 2 of Python 2, whose strings are bytes."""

    def text(value: bytes) -> bytes:
        return pickle.BINSTRING + len(value).to_bytes(4, "little") + value

    def tuple_(*items: bytes) -> bytes:
        return pickle.MARK + b"".join(items) + pickle.TUPLE

    def number(value: int) -> bytes:
        return pickle.BININT + value.to_bytes(4, "little", signed=True)

    flat = images.reshape(len(images), -1)
    dtype = (
        pickle.GLOBAL + b"numpy\ndtype\n" + tuple_(text(b"u1"), number(0), number(1)) + pickle.REDUCE
        + tuple_(number(3), text(b"|"), pickle.NONE, pickle.NONE, pickle.NONE, number(-1), number(-1), number(0))
        + pickle.BUILD
    )  # fmt: skip
    array = (
        pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n"
        + tuple_(pickle.GLOBAL + b"numpy\nndarray\n", tuple_(number(0)), text(b"b")) + pickle.REDUCE
        + tuple_(number(1), tuple_(*map(number, flat.shape)), dtype, pickle.NEWFALSE, text(flat.tobytes()))
        + pickle.BUILD
    )  # fmt: skip
    numbers = pickle.EMPTY_LIST + pickle.MARK + b"".join(number(int(label)) for label in labels) + pickle.APPENDS
    items = text(b"data") + array + text(b"labels") + numbers
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS + pickle.STOP


def test_cifar_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    batches = files.cifar()
    content = python_2_pickle(*batches["test_batch"])
    loaded = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(loaded[b"data"], batches["test_batch"][0].reshape(12, -1))
    unpack(tmp_path, {name: python_2_pickle(*batch) for name, batch in batches.items()})
    dataset = load_dataset(CIFAR10Config(folder=str(tmp_path)))
    np.testing.assert_array_equal(dataset.test.values[:], batches["test_batch"][0])


class Bomb:
    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.sign),)


@pytest.mark.parametrize("archived", [True, False])
def test_a_pickle_that_calls_code_is_refused(archived: bool, tmp_path: Path) -> None:
    sign = tmp_path / "called"
    members = files.cifar_files(files.cifar(), "python")
    members["cifar-10-batches-py/data_batch_3"] = pickle.dumps({b"data": Bomb(sign), b"labels": []})
    if archived:
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(files.tar(members))
    else:
        unpack(tmp_path, members)
    field, message = refusal(CIFAR10Config(folder=str(tmp_path)))
    assert field == "data.folder"
    assert "data_batch_3" in message
    assert "wants to call posix.mkdir" in message or "wants to call nt.mkdir" in message
    assert not sign.exists()


def pickled(content: object) -> bytes:
    return pickle.dumps(content, 3)


IMAGES = files.some(12, 3072)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pickled([1, 2]), "holds no dictionary"),
        (pickled({b"labels": [0] * 12}), "its data is not an array of bytes"),
        (pickled({b"data": IMAGES.astype(np.float32), b"labels": [0] * 12}), "its data is not an array of bytes"),
        (pickled({b"data": IMAGES[:, :-1], b"labels": [0] * 12}), "its data is not an array of bytes"),
        (pickled({b"data": np.array([None]), b"labels": [0] * 12}), "instead of numbers"),
        (pickled({b"data": IMAGES, b"labels": [0] * 11}), "its labels are no list"),
        (pickled({b"data": IMAGES, b"labels": [0] * 11 + [10]}), "its labels are no list"),
        (pickled({b"data": IMAGES[:0], b"labels": []}), "its labels are no list"),
        (pickled({b"data": IMAGES, b"labels": [0] * 12})[:-500], "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_wrong_pickles_are_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    unpack(tmp_path, files.cifar_files(files.cifar(), "python"))
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(content)
    field, message = refusal(CIFAR10Config(folder=str(tmp_path)))
    assert field == "data.folder"
    assert str(path) in message
    assert expected in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content[:-1], "11 whole images and 3,072 bytes more"),
        (lambda content: b"", "0 whole images"),
        (lambda content: content[:3073] + b"\x0a" + content[3074:], "image number 1 has the label 10"),
    ],
)
def test_wrong_binary_files_are_refused(change: Any, expected: str, tmp_path: Path) -> None:
    members = files.cifar_files(files.cifar(), "binary")
    name = "cifar-10-batches-bin/data_batch_4.bin"
    members[name] = change(members[name])
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(files.tar(members))
    field, message = refusal(CIFAR10Config(folder=str(tmp_path)))
    assert field == "data.folder"
    assert "data_batch_4.bin" in message
    assert expected in message


def test_missing_batches_are_refused(tmp_path: Path) -> None:
    assert "holds neither cifar-10-binary.tar.gz nor" in refusal(CIFAR10Config(folder=str(tmp_path)))[1]
    members = files.cifar_files(files.cifar(), "binary")
    del members["cifar-10-batches-bin/data_batch_5.bin"]
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(files.tar(members))
    assert "holds no data_batch_5.bin" in refusal(CIFAR10Config(folder=str(tmp_path)))[1]


def test_bits_per_dimension_count_all_three_channels(tmp_path: Path) -> None:
    unpack(tmp_path, files.cifar_files(files.cifar(), "binary"))
    dataset: Dataset = load_dataset(CIFAR10Config(folder=str(tmp_path), bits=3))
    log_prob = torch.full((1,), -3072 * math.log(2))
    torch.testing.assert_close(dataset.nll(log_prob), torch.tensor([1.0 + 3.0]))
