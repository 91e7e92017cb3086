"""Every reader of images gives valid images or a `DataError` for any bytes and for damaged files."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.config import ConfigProblem, DataConfig
from nfkd.config.data import CelebAConfig, CIFAR10Config, ImageFolderConfig, ImageStackConfig, MNISTConfig
from nfkd.data import DataError
from nfkd.data.dataset import DataSplit
from nfkd.data.sources import SOURCES
from tests.core.data import image_files as files


@dataclass(frozen=True)
class Case:
    """A data set on disk, one of whose files is changed.

    Attributes
    ----------
    write
        Writes the data set into a folder.
    target
        The file that is changed, in that folder.
    config
        Of the data set, from its folder.
    """

    write: Callable[[Path], object]
    target: str
    config: Callable[[Path], DataConfig]


def one(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def many(members: dict[str, bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, content in members.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return write


def mnist(packed: bool) -> Callable[[Path], object]:
    return lambda folder: files.write_mnist(folder, packed=packed, count=10)


def folder_config(folder: Path) -> ImageFolderConfig:
    return ImageFolderConfig(path=str(folder), size=8)


def stack(name: str) -> Callable[[Path], DataConfig]:
    return lambda folder: ImageStackConfig(
        path=str(folder / name), key="" if name.endswith("npy") else "images", labels_key="labels",
        class_labels=not name.endswith("npy"),
    )  # fmt: skip


SMALL = files.some(9, 3, 4, 4)
LABELS = files.some(9, high=3)
BATCHES = files.cifar(9)
CASES = {
    "idx": Case(mnist(False), "train-images-idx3-ubyte", lambda folder: MNISTConfig(folder=str(folder))),
    "idx labels": Case(mnist(False), "t10k-labels-idx1-ubyte", lambda folder: MNISTConfig(folder=str(folder))),
    "idx.gz": Case(mnist(True), "t10k-images-idx3-ubyte.gz", lambda folder: MNISTConfig(folder=str(folder))),
    "cifar binary": Case(
        many(files.cifar_files(BATCHES, "binary")),
        "cifar-10-batches-bin/data_batch_2.bin",
        lambda folder: CIFAR10Config(folder=str(folder), class_labels=True),
    ),
    "cifar pickle": Case(
        many(files.cifar_files(BATCHES, "python")),
        "cifar-10-batches-py/data_batch_2",
        lambda folder: CIFAR10Config(folder=str(folder), class_labels=True),
    ),
    "cifar tar": Case(
        one("cifar-10-binary.tar.gz", files.tar(files.cifar_files(files.cifar(8), "binary"))),
        "cifar-10-binary.tar.gz",
        lambda folder: CIFAR10Config(folder=str(folder)),
    ),
    "npy": Case(one("x.npy", files.npy(SMALL)), "x.npy", stack("x.npy")),
    "npz": Case(one("x.npz", files.npz(images=SMALL, labels=LABELS)), "x.npz", stack("x.npz")),
    "h5": Case(one("x.h5", files.h5(images=SMALL, labels=LABELS)), "x.h5", stack("x.h5")),
    "list": Case(
        many(
            {f"img_align_celeba/{number}.jpg": b"" for number in range(30)}
            | {"list_eval_partition.txt": "".join(f"{number}.jpg {number % 3}\n" for number in range(30)).encode()}
        ),
        "list_eval_partition.txt",
        lambda folder: CelebAConfig(folder=str(folder)),
    ),
} | {
    kind: Case(one(f"x.{kind}", files.picture(files.some(9, 9, 3), kind)), f"x.{kind}", folder_config)
    for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")
}  # fmt: skip


@pytest.fixture(scope="module")
def folders() -> Iterator[Callable[[str], Path]]:
    """Return a function that returns the folder of a case; its files are written once."""
    with tempfile.TemporaryDirectory() as root:

        def written(name: str) -> Path:
            folder = Path(root, name)
            if not folder.exists():
                folder.mkdir()
                CASES[name].write(folder)
            return folder

        yield written


def check(config: DataConfig) -> None:
    """Load and read everything: the result is valid images or a `DataError`."""
    problems: list[ConfigProblem] | None = None
    read: list[tuple[DataSplit, np.ndarray]] = []
    try:
        loaded = SOURCES[config.kind].load(config)
        splits = [split for split in (loaded.train, loaded.validation, loaded.test) if split is not None]
        read = [(split, split.values[:]) for split in splits if config.kind != "celeba64"]
    except DataError as error:
        problems = error.problems
    for split, images in read:
        check_images(split, images)
    if problems is not None:
        assert problems
        assert all(problem.path.startswith("data.") and problem.message for problem in problems)


def check_images(split: DataSplit, images: np.ndarray) -> None:
    assert images.dtype == np.uint8
    assert images.ndim == 4
    assert images.shape == tuple(split.values.shape)
    assert split.context is None or len(split.context) == len(images)


CHANGES = st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 255)), max_size=4)


def test_whole_files_are_valid(folders: Callable[[str], Path]) -> None:
    for name, case in CASES.items():
        config = case.config(folders(name))
        loaded = SOURCES[config.kind].load(config)
        if config.kind != "celeba64":
            check_images(loaded.train, loaded.train.values[:])


@pytest.mark.filterwarnings("ignore")  # Pillow and NumPy warn about damaged files
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15)
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_any_bytes(name: str, content: bytes, packed: bool, folders: Callable[[str], Path]) -> None:
    folder = folders(name)
    target = folder / CASES[name].target
    whole = target.read_bytes()
    try:
        target.write_bytes(gzip.compress(content) if packed else content)
        check(CASES[name].config(folder))
    finally:
        target.write_bytes(whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=30)
@given(
    changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 2**31)), extra=st.binary(max_size=3), head=st.booleans()
)
def test_changed_files(
    name: str,
    changes: list[tuple[int, int]],
    cut: int | None,
    extra: bytes,
    head: bool,
    folders: Callable[[str], Path],
) -> None:
    folder = folders(name)
    target = folder / CASES[name].target
    whole = target.read_bytes()
    content = bytearray(whole)
    for position, difference in changes:
        content[position % (min(len(content), 200) if head else len(content))] ^= difference
    if cut is not None:
        del content[cut % len(content) :]
    try:
        target.write_bytes(bytes(content) + extra)
        check(CASES[name].config(folder))
    finally:
        target.write_bytes(whole)
