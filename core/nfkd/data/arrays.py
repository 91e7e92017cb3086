"""Arrays in .npy, .npz and .h5 files."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, Protocol

import numpy as np

from nfkd.data import hdf5
from nfkd.data.files import ConfigPath, list_names, refuse_large
from nfkd.files import open_regular

_OBJECTS = "it holds Python objects, such as text or images of unequal size: save an array of plain numbers"
_LARGE = "save it as .npy, which is read piece by piece"
_LONGEST_HEADER = 1 << 16  # bytes of a .npy file
_LARGEST = 2 << 30  # bytes of an array in a .npz, which cannot be memory-mapped
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Stored(Protocol):
    """An array that may still be in its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return the rows of a slice or of an array of ascending indices, as an array."""
        ...


def open_array(file: ConfigPath, key: str, key_field: str) -> Stored:
    """Open an array of numbers; rows are read on access, those of a .npz at once.

    Parameters
    ----------
    file
        The file.
    key
        The array's name; empty if the file has only one.
    key_field
        The field that names the array; problems with the name are reported there.

    Raises
    ------
    DataError
        If the file cannot be read or has no such array, or the array holds Python objects or lies outside the file.
    """
    opener = _OPENERS.get(file.path.suffix.lower())
    if opener is None:
        file.refuse(f"is none of {', '.join(_OPENERS)}: name such a file")
    with file.reading():
        array = opener(file, key, replace(file, field=key_field))
        if array.dtype.kind not in "biuf" or array.dtype.shape:
            file.refuse(f"its array holds {array.dtype}, not numbers")
        if not array.shape or not math.prod(array.shape):
            file.refuse(f"its array is empty: its shape is {array.shape}")
        return array


def open_npy(file: ConfigPath) -> np.ndarray:
    """Return the memory-mapped array of a .npy file.

    Raises
    ------
    DataError
        If it holds Python objects, is truncated, or is an archive of several arrays. Other errors are raised as by
        `numpy.load`.
    """
    with open_regular(file.path) as content:
        if content.read(2) == b"PK":
            file.refuse("is no .npy file but an archive of arrays: save one of them as .npy")
        content.seek(0)
        _check_header(file, "", content, file.path.stat().st_size)
    return np.load(file.path, mmap_mode="r", allow_pickle=False)


def _check_header(file: ConfigPath, name: str, content: IO[bytes], size: int) -> int:
    """Refuse Python objects and headers that claim more than `size` bytes; return the bytes of the values.

    0 for a newer header version, which is not checked.
    """
    head = io.BytesIO(content.read(_LONGEST_HEADER))
    read_header = _HEADERS.get(np.lib.format.read_magic(head))
    if read_header is None:
        return 0
    shape, _, dtype = read_header(head)
    if dtype.hasobject:
        file.refuse(f"{name}{_OBJECTS}")
    needed, available = math.prod(shape) * dtype.itemsize, size - head.tell()
    if needed > available:
        file.refuse(f"{name}it is truncated: {available:,} of {needed:,} bytes are there, get it again")
    return needed


def _open_npy(file: ConfigPath, key: str, named: ConfigPath) -> Stored:
    if key:
        named.refuse(f"a .npy file has one array and no names: leave {key!r} out")
    return open_npy(file)


def npz_names(file: ConfigPath) -> list[str]:
    """Return the names of the arrays in a .npz file; none if it is no such file."""
    if not zipfile.is_zipfile(file.path):
        return []
    with open_regular(file.path) as content, zipfile.ZipFile(content) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _open_npz(file: ConfigPath, key: str, named: ConfigPath) -> Stored:
    with open_regular(file.path) as content:
        if content.read(2) != b"PK":
            file.refuse("is no .npz file, although its name says so")
        with zipfile.ZipFile(content) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            names = list(members)
            if key and key not in members:
                named.refuse(f"holds no {key!r}: there is {list_names(names)}")
            if not key and len(names) != 1:
                named.refuse(
                    f"holds {len(names)} arrays: name one of {list_names(names)}" if names else "holds no array"
                )
            name = key or names[0]
            with archive.open(members[name]) as head:
                size = _check_header(file, f"{name}: ", head, members[name].file_size)
            if size > _LARGEST:
                file.refuse(f"{name} has more than {_LARGEST >> 30} GiB: {_LARGE}")
            refuse_large(file, size, _LARGE)
            with archive.open(members[name]) as values:
                return np.lib.format.read_array(values, allow_pickle=False)


def _open_hdf5(file: ConfigPath, key: str, named: ConfigPath) -> Stored:
    array = hdf5.open_array(file, key, named.field)
    with array.file:
        return _HDF5Array(file, array.name, array.shape, array.dtype)


@dataclass(frozen=True)
class _HDF5Array:
    """An array in an HDF5 file, opened for each read: changes of an open file go unnoticed."""

    file: ConfigPath
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        array = hdf5.open_array(self.file, self.name, self.file.field)
        with array.file:
            if array.shape != self.shape or array.dtype != self.dtype:
                self.file.refuse(f"{self.name} has changed: load it again")
            return array[index]


_OPENERS: dict[str, Callable[[ConfigPath, str, ConfigPath], Stored]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
}
