"""Arrays in files: .npy by memory map, .npz, and .h5, of which only what lies in the file itself is read."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from nfkd.data import hdf5
from nfkd.data.files import ConfigPath, refuse_large
from nfkd.files import open_regular

_OBJECTS = "it holds Python objects, such as text or images of unequal size: save an array of plain numbers"
_LARGE = "save it as .npy, which is read piece by piece"
_HEAD = 1 << 16  # bytes: the head of a .npy file is shorter
_MOST = 2 << 30  # bytes of an array in a .npz, which cannot be read by memory map
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
KINDS = (".npy", ".npz", ".h5", ".hdf5")
"""How the names of such files end."""


class Stored(Protocol):
    """An array that may still be in its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return the rows of a slice or of an array of rising numbers, as an array."""
        ...


def open_array(place: ConfigPath, key: str, key_field: str) -> Stored:
    """Return an array of numbers in a file; no more of it is read than is looked at, but for a .npz.

    Parameters
    ----------
    place
        The file.
    key
        The array's name; empty where the file has only one.
    key_field
        The field that names the array: problems of the name are told there.

    Raises
    ------
    DataError
        When the file cannot be read, has no such array, or the array holds Python objects or lies outside of the file.
    """
    ending = place.path.suffix.lower()
    if ending not in KINDS:
        place.refuse(f"a file that ends with {', '.join(KINDS)} is wanted")
    named = replace(place, field=key_field)
    with place.reading():
        found = _open(place, named, key, ending)
        if found.dtype.kind not in "biuf" or found.dtype.shape:
            place.refuse(f"its array holds {found.dtype}, not numbers")
        if not found.shape or not math.prod(found.shape):
            place.refuse(f"its array is empty: its shape is {found.shape}")
        return found


def _open(place: ConfigPath, named: ConfigPath, key: str, ending: str) -> Stored:
    if ending == ".npy":
        return _npy(place, named, key)
    return _npz(place, named, key) if ending == ".npz" else _HDF5Array.found(place, named, key)


def _npy(place: ConfigPath, named: ConfigPath, key: str) -> Stored:
    if key:
        named.refuse(f"a .npy file has one array and no names: leave {key!r} out")
    return open_npy(place)


def open_npy(place: ConfigPath) -> np.ndarray:
    """Return the array of a .npy file by memory map.

    Raises
    ------
    DataError
        When it holds Python objects, or the file several arrays. Other problems are raised as by `numpy.load`.
    """
    with open_regular(place.path) as file:
        head = io.BytesIO(file.read(_HEAD))
    if head.getvalue()[:2] == b"PK":
        place.refuse("is no .npy file, but an archive of arrays: save the one that you mean as .npy")
    if _dtype(head).hasobject:
        place.refuse(_OBJECTS)
    return np.load(place.path, mmap_mode="r", allow_pickle=False)  # the map is compared with the file's size


def _dtype(head: io.BytesIO) -> np.dtype:
    """Return the type in the head of a .npy file; nothing else is known of one that has a newer head."""
    read_header = _HEADERS.get(np.lib.format.read_magic(head))
    return read_header(head)[2] if read_header else np.dtype(float)


def _npz(place: ConfigPath, named: ConfigPath, key: str) -> Stored:
    with open_regular(place.path) as file:
        if file.read(2) != b"PK":
            place.refuse("is no .npz file, but ends like one")
        with zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            name = _chosen(named, key, list(members))
            _check_member(place, name, archive, members[name])
            with archive.open(members[name]) as content:
                return np.lib.format.read_array(content, allow_pickle=False)


def _check_member(place: ConfigPath, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array that is too large, or whose head claims more than the archive says that there is."""
    with archive.open(member) as content:
        head = io.BytesIO(content.read(_HEAD))
    read_header = _HEADERS[np.lib.format.read_magic(head)]
    shape, _, dtype = read_header(head)
    if dtype.hasobject:
        place.refuse(f"{name}: {_OBJECTS}")
    size = math.prod(shape) * dtype.itemsize
    if size > _MOST:
        place.refuse(f"{name} has more than {_MOST >> 30} GiB: {_LARGE}")
    if size + head.tell() > member.file_size:
        place.refuse(
            f"{name} claims {size:,} bytes, and only {member.file_size - head.tell():,} are there: get it again"
        )
    refuse_large(place, size, _LARGE)


@dataclass(frozen=True)
class _HDF5Array:
    """An array in an HDF5 file, which is open only while rows are read: HDF5 does not see changes of an open one."""

    place: ConfigPath
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def found(cls, place: ConfigPath, named: ConfigPath, key: str) -> _HDF5Array:
        """Return the array of that name, or the only one."""
        found = hdf5.open_array(place.path, key, at=named.field)
        with found.file:
            return cls(place, found.name, found.shape, found.dtype)

    def __getitem__(self, index: Any) -> np.ndarray:
        found = hdf5.open_array(self.place.path, self.name, at=self.place.field)
        with found.file:
            if found.shape != self.shape or found.dtype != self.dtype:
                self.place.refuse(f"{self.name} has changed meanwhile: load it again")
            return found[index]


def _chosen(named: ConfigPath, key: str, names: list[str]) -> str:
    shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
    if key:
        return key if key in names else named.refuse(f"holds no {key!r}: there is {shown or 'nothing'}")
    if len(names) == 1:
        return names[0]
    return named.refuse(f"holds {len(names)} arrays: name one of {shown}" if names else "holds no array")
