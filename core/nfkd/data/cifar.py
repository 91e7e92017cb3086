"""The files of CIFAR-10: the binary version and the pickled one.

The pickled version is read by an unpickler that calls nothing: of all names in a pickle it knows three of NumPy's, and
what stands for them only keeps the bytes of an array. https://www.cs.toronto.edu/~kriz/cifar.html describes both.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath

SHAPE = (3, 32, 32)
CLASSES = 10
MOST = 64 << 20
"""Bytes of a file of images at most; the published ones have half as many."""
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Images:
    """Images and their classes.

    Attributes
    ----------
    values
        (N, 3, 32, 32) uint8.
    labels
        (N,) below ten.
    """

    values: np.ndarray
    labels: np.ndarray


def read_binary(place: ConfigPath, content: bytes) -> Images:
    """Return the images of a ``.bin`` file: a label and the three channels' bytes, row by row, for each image.

    Raises
    ------
    DataError
        When the file does not hold whole images, or a label is none.
    """
    whole, rest = divmod(len(content), 1 + _PIXELS)
    if rest or not whole:
        place.refuse(f"holds {whole:,} whole images and {rest:,} bytes more: it is truncated, get it again")
    records = np.frombuffer(content, np.uint8).reshape(whole, 1 + _PIXELS)
    return _checked(place, records[:, 1:], records[:, 0])


def read_pickled(place: ConfigPath, content: bytes) -> Images:
    """Return the images of a ``data_batch_N`` or ``test_batch`` file.

    Raises
    ------
    DataError
        When it is no such pickle, or wants to call anything.
    """
    with place.reading():
        found = _Arrays(place, content).load()
    if not isinstance(found, dict):
        place.refuse("holds no dictionary of data and labels")
    named = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    values, labels = named.get("data"), named.get("labels")
    values = values.array() if isinstance(values, _Array) else None
    if values is None or values.shape[1:] != (_PIXELS,):
        place.refuse(f"its data is no array of bytes, {_PIXELS:,} for each image")
    if not _are_labels(labels, len(values)):
        place.refuse(f"its labels are no list of numbers below {CLASSES}, one for each image")
    return _checked(place, values, np.array(labels, np.uint8))


def _are_labels(labels: Any, count: int) -> bool:
    if not isinstance(labels, list) or len(labels) != count or not count:
        return False
    return all(type(label) is int and 0 <= label < CLASSES for label in labels)


def _checked(place: ConfigPath, values: np.ndarray, labels: np.ndarray) -> Images:
    if labels.max() >= CLASSES:
        wrong = int(np.argmax(labels >= CLASSES))
        place.refuse(f"image number {wrong} has the label {labels[wrong]}: there are {CLASSES} classes")
    return Images(values.reshape(-1, *SHAPE), labels)


class _Type:
    """Stands for `numpy.ndarray` in a pickle."""


class _DType:
    """Stands for a NumPy type in a pickle; only plain bytes are taken."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.is_bytes = code in ("u1", b"u1")

    def __setstate__(self, state: Any) -> None:
        """Take no notice: one byte has no order."""


class _Array:
    """Stands for an array in a pickle: shape, type and bytes as they are read."""

    def __init__(self, *_: Any) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep what an array would be made from: version, shape, type, order and bytes."""
        self._state = state

    def array(self) -> np.ndarray | None:
        """Return the array, or None where the state is not that of an array of bytes."""
        match self._state:
            case (_, (int(rows), int(columns)), _DType(is_bytes=True), in_columns, bytes(content)) if (
                rows >= 0 and columns >= 0 and rows * columns == len(content)
            ):
                return np.frombuffer(content, np.uint8).reshape(rows, columns, order="F" if in_columns else "C")
        return None


_KNOWN: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Type,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Arrays(pickle._Unpickler):  # type: ignore[name-defined,misc]  # noqa: SLF001 - the one in C can be made to take all memory
    """An unpickler of numbers, strings, lists, dictionaries and arrays of bytes."""

    def __init__(self, place: ConfigPath, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._place = place

    def find_class(self, module: str, name: str) -> type:
        """Return what stands for NumPy's three names; anything else is refused."""
        found = _KNOWN.get((module, name))
        if found is None:
            message = f"wants to call {module}.{name}: such a pickle can run any program and is refused"
            self._place.refuse(message)
        return found
