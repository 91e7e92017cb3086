"""What all sources of images share: levels, bits, classes and augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.data import ByteImagesConfig
from nfkd.data.augmentation import Augmentation
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import apply
from nfkd.data.files import ConfigPath
from nfkd.data.source import Loaded

FEWEST = 8
"""The fewest examples of a split: the live pictures interpolate between four pairs."""
_MOST_CLASSES = 1000


def loaded_images(
    config: ByteImagesConfig,
    name: str,
    train: DataSplit,
    validation: DataSplit | None = None,
    test: DataSplit | None = None,
    levels: int = 256,
) -> Loaded:
    """Return splits of images with `levels` levels, reduced to the config's bits and augmented in training.

    Raises
    ------
    DataError
        At ``data.bits``, if the levels cannot be merged evenly.
    """
    merged = merged_levels(levels, config.bits)
    return Loaded(
        name=name,
        train=_merge(train, merged),
        validation=None if validation is None else _merge(validation, merged),
        test=None if test is None else _merge(test, merged),
        levels=levels // merged,
        gaussian_noise=config.gaussian_noise,
        augmentation=Augmentation(config.flip, config.shift, config.label_dropping),
    )


def merged_levels(levels: int, bits: int) -> int:
    """Return how many stored levels become one: those of the lowest bits, as in Glow's ``n_bits_x``.

    Raises
    ------
    DataError
        At ``data.bits``, if it is not a whole number: uniform dequantization noise would be wrong.
    """
    kept = 1 << bits
    if kept < levels and levels % kept:
        message = f"{levels} levels cannot be merged evenly to {kept}: keep 8 bits"
        raise DataError([ConfigProblem("data.bits", message)])
    return max(1, levels // kept)


def _merge(split: DataSplit, merged: int) -> DataSplit:
    if merged == 1:
        return split
    return replace(split, values=apply(lambda values: values // np.uint8(merged), split.values))


def refuse_labels(reason: str, event_shape: tuple[int, ...] | None = None) -> NoReturn:
    """Raise the `DataError` for class labels that the data does not have."""
    raise DataError([ConfigProblem("data.class_labels", f"{reason}: turn it off")], event_shape)


def class_context(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return labels, (N,) whole numbers below `classes`, as one-hot contexts: (N, classes) float32."""
    return np.eye(classes, dtype=np.float32)[labels]


def context_of_labels(file: ConfigPath, labels: np.ndarray) -> np.ndarray:
    """Return labels, (N,), as one-hot contexts, as many features as the largest label needs.

    Raises
    ------
    DataError
        If they are not whole numbers from 0, or too many classes for a context.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        file.refuse(f"labels must be whole numbers from 0, and these are {labels.dtype}")
    if labels.min() < 0 or labels.max() >= _MOST_CLASSES:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= _MOST_CLASSES))[0])
        most = _MOST_CLASSES - 1
        file.refuse(f"labels must be whole numbers from 0 to {most}, and number {wrong} is {labels[wrong]}")
    return class_context(labels, int(labels.max()) + 1)
