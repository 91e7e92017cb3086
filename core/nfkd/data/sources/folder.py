"""Folders of image files."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from nfkd.config.data import ImageFolderConfig
from nfkd.config.datasets import IMAGE_ENDINGS
from nfkd.data.dataset import DataSplit
from nfkd.data.decoded_images import DecodedImages
from nfkd.data.files import ConfigPath, expanded, is_kept_on_disk, named_folder
from nfkd.data.image_lists import FilePaths, ImageList, find_images, image_names
from nfkd.data.images import context_of_labels, loaded_images, refuse_labels
from nfkd.data.pictures import ImageFiles, decode, fits, look_at
from nfkd.data.progress import say
from nfkd.data.results import Results
from nfkd.data.source import Loaded, Source

_FIELD = "data.path"
_DECODED = 2000  # files that are decoded at once, so that damaged ones are found before a run starts
_LOOKED_AT = 32  # files whose size and colours are looked at
_LARGEST = 64  # pixels; larger images are resized


class ImageFolder(Source[ImageFolderConfig]):
    """The middle squares of image files."""

    config = ImageFolderConfig
    shape, unit, origin = "C×H×W", "bits/dim", "your files"

    def load(self, config: ImageFolderConfig) -> Loaded:
        """Return the images; those of a large folder are decoded on access."""
        shape = (3 if config.colour else 1, config.size, config.size)
        root = named_folder(config.path, _FIELD, shape)
        images = _images(config)
        paths = images.paths
        if not paths:
            root.refuse(f"holds no image file, also not in its sub-folders ({', '.join(IMAGE_ENDINGS)})")
        labels = _labels(root, paths, required=config.class_labels)
        context = context_of_labels(root, labels) if config.class_labels and labels is not None else None
        read, size = partial(decode, size=config.size, colour=config.colour), (len(paths), *shape)
        on_disk = is_kept_on_disk(config.storage, math.prod(size)) or (config.storage == "auto" and not fits(size))
        files = ImageFiles(paths, _FIELD, shape, read, _decoded(images, size) if on_disk else None)
        whole = files.fits and len(files) <= _DECODED
        values = files[:] if whole and not on_disk else files
        loaded = loaded_images(config, root.path.name or "images", DataSplit(values, context, labels=labels))
        keep = Results(images.folder, [images.state, config.model_dump_json()]) if on_disk else None
        return replace(loaded, keep=keep, hash_whole=whole)

    def find(self, config: ImageFolderConfig) -> None:
        """Check that the folder is there."""
        named_folder(config.path, _FIELD)

    def suggest(self, config: ImageFolderConfig) -> dict[str, int | bool]:
        """Return the size of the first images, if it is small, and whether they have colours."""
        sides, colours = [], []
        root = expanded(config.path)
        for name in islice(image_names(root), _LOOKED_AT) if config.path else ():
            side, colour = look_at(ConfigPath(root / name, _FIELD))
            sides.append(side)
            colours.append(colour)
        if not sides:
            return {}
        side = min(sides) - min(sides) % 2  # the sides of an image must be even
        fitting = {"size": side if 2 <= side <= _LARGEST else config.size, "colour": any(colours)}
        return {name: value for name, value in fitting.items() if value != getattr(config, name)}

    def value_files(self, config: ImageFolderConfig) -> Iterable[Path]:
        """Return the image files."""
        return _images(config).paths if config.path else ()

    def stamp(self, config: ImageFolderConfig) -> Hashable:
        """Return the state of all files."""
        return _images(config).state if config.path else ""


def _images(config: ImageFolderConfig) -> ImageList:
    return find_images(expanded(config.path), keep=config.storage == "disk")


def _decoded(images: ImageList, shape: tuple[int, ...]) -> DecodedImages | None:
    """Return the file of the decoded images; None, with a report, where there is no space for it."""
    path = images.folder / f"{images.state}-{'x'.join(map(str, shape[1:]))}.pixels"
    try:
        return DecodedImages(path, shape)
    except OSError as error:
        say(f"Images are decoded each time they are read: {error.strerror}.")
        return None


def _labels(root: ConfigPath, paths: FilePaths, *, required: bool) -> np.ndarray | None:
    """Return the classes, from the names of the sub-folders in alphabetical order; None without sub-folders."""
    codes: dict[str, int] = {}
    found = np.empty(len(paths), np.int64)
    for index in range(len(paths)):
        folder, separator, _ = paths.name(index).partition(os.sep)
        if not separator and not required:
            return None
        if not separator:
            refuse_labels(f"sub-folders are the classes, and {paths[index]} is in none", root.event_shape)
        found[index] = codes.setdefault(folder, len(codes))
    order = np.empty(len(codes), np.int64)
    order[[codes[name] for name in sorted(codes)]] = np.arange(len(codes))
    return order[found]


SOURCES = (ImageFolder(),)
