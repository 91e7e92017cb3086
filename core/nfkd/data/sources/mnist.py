"""MNIST and the data sets that come in its format."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from nfkd.config.data import FashionMNISTConfig, KMNISTConfig, MNISTConfig
from nfkd.data.cache import cached, candidates
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.files import ConfigPath, stamp
from nfkd.data.idx import read_idx
from nfkd.data.images import FEWEST, class_context, loaded_images
from nfkd.data.source import Loaded, OnProgress, RemoteFile, Source

_Config = MNISTConfig | FashionMNISTConfig | KMNISTConfig
_SHAPE = (1, 32, 32)
_MARGIN = 2  # pixels of zeros on each side of 28: three squeezes need a multiple of 8
_CLASSES = 10
_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _remote_files(address: str, folder: str, *checksums: tuple[str, int]) -> tuple[RemoteFile, ...]:
    """Return the four files of a data set, from their SHA-256 and sizes."""
    return tuple(
        RemoteFile(f"{address}/{name}", sha256, f"{folder}/{name}", size)
        for name, (sha256, size) in zip(_NAMES, checksums, strict=True)
    )


class IDXImages(Source[_Config]):
    """Images of 28×28 pixels in ten classes, with a test split of their own."""

    shape, unit = "1×32×32", "bits/dim"
    examples, origin = "70,000", "downloaded"
    title: ClassVar[str]

    def load(self, config: _Config) -> Loaded:
        """Return the images with a margin; the validation split is taken from the training images."""
        train_images, train_labels, test_images, test_labels = self._find(config)
        train = _read_split(train_images, train_labels, labelled=config.class_labels)
        test = _read_split(test_images, test_labels, labelled=config.class_labels)
        return loaded_images(config, self.title, train, test=test)

    def find(self, config: _Config) -> None:
        """Check that the four files are there."""
        self._find(config)

    def _find(self, config: _Config) -> list[ConfigPath]:
        paths = cached(self.downloads, config.folder, title=self.title, event_shape=_SHAPE, kind=self.kind)
        return [ConfigPath(path, "data.folder", _SHAPE) for path in paths]

    def fetch(self, config: _Config, on_progress: OnProgress) -> None:
        """Download the missing files."""
        fetch(self.downloads, config.folder, on_progress, title=self.title)

    def stamp(self, config: _Config) -> Hashable:
        """Return the stamp of the files."""
        return stamp(candidates(self.downloads, config.folder))


def _read_split(images: ConfigPath, labels: ConfigPath, *, labelled: bool) -> DataSplit:
    values = read_idx(images, 3)
    if values.shape[1:] != (28, 28):
        images.refuse(f"holds images of {values.shape[1]}×{values.shape[2]} pixels instead of 28×28")
    if len(values) < FEWEST:
        images.refuse(f"holds {len(values)} images: at least {FEWEST} are needed")
    classes = read_idx(labels, 1)
    if len(classes) != len(values):
        labels.refuse(f"holds {len(classes):,} labels for {len(values):,} images: the files do not belong together")
    if classes.max() >= _CLASSES:
        wrong = int(np.argmax(classes >= _CLASSES))
        labels.refuse(f"label number {wrong} is {classes[wrong]}: there are {_CLASSES} classes")
    padded = np.pad(values, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)))[:, None]
    context = class_context(classes, _CLASSES) if labelled else None
    return DataSplit(padded, context, labels=classes.astype(np.int64))


class MNIST(IDXImages):
    """Handwritten digits."""

    config = MNISTConfig
    title = "MNIST"
    # Address and checksums: tensorflow/datasets, tensorflow_datasets/url_checksums/mnist.txt.
    downloads = _remote_files(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "mnist",
        ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
        ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
        ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
        ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
    )


class FashionMNIST(IDXImages):
    """Clothing."""

    config = FashionMNISTConfig
    title = "Fashion-MNIST"
    # Checksums: tensorflow/datasets, url_checksums/fashion_mnist.txt; the files from the authors' repository.
    downloads = _remote_files(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "fashion_mnist",
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
    )


class KMNIST(IDXImages):
    """Cursive Japanese characters."""

    config = KMNISTConfig
    title = "KMNIST"
    # Addresses and checksums: tensorflow/datasets, url_checksums/kmnist.txt.
    downloads = _remote_files(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
        "kmnist",
        ("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", 18_165_135),
        ("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", 29_497),
        ("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", 3_041_136),
        ("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", 5_120),
    )


SOURCES = (MNIST(), FashionMNIST(), KMNIST())
