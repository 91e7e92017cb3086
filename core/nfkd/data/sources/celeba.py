"""CelebA's aligned faces at 64×64 pixels."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from functools import partial
from pathlib import Path

from nfkd.config.data import CelebAConfig
from nfkd.data.dataset import DataSplit
from nfkd.data.files import ConfigPath, expanded, named_folder, stamp
from nfkd.data.images import FEWEST, loaded_images, refuse_labels
from nfkd.data.pictures import ImageFiles, decode, image_paths
from nfkd.data.source import Loaded, Source
from nfkd.files import is_folder, is_taken, read_limited

_FIELD = "data.folder"
_LIMIT = 64 << 20  # bytes of the list; the published one has 3 MB
_SHAPE = (3, 64, 64)
_SQUARE = 148  # of 178×218 pixels, as in most papers; the code of the CelebA paper took 160
_IMAGES = "img_align_celeba"
_LISTS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
_SPLITS = ("training", "validation", "test")  # by their numbers in the list


class CelebA(Source[CelebAConfig]):
    """Faces in CelebA's own three splits, decoded on access."""

    config = CelebAConfig
    shape, unit = "3×64×64", "bits/dim"
    examples, origin = "202,599", "your copy"

    def load(self, config: CelebAConfig) -> Loaded:
        """Return the faces."""
        if config.class_labels:
            refuse_labels("CelebA has no classes", _SHAPE)
        listed, images = _find(config)
        names = _read_list(listed)
        _refuse_missing(images, names)
        read = partial(decode, size=_SHAPE[1], colour=True, square=_SQUARE)
        train, validation, test = (
            DataSplit(ImageFiles([images.path / name for name in split], _FIELD, _SHAPE, read)) for split in names
        )
        return loaded_images(config, "CelebA-64", train, validation, test)

    def find(self, config: CelebAConfig) -> None:
        """Check that the list and the folder of images are there."""
        _find(config)

    def value_files(self, config: CelebAConfig) -> Iterable[Path]:
        """Return the image files."""
        return image_paths(expanded(config.folder) / _IMAGES)

    def stamp(self, config: CelebAConfig) -> Hashable:
        """Return the stamp of the list and of the folder, but not of each of 202,599 files."""
        root = expanded(config.folder)
        return stamp([*(root / name for name in _LISTS), root / _IMAGES])


def _find(config: CelebAConfig) -> tuple[ConfigPath, ConfigPath]:
    """Return the list of the splits and the folder of the images."""
    root = named_folder(config.folder, _FIELD, _SHAPE)
    lists = [root.path / name for name in _LISTS if is_taken(root.path / name)]
    if not lists or not is_folder(root.path / _IMAGES):
        root.refuse(f"lacks {_IMAGES} or {_LISTS[0]}: get them from CelebA's page and unpack them there")
    return ConfigPath(lists[0], _FIELD, _SHAPE), ConfigPath(root.path / _IMAGES, _FIELD, _SHAPE)


def _read_list(file: ConfigPath) -> list[list[str]]:
    """Return the names of the images of each split, from lines such as ``000001.jpg 0``."""
    names: list[list[str]] = [[] for _ in _SPLITS]
    with file.reading():
        lines = read_limited(file.path, _LIMIT).decode("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, split = line.strip().partition(" ")
        if split.strip() not in ("0", "1", "2") or Path(name).name != name or not name.lower().endswith(".jpg"):
            file.refuse(f"line {number} is no name of a .jpg file with its split, 0, 1 or 2: {line[:60]!r}")
        names[int(split)].append(name)
    for title, found in zip(_SPLITS, names, strict=True):
        if len(found) < FEWEST:
            file.refuse(f"lists {len(found)} images of the {title} split: at least {FEWEST} are needed")
    return names


def _refuse_missing(folder: ConfigPath, splits: list[list[str]]) -> None:
    with folder.reading():
        present = set(os.listdir(folder.path))  # noqa: PTH208 - 202,599 names: no paths are made of them
    names = [name for split in splits for name in split]
    missing = [name for name in names if name not in present]
    if missing:
        folder.refuse(f"{len(missing):,} of {len(names):,} listed images are not there, the first is {missing[0]}")


SOURCES = (CelebA(),)
