"""A folder of image files."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path

import numpy as np

from nfkd.config.data import ImageFolderConfig
from nfkd.data.cache import stamp
from nfkd.data.dataset import DataSplit
from nfkd.data.files import ConfigPath, expanded, named_folder
from nfkd.data.images import class_count, loaded_images, refuse_labels
from nfkd.data.labels import class_context
from nfkd.data.pictures import ENDINGS, ImageFiles, decode, image_paths
from nfkd.data.source import Loaded, Source

_FIELD = "data.path"
_DECODED = 2000  # files that are decoded at once, so that a damaged one is found before anything runs


class ImageFolder(Source[ImageFolderConfig]):
    """The middle squares of image files."""

    config = ImageFolderConfig
    shape, unit, origin = "C×H×W", "bits/dim", "your files"

    def load(self, config: ImageFolderConfig) -> Loaded:
        """Return the images; those of a large folder are decoded when they are looked at."""
        shape = (3 if config.colour else 1, config.size, config.size)
        root = named_folder(config.path, _FIELD, shape)
        paths = image_paths(root.path)
        if not paths:
            root.refuse(f"holds no image file, also not in its sub-folders ({', '.join(ENDINGS)})")
        context = _context(root, paths) if config.class_labels else None
        files = ImageFiles(
            paths, shape, lambda path: decode(ConfigPath(path, _FIELD, shape), config.size, colour=config.colour)
        )
        values = files[:] if files.fits and len(files) <= _DECODED else files
        return loaded_images(config, root.path.name or "images", DataSplit(values, context))

    def find(self, config: ImageFolderConfig) -> None:
        """Look for the folder."""
        named_folder(config.path, _FIELD)

    def value_files(self, config: ImageFolderConfig) -> Iterable[Path]:
        """Return the image files."""
        return image_paths(expanded(config.path))

    def stamp(self, config: ImageFolderConfig) -> Hashable:
        """Return something that changes with every file's size and time."""
        return hash(stamp(image_paths(expanded(config.path)))) if config.path else None


def _context(root: ConfigPath, paths: list[Path]) -> np.ndarray:
    """Return the classes of images: the sub-folders of the first rank, in the order of their names."""
    names = []
    for path in paths:
        folder, *below = path.relative_to(root.path).parts
        if not below:
            refuse_labels(f"sub-folders are the classes, and {path} is in none", root.event_shape)
        names.append(folder)
    classes = sorted(set(names))
    labels = np.searchsorted(np.array(classes), np.array(names))
    with root.reading():
        return class_context(labels, class_count(labels))


SOURCES = (ImageFolder(),)
