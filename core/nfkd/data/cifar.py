"""Readers of CIFAR-10's files, as https://www.cs.toronto.edu/~kriz/cifar.html describes them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath
from nfkd.data.pickles import PickledObject, load_pickle, pickled_array

SHAPE = (3, 32, 32)
CLASSES = 10
_PIXELS = 3 * 32 * 32

Images = tuple[np.ndarray, np.ndarray]
"""Images, (N, 3, 32, 32) uint8, and their classes, (N,) below ten."""


def read_binary(file: ConfigPath, content: bytes) -> Images:
    """Return the images of a ``.bin`` file: for each a label and the bytes of three channels, row by row.

    Raises
    ------
    DataError
        If the file does not hold whole images, or a label is no class.
    """
    whole, rest = divmod(len(content), 1 + _PIXELS)
    if rest or not whole:
        file.refuse(f"holds {whole:,} whole images and {rest:,} bytes more: it is truncated, get it again")
    records = np.frombuffer(content, np.uint8).reshape(whole, 1 + _PIXELS)
    labels = records[:, 0]
    if labels.max() >= CLASSES:
        wrong = int(np.argmax(labels >= CLASSES))
        file.refuse(f"image number {wrong} has the label {labels[wrong]}: there are {CLASSES} classes")
    return records[:, 1:].reshape(-1, *SHAPE), labels


def read_pickled(file: ConfigPath, content: bytes) -> Images:
    """Return the images of a ``data_batch_N`` or ``test_batch`` file.

    Raises
    ------
    DataError
        If it is no such pickle, or names functions to call.
    """
    with file.reading():
        batch = load_pickle(file, io.BytesIO(content))
        if not isinstance(batch, dict):
            file.refuse("holds no dictionary of data and labels")
        fields = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        data, labels = fields.get("data"), fields.get("labels")
        values = pickled_array(data) if isinstance(data, PickledObject) else None
    if values is None or values.dtype != np.uint8 or values.shape[1:] != (_PIXELS,):
        file.refuse(f"its data is not an array of bytes, {_PIXELS:,} for each image")
    if not _are_labels(labels, len(values)):
        file.refuse(f"its labels are no list of numbers below {CLASSES}, one for each image")
    return values.reshape(-1, *SHAPE), np.array(labels, np.uint8)


def _are_labels(labels: Any, count: int) -> bool:
    if not isinstance(labels, list) or len(labels) != count or not count:
        return False
    return all(type(label) is int and 0 <= label < CLASSES for label in labels)
