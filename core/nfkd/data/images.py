"""What all images have in common: levels, bits, classes and augmentation."""

from __future__ import annotations

from typing import NoReturn, Protocol

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.augmentation import Augmentation
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import Examples, Mapped, in_memory
from nfkd.data.source import Loaded

LEAST = 8
"""Examples in a part, at least: the live pictures interpolate between four pairs."""
_CLASSES = 1000


class ImagesConfig(Protocol):
    """The fields that every config of images of bytes has."""

    @property
    def class_labels(self) -> bool:
        """Whether class labels are the flows' context."""
        ...

    @property
    def flip(self) -> bool:
        """Whether training images are mirrored."""
        ...

    @property
    def shift(self) -> int:
        """Most pixels that training images are moved by."""
        ...

    @property
    def bits(self) -> int:
        """Bits of each channel that are kept."""
        ...


def loaded_images(
    config: ImagesConfig,
    name: str,
    train: DataSplit,
    validation: DataSplit | None = None,
    test: DataSplit | None = None,
    levels: int = 256,
) -> Loaded:
    """Return parts of images with `levels` levels as the config wants them: fewer bits, augmented in training.

    Raises
    ------
    DataError
        At ``data.bits``, when the levels cannot be put together evenly.
    """
    merged = merging(levels, config.bits)
    return Loaded(
        name=name,
        train=_merged(train, merged),
        validation=None if validation is None else _merged(validation, merged),
        test=None if test is None else _merged(test, merged),
        levels=levels // merged,
        augmentation=Augmentation(config.flip, config.shift),
    )


def merging(levels: int, bits: int) -> int:
    """Return how many stored levels become one: those of the lowest bits, as in Glow's ``n_bits_x``.

    Raises
    ------
    DataError
        At ``data.bits``, when it is no whole number: uniform noise would not be the right one then.
    """
    wanted = 1 << bits
    if wanted >= levels:
        return 1
    if levels % wanted:
        raise DataError(
            [ConfigProblem("data.bits", f"{levels} levels cannot be put together evenly to {wanted}: keep 8 bits")]
        )
    return levels // wanted


def _merged(part: DataSplit, merged: int) -> DataSplit:
    return part if merged == 1 else DataSplit(_divided(part.values, merged), part.context, part.weights)


def _divided(values: Examples, by: int) -> Examples:
    return (
        np.asarray(values) // np.uint8(by) if in_memory(values) else Mapped(values, lambda some: some // np.uint8(by))
    )


def refuse_labels(what: str, event_shape: tuple[int, ...] | None = None) -> NoReturn:
    """Raise the `DataError` for a wish for class labels that the data cannot serve."""
    raise DataError([ConfigProblem("data.class_labels", f"{what}: turn it off")], event_shape)


def class_count(labels: np.ndarray) -> int:
    """Return the number of classes of labels that are whole numbers from 0.

    Raises
    ------
    ValueError
        When they are not, or are too many for a context.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        msg = f"labels are whole numbers from 0, and these are {labels.dtype}"
        raise ValueError(msg)
    if labels.min() < 0 or labels.max() >= _CLASSES:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= _CLASSES))[0])
        msg = f"labels are whole numbers from 0 to {_CLASSES - 1}, and number {wrong} is {labels[wrong]}"
        raise ValueError(msg)
    return int(labels.max()) + 1
