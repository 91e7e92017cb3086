"""CIFAR-10, in the binary or the pickled version."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from nfkd.config.data import CIFAR10Config
from nfkd.data.archives import open_archive
from nfkd.data.cache import cached, places, stamp
from nfkd.data.cifar import CLASSES, MOST, SHAPE, Images, read_binary, read_pickled
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.files import ConfigPath, expanded, named_folder
from nfkd.data.images import LEAST, loaded_images
from nfkd.data.labels import class_context
from nfkd.data.source import Loaded, RemoteFile, Said, Source
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
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
# For each version: what ends its files' names, the folder they are in, and the archive they come in.
_BINARY = (".bin", "cifar-10-batches-bin", "cifar-10-binary.tar.gz")
_PICKLED = ("", "cifar-10-batches-py", "cifar-10-python.tar.gz")
_MOST_UNPACKED = 1 << 30  # bytes; six times the published archive
_Open = Callable[[str], bytes]


class CIFAR10(Source[CIFAR10Config]):
    """Colour images of 32×32 pixels in ten classes."""

    config = CIFAR10Config
    shape, unit = "3×32×32", "bits/dim"
    examples, origin = "60,000", "downloaded"

    @property
    def downloads(self) -> tuple[RemoteFile, ...]:
        """The archive of the binary version."""
        return _FILES

    def load(self, config: CIFAR10Config) -> Loaded:
        """Return the images; the validation part is split off the training part."""
        train, test = self._found(config)()
        parts = [_part(images, labelled=config.class_labels) for images in (train, test)]
        return loaded_images(config, _TITLE, parts[0], test=parts[1])

    def find(self, config: CIFAR10Config) -> None:
        """Look for either version."""
        self._found(config)

    def _found(self, config: CIFAR10Config) -> Callable[[], tuple[Images, Images]]:
        """Return what reads the files that are there."""
        if config.folder:
            return _of_the_user(named_folder(config.folder, _FIELD, SHAPE))
        (archive,) = cached(_FILES, title=_TITLE, event_shape=SHAPE, kind=self.kind)
        return partial(_archive, ConfigPath(archive, _FIELD, SHAPE), _BINARY[0])

    def fetch(self, config: CIFAR10Config, said: Said) -> None:
        """Download the binary version where it is missing."""
        if config.folder:
            self.load(config)
        else:
            fetch(_FILES, "", said, title=_TITLE)

    def stamp(self, config: CIFAR10Config) -> Hashable:
        """Return the sizes and times of the files."""
        if not config.folder:
            return stamp(places(_FILES))
        root = expanded(config.folder)
        return stamp(
            path
            for ending, folder, archive in (_BINARY, _PICKLED)
            for path in (root / archive, *(r / f"{name}{ending}" for r in (root, root / folder) for name in _all()))
        )


def _all() -> tuple[str, ...]:
    return (*_TRAIN, _TEST)


def _part(images: Images, *, labelled: bool) -> DataSplit:
    return DataSplit(images.values, class_context(images.labels, CLASSES) if labelled else None)


def _of_the_user(root: ConfigPath) -> Callable[[], tuple[Images, Images]]:
    """Return what reads the first version that is there: unpacked before packed, binary before pickled."""
    for ending, folder, archive in (_BINARY, _PICKLED):
        for place in (root.path, root.path / folder):
            if is_taken(place / f"{_TEST}{ending}"):
                return partial(_unpacked, place, ending)
        if is_taken(root.path / archive):
            return partial(_archive, ConfigPath(root.path / archive, _FIELD, SHAPE), ending)
    return root.refuse(
        f"holds neither {_BINARY[2]} nor {_PICKLED[2]}, nor what is in them: name the folder that does, "
        f"or leave it empty to download {_TITLE}"
    )


def _unpacked(folder: Path, ending: str) -> tuple[Images, Images]:
    def content(name: str) -> bytes:
        place = ConfigPath(folder / name, _FIELD, SHAPE)
        with place.reading(), open_regular(place.path) as file:
            return _bounded(place, file.read(MOST + 1))

    return _parts(folder, content, ending)


def _archive(place: ConfigPath, ending: str) -> tuple[Images, Images]:
    with _members(place) as content:
        return _parts(place.path, content, ending)


@contextmanager
def _members(place: ConfigPath) -> Iterator[_Open]:
    """Give a function that reads a member of the archive by its name, in whatever folder it is; nothing is unpacked."""
    with place.reading(), open_archive(place.path, _MOST_UNPACKED) as archive:
        wanted = {f"{name}{ending}" for ending, _, _ in (_BINARY, _PICKLED) for name in _all()}
        found = {}
        for member in archive:
            name = Path(member.name).name
            if name in wanted and member.isfile() and not member.issparse():
                file = archive.extractfile(member)
                found[name] = b"" if file is None else _bounded(place, file.read(MOST + 1))

        def content(name: str) -> bytes:
            if name not in found:
                place.refuse(f"holds no {name}: get it again")
            return found[name]

        yield content


def _bounded(place: ConfigPath, content: bytes) -> bytes:
    if len(content) > MOST:
        place.refuse("is larger than any file of CIFAR-10")
    return content


def _parts(where: Path, content: _Open, ending: str) -> tuple[Images, Images]:
    read = read_binary if ending else read_pickled
    batches = [
        read(ConfigPath(where / name, _FIELD, SHAPE), content(name)) for name in (f"{n}{ending}" for n in _all())
    ]
    *train, test = batches
    if len(test.values) < LEAST:
        ConfigPath(where, _FIELD, SHAPE).refuse(f"{_TEST}{ending} holds fewer than {LEAST} images")
    values, labels = ([getattr(batch, name) for batch in train] for name in ("values", "labels"))
    return Images(np.concatenate(values), np.concatenate(labels)), test


SOURCES = (CIFAR10(),)
