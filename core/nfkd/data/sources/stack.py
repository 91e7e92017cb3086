"""Images in one array: .npy, .npz or .h5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.config.data import ImageStackConfig
from nfkd.data.arrays import Stored, open_array
from nfkd.data.dataset import DataSplit
from nfkd.data.files import ConfigPath, expanded, named_file, refuse_large
from nfkd.data.images import context_of_labels, loaded_images, merged_levels, refuse_labels
from nfkd.data.source import Loaded, Source

_CHANNELS = (1, 3)
_SCANNED = 512 << 20  # bytes whose values are checked at once; those of a larger file when a batch is read
_CHUNK = 16 << 20


class ImageStack(Source[ImageStackConfig]):
    """Images of any size in an array of whole numbers."""

    config = ImageStackConfig
    shape, unit, origin = "C×H×W", "bits/dim", "your file"

    def load(self, config: ImageStackConfig) -> Loaded:
        """Return the images, read on access; those of a .npz are read at once."""
        file = named_file(config.path, "data.path")
        stored = open_array(file, config.key, "data.key")
        images = _Images(file, stored, config.levels)
        file = replace(file, event_shape=images.shape[1:])
        merged_levels(config.levels, config.bits)
        images.scan()
        named = bool(config.labels_key) and file.path.suffix.lower() != ".npy"
        classes = _context(file, config, len(images)) if config.class_labels or named else None
        context = classes if config.class_labels else None
        labels = None if classes is None else classes.argmax(axis=1)
        in_memory = isinstance(stored, np.ndarray) and not isinstance(stored, np.memmap)
        split = DataSplit(images[:] if in_memory else images, context, labels=labels)
        return loaded_images(config, file.path.stem, split, levels=config.levels)

    def find(self, config: ImageStackConfig) -> None:
        """Check that the file is there."""
        named_file(config.path, "data.path")

    def value_files(self, config: ImageStackConfig) -> Iterable[Path]:
        """Return the file."""
        return [expanded(config.path)]


class _Images:
    """A stored array as images, (N, channels, height, width) uint8, checked on each read."""

    def __init__(self, file: ConfigPath, stored: Stored, levels: int) -> None:
        if stored.dtype.kind == "f":
            file.refuse(
                f"its array holds {stored.dtype} values instead of whole numbers from 0 to {levels - 1} "
                "(values in [0, 1]: multiply them by 255 and round)"
            )
        self._file, self._stored, self._levels = file, stored, levels
        self._axis = _channel_axis(file, stored.shape)
        count, *sizes = stored.shape
        channels = 1 if self._axis is None else sizes.pop(self._axis - 1)
        self.shape = (count, channels, *sizes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._file.reading():
            values = np.asarray(self._stored[index])
        wrong = (values < 0) | (values >= self._levels) if self._may_be_wrong else np.zeros(0, bool)
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            number = np.arange(len(self))[index][row]
            value = values[row][wrong[row]].flat[0]
            self._file.refuse(
                f"image number {number} holds the value {value}: 0 to {self._levels - 1} are the levels. Correct the "
                "file, or the number of levels"
            )
        images = values.astype(np.uint8)
        return images[:, None] if self._axis is None else np.moveaxis(images, self._axis, 1)

    @property
    def _may_be_wrong(self) -> bool:
        limits = np.iinfo(self._stored.dtype) if self._stored.dtype.kind != "b" else None
        return limits is not None and (limits.min < 0 or limits.max >= self._levels)

    def scan(self) -> None:
        """Check all values once, in chunks, unless the array is too large for that."""
        size = self._stored.dtype.itemsize * int(np.prod(self.shape[1:]))
        if self._may_be_wrong and size * len(self) <= _SCANNED:
            rows = max(1, _CHUNK // size)
            for start in range(0, len(self), rows):
                self[start : start + rows]


def _channel_axis(file: ConfigPath, shape: tuple[int, ...]) -> int | None:
    """Return the axis of the channels: the first after that of the images with a size of one or three."""
    if len(shape) == 3:
        return None
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in _CHANNELS]
    if axes:
        return axes[0]
    return file.refuse(
        f"its array has the shape {'×'.join(map(str, shape))} instead of (N, H, W), (N, C, H, W) or (N, H, W, C) with "
        "one or three channels"
    )


def _context(file: ConfigPath, config: ImageStackConfig, count: int) -> np.ndarray:
    if not config.labels_key:
        refuse_labels("no array of labels is named (Labels)", file.event_shape)
    if file.path.suffix.lower() == ".npy":
        refuse_labels("a .npy file has one array and so no labels", file.event_shape)
    labels = replace(file, field="data.labels_key")
    stored = open_array(labels, config.labels_key, "data.labels_key")
    if stored.shape != (count,):
        labels.refuse(f"{config.labels_key} has the shape {stored.shape} instead of {count:,} labels")
    refuse_large(labels, 16 * count, "give fewer images")
    with labels.reading():
        return context_of_labels(labels, np.asarray(stored[:]))


SOURCES = (ImageStack(),)
