"""Images in one array: .npy, .npz or .h5."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.config.data import ImageStackConfig
from nfkd.data.arrays import Stored, open_array
from nfkd.data.cache import stamp
from nfkd.data.dataset import DataSplit
from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath, expanded, named_file, refuse_large
from nfkd.data.images import class_count, loaded_images, merging, refuse_labels
from nfkd.data.labels import class_context
from nfkd.data.source import Loaded, Source

_CHANNELS = (1, 3)
_SCANNED = 512 << 20  # bytes whose values are checked at once; of a larger file each batch, when it is read
_PIECE = 16 << 20


class ImageStack(Source[ImageStackConfig]):
    """Images of any size in an array of whole numbers."""

    config = ImageStackConfig
    shape, unit, origin = "C×H×W", "bits/dim", "your file"

    def load(self, config: ImageStackConfig) -> Loaded:
        """Return the images: read when they are looked at, and a .npz at once."""
        place = named_file(config.path, "data.path")
        stored = open_array(place, config.key, "data.key")
        images = _Images(place, stored, config.levels)
        place = replace(place, event_shape=images.shape[1:])
        merging(config.levels, config.bits)
        images.scan()
        context = _context(place, config, len(images)) if config.class_labels else None
        in_memory = isinstance(stored, np.ndarray) and not isinstance(stored, np.memmap)
        values: Examples = images[:] if in_memory else images
        return loaded_images(config, place.path.stem, DataSplit(values, context), levels=config.levels)

    def find(self, config: ImageStackConfig) -> None:
        """Look for the file."""
        named_file(config.path, "data.path")

    def value_files(self, config: ImageStackConfig) -> Iterable[Path]:
        """Return the file."""
        return [expanded(config.path)]

    def stamp(self, config: ImageStackConfig) -> Hashable:
        """Return the file's size and time."""
        return stamp([expanded(config.path)])


class _Images:
    """A stored array as images, (N, channels, height, width) uint8, checked whenever it is read."""

    def __init__(self, place: ConfigPath, stored: Stored, levels: int) -> None:
        if stored.dtype.kind == "f":
            place.refuse(
                f"its array holds {stored.dtype} values: whole numbers from 0 to {levels - 1} are wanted "
                "(values in [0, 1]: multiply them by 255 and round)"
            )
        self._place, self._stored, self._levels = place, stored, levels
        self._axis = _channel_axis(place, stored.shape)
        count, *sizes = stored.shape
        channels = 1 if self._axis is None else sizes.pop(self._axis - 1)
        self.shape = (count, channels, *sizes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._place.reading():
            found = np.asarray(self._stored[index])
        wrong = (found < 0) | (found >= self._levels) if self._may_be_wrong else np.zeros(0, bool)
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            number = np.arange(len(self))[index][row]
            value = found[row][wrong[row]].flat[0]
            self._place.refuse(
                f"image number {number} holds the value {value}: 0 to {self._levels - 1} are the levels. Correct the "
                "file, or the number of levels"
            )
        images = found.astype(np.uint8)
        return images[:, None] if self._axis is None else np.moveaxis(images, self._axis, 1)

    @property
    def _may_be_wrong(self) -> bool:
        limits = np.iinfo(self._stored.dtype) if self._stored.dtype.kind != "b" else None
        return limits is not None and (limits.min < 0 or limits.max >= self._levels)

    def scan(self) -> None:
        """Look at all values once, piece by piece, where the array is not too large for that."""
        size = self._stored.dtype.itemsize * int(np.prod(self.shape[1:]))
        if self._may_be_wrong and size * len(self) <= _SCANNED:
            rows = max(1, _PIECE // size)
            for start in range(0, len(self), rows):
                self[start : start + rows]


def _channel_axis(place: ConfigPath, shape: tuple[int, ...]) -> int | None:
    """Return the axis of the channels: the first that has one or three, after the axis of the images."""
    if len(shape) == 3:
        return None
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in _CHANNELS]
    if axes:
        return axes[0]
    return place.refuse(
        f"its array has the shape {'×'.join(map(str, shape))}: (N, H, W), (N, C, H, W) or (N, H, W, C) with one or "
        "three channels is wanted"
    )


def _context(place: ConfigPath, config: ImageStackConfig, count: int) -> np.ndarray:
    if not config.labels_key:
        refuse_labels("no array of labels is named (Labels)", place.event_shape)
    if place.path.suffix.lower() == ".npy":
        refuse_labels("a .npy file has one array and so no labels", place.event_shape)
    there = replace(place, field="data.labels_key")
    stored = open_array(there, config.labels_key, "data.labels_key")
    if stored.shape != (count,):
        there.refuse(f"{config.labels_key} has the shape {stored.shape}: {count:,} labels are wanted")
    refuse_large(there, 16 * count, "give fewer images")
    with there.reading(config.labels_key):
        labels = np.asarray(stored[:])
        return class_context(labels, class_count(labels))


SOURCES = (ImageStack(),)
