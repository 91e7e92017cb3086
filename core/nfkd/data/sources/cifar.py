"""CIFAR-10, in the binary or the pickled version."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

import numpy as np

from nfkd.config.data import CIFAR10Config
from nfkd.data.archives import open_archive
from nfkd.data.cache import cached, candidates
from nfkd.data.cifar import CLASSES, SHAPE, Images, read_binary, read_pickled
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.files import ConfigPath, expanded, named_folder, stamp
from nfkd.data.images import FEWEST, class_context, loaded_images
from nfkd.data.source import Loaded, OnProgress, RemoteFile, Source
from nfkd.files import is_taken, open_regular

_TITLE = "CIFAR-10"
_FIELD = "data.folder"
# Address and checksum: tensorflow/datasets, tensorflow_datasets/url_checksums/cifar10.txt.
_FILES = (
    RemoteFile(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar10/cifar-10-binary.tar.gz",
        170_052_171,
    ),
)
_NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
# Suffix of the files, their folder and their archive.
_BINARY = (".bin", "cifar-10-batches-bin", "cifar-10-binary.tar.gz")
_PICKLED = ("", "cifar-10-batches-py", "cifar-10-python.tar.gz")
_LARGEST = 64 << 20  # bytes of a file; the published ones have half as many
_MOST_UNPACKED = 1 << 30  # bytes; six times the published archive
_Contents = Callable[[], dict[str, bytes]]


class CIFAR10(Source[CIFAR10Config]):
    """Colour images of 32×32 pixels in ten classes."""

    config = CIFAR10Config
    shape, unit = "3×32×32", "bits/dim"
    examples, origin = "60,000", "downloaded"
    downloads = _FILES

    def load(self, config: CIFAR10Config) -> Loaded:
        """Return the images; the validation split is taken from the training images."""
        location, suffix, read = self._find(config)
        train, test = (
            DataSplit(
                values,
                class_context(labels, CLASSES) if config.class_labels else None,
                labels=np.asarray(labels, np.int64),
            )
            for values, labels in _parse(location, suffix, read())
        )
        return loaded_images(config, _TITLE, train, test=test)

    def find(self, config: CIFAR10Config) -> None:
        """Check that either version is there."""
        self._find(config)

    def _find(self, config: CIFAR10Config) -> tuple[ConfigPath, str, _Contents]:
        """Return a folder or an archive, the suffix of its files, and a function that reads them.

        In the user's folder, unpacked files come before packed ones, and the binary version before the pickled one.
        """
        if not config.folder:
            (archive,) = cached(_FILES, title=_TITLE, event_shape=SHAPE, kind=self.kind)
            location = ConfigPath(archive, _FIELD, SHAPE)
            return location, _BINARY[0], partial(_read_archive, location, _BINARY[0])
        root = named_folder(config.folder, _FIELD, SHAPE)
        for suffix, name, archive in (_BINARY, _PICKLED):
            for folder in (root.path, root.path / name):
                if is_taken(folder / f"{_NAMES[-1]}{suffix}"):
                    return ConfigPath(folder, _FIELD, SHAPE), suffix, partial(_read_folder, folder, suffix)
            if is_taken(root.path / archive):
                location = ConfigPath(root.path / archive, _FIELD, SHAPE)
                return location, suffix, partial(_read_archive, location, suffix)
        return root.refuse(
            f"holds neither {_BINARY[2]} nor {_PICKLED[2]}, nor their files: name the folder that does, "
            f"or leave it empty to download {_TITLE}"
        )

    def fetch(self, config: CIFAR10Config, on_progress: OnProgress) -> None:
        """Download the binary version if it is missing."""
        if config.folder:
            self.load(config)
        else:
            fetch(_FILES, "", on_progress, title=_TITLE)

    def stamp(self, config: CIFAR10Config) -> Hashable:
        """Return the stamp of the files."""
        if not config.folder:
            return stamp(candidates(_FILES))
        root = expanded(config.folder)
        return stamp(
            path
            for suffix, name, archive in (_BINARY, _PICKLED)
            for path in (root / archive, *(r / f"{batch}{suffix}" for r in (root, root / name) for batch in _NAMES))
        )


def _read_folder(folder: Path, suffix: str) -> dict[str, bytes]:
    contents = {}
    for name in (f"{batch}{suffix}" for batch in _NAMES):
        file = ConfigPath(folder / name, _FIELD, SHAPE)
        with file.reading(), open_regular(file.path) as content:
            contents[name] = _limited(file, content.read(_LARGEST + 1))
    return contents


def _read_archive(location: ConfigPath, suffix: str) -> dict[str, bytes]:
    """Read the files of an archive, whatever folder they are in; nothing is unpacked to the disk."""
    contents = {}
    names = [f"{batch}{suffix}" for batch in _NAMES]
    with location.reading(), open_archive(location.path, _MOST_UNPACKED) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in names and member.isfile() and not member.issparse():
                content = archive.extractfile(member)
                contents[name] = b"" if content is None else _limited(location, content.read(_LARGEST + 1))
    for name in names:
        if name not in contents:
            location.refuse(f"holds no {name}: get it again")
    return contents


def _limited(file: ConfigPath, content: bytes) -> bytes:
    if len(content) > _LARGEST:
        file.refuse("is larger than any file of CIFAR-10")
    return content


def _parse(location: ConfigPath, suffix: str, contents: dict[str, bytes]) -> tuple[Images, Images]:
    """Return the training and the test images."""
    read = read_binary if suffix else read_pickled
    *train, test = (
        read(ConfigPath(location.path / name, _FIELD, SHAPE), contents[name])
        for name in (f"{batch}{suffix}" for batch in _NAMES)
    )
    if len(test[0]) < FEWEST:
        location.refuse(f"{_NAMES[-1]}{suffix} holds fewer than {FEWEST} images")
    values, labels = zip(*train, strict=True)
    return (np.concatenate(values), np.concatenate(labels)), test


SOURCES = (CIFAR10(),)
