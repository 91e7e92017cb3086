"""CelebA's aligned faces at 64×64 pixels."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path

from nfkd.config.data import CelebAConfig
from nfkd.data.cache import stamp
from nfkd.data.dataset import DataSplit
from nfkd.data.files import ConfigPath, expanded, named_folder
from nfkd.data.images import LEAST, loaded_images, refuse_labels
from nfkd.data.pictures import ImageFiles, decode, image_paths
from nfkd.data.source import Loaded, Source
from nfkd.files import is_folder, is_taken, read_limited

_FIELD = "data.folder"
_LIMIT = 64 << 20  # bytes of the list; the published one has 3 MB
_SHAPE = (3, 64, 64)
_SQUARE = 148  # of 178×218 pixels, as most of the field does; the paper's earlier public code takes 160
_IMAGES = "img_align_celeba"
_LISTS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
_PARTS = ("training", "validation", "test")  # by their numbers in the list


class CelebA(Source[CelebAConfig]):
    """Faces in CelebA's own three parts; each is decoded when it is looked at."""

    config = CelebAConfig
    shape, unit = "3×64×64", "bits/dim"
    examples, origin = "202,599", "your copy"

    def load(self, config: CelebAConfig) -> Loaded:
        """Return the faces."""
        if config.class_labels:
            refuse_labels("CelebA has no classes", _SHAPE)
        listed, images = _found(config)
        partition = _partition(listed)
        _refuse_missing(images, partition)
        train, validation, test = (_part(images.path, names) for names in partition)
        return loaded_images(config, "CelebA-64", train, validation, test)

    def find(self, config: CelebAConfig) -> None:
        """Look for the list and the folder of images."""
        _found(config)

    def value_files(self, config: CelebAConfig) -> Iterable[Path]:
        """Return the image files."""
        return image_paths(expanded(config.folder) / _IMAGES)

    def stamp(self, config: CelebAConfig) -> Hashable:
        """Return the sizes and times of the list and of the folder of images, not of each of 202,599 files."""
        root = expanded(config.folder)
        return stamp([*(root / name for name in _LISTS), root / _IMAGES])


def _found(config: CelebAConfig) -> tuple[ConfigPath, ConfigPath]:
    """Return the list of the parts and the folder of the images."""
    root = named_folder(config.folder, _FIELD, _SHAPE)
    lists = [root.path / name for name in _LISTS if is_taken(root.path / name)]
    if not lists or not is_folder(root.path / _IMAGES):
        root.refuse(f"{_IMAGES} and {_LISTS[0]} are wanted in it: get them from CelebA's page and unpack them")
    return ConfigPath(lists[0], _FIELD, _SHAPE), ConfigPath(root.path / _IMAGES, _FIELD, _SHAPE)


def _part(folder: Path, names: list[str]) -> DataSplit:
    paths = [folder / name for name in names]
    return DataSplit(
        ImageFiles(
            paths, _SHAPE, lambda path: decode(ConfigPath(path, _FIELD, _SHAPE), _SHAPE[1], colour=True, square=_SQUARE)
        )
    )


def _partition(place: ConfigPath) -> list[list[str]]:
    """Return the names of the images of each part, from lines such as ``000001.jpg 0``."""
    parts: list[list[str]] = [[] for _ in _PARTS]
    with place.reading():
        lines = read_limited(place.path, _LIMIT).decode("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, part = line.strip().partition(" ")
        if part.strip() not in ("0", "1", "2") or Path(name).name != name or not name.lower().endswith(".jpg"):
            place.refuse(f"line {number} is no name of a .jpg file with its part, 0, 1 or 2: {line[:60]!r}")
        parts[int(part)].append(name)
    for part, names in zip(_PARTS, parts, strict=True):
        if len(names) < LEAST:
            place.refuse(f"lists {len(names)} images of the {part} part: at least {LEAST} are needed")
    return parts


def _refuse_missing(folder: ConfigPath, partition: list[list[str]]) -> None:
    with folder.reading():
        there = set(os.listdir(folder.path))  # noqa: PTH208 - 202,599 names: no paths are made of them
    names = [name for part in partition for name in part]
    missing = [name for name in names if name not in there]
    if missing:
        folder.refuse(f"{len(missing):,} of {len(names):,} listed images are not there, {missing[0]} is the first")


SOURCES = (CelebA(),)
