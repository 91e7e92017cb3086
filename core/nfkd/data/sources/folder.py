"""Folders of image files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from nfkd.config.data import ImageFolderConfig
from nfkd.config.datasets import IMAGE_ENDINGS
from nfkd.data.dataset import DataSplit
from nfkd.data.files import ConfigPath, expanded, named_folder
from nfkd.data.images import context_of_labels, loaded_images, refuse_labels
from nfkd.data.pictures import ImageFiles, decode, image_paths, look_at
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
        paths = image_paths(root.path)
        if not paths:
            root.refuse(f"holds no image file, also not in its sub-folders ({', '.join(IMAGE_ENDINGS)})")
        labels = _labels(root, paths, required=config.class_labels)
        context = context_of_labels(root, labels) if config.class_labels and labels is not None else None
        files = ImageFiles(paths, _FIELD, shape, partial(decode, size=config.size, colour=config.colour))
        values = files[:] if files.fits and len(files) <= _DECODED else files
        return loaded_images(config, root.path.name or "images", DataSplit(values, context, labels=labels))

    def find(self, config: ImageFolderConfig) -> None:
        """Check that the folder is there."""
        named_folder(config.path, _FIELD)

    def suggest(self, config: ImageFolderConfig) -> dict[str, int | bool]:
        """Return the size of the first images, if it is small, and whether they have colours."""
        sides, colours = [], []
        for path in image_paths(expanded(config.path))[:_LOOKED_AT] if config.path else ():
            side, colour = look_at(ConfigPath(path, _FIELD))
            sides.append(side)
            colours.append(colour)
        if not sides:
            return {}
        side = min(sides) - min(sides) % 2  # the sides of an image must be even
        fitting = {"size": side if 2 <= side <= _LARGEST else config.size, "colour": any(colours)}
        return {name: value for name, value in fitting.items() if value != getattr(config, name)}

    def value_files(self, config: ImageFolderConfig) -> Iterable[Path]:
        """Return the image files."""
        return image_paths(expanded(config.path)) if config.path else ()


def _labels(root: ConfigPath, paths: list[Path], *, required: bool) -> np.ndarray | None:
    """Return the classes, from the names of the sub-folders in alphabetical order; None without sub-folders."""
    names = []
    for path in paths:
        folder, *below = path.relative_to(root.path).parts
        if not below and not required:
            return None
        if not below:
            refuse_labels(f"sub-folders are the classes, and {path} is in none", root.event_shape)
        names.append(folder)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


SOURCES = (ImageFolder(),)
