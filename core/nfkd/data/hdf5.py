"""Arrays in the user's HDF5 files; links and values in other files are not followed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import h5py

from nfkd.data.files import ConfigPath, list_names
from nfkd.files import require_regular

_LARGEST_CHUNK = 1 << 30  # bytes; a chunk is decompressed as a whole


def open_array(file: ConfigPath, key: str = "", key_field: str = "data.key") -> Any:
    """Return an array of an HDF5 file as an open `h5py.Dataset`; its values are not read yet.

    The file stays open as long as the dataset is in use.

    Parameters
    ----------
    file
        The file.
    key
        The array's name, such as ``group/images``; empty if the file has only one.
    key_field
        The field that names the array; problems with the name are reported there.

    Raises
    ------
    DataError
        If the file is damaged or has no such array; also if the array is a link or its values are in another file
        (external storage, a virtual dataset), since a foreign file could then read any file of this machine.
    """
    with file.reading():
        content = open_hdf5(file)
        try:
            array = _find(content, key, file, replace(file, field=key_field))
            chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
            if chunk > _LARGEST_CHUNK:
                file.refuse(f"{array.name} has chunks of {chunk:,} bytes: save it with at most {_LARGEST_CHUNK:,}")
        except BaseException:
            content.close()
            raise
        return array


def open_hdf5(file: ConfigPath) -> h5py.File:
    """Return an open HDF5 file; raises as `open_array`."""
    with file.reading():
        require_regular(file.path)
        try:
            return h5py.File(file.path, "r")
        except OSError:
            file.refuse("is not a complete HDF5 file: get it again")


def array_names(file: ConfigPath) -> list[str]:
    """Return the names of all arrays in an HDF5 file; links are not followed."""
    with open_hdf5(file) as content:
        return _names(content)


def _names(content: h5py.File) -> list[str]:
    names: list[str] = []  # reached by hard links, each object once
    content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _find(content: h5py.File, key: str, file: ConfigPath, named: ConfigPath) -> h5py.Dataset:
    names = _names(content)
    if not key and not names:
        file.refuse("holds no array of its own (links are not followed): copy the arrays into it")
    if not key and len(names) > 1:
        named.refuse(f"holds {list_names(names)}: name one of them")
    name, item = key or names[0], content
    for step in name.strip("/").split("/"):
        link = item.get(step, getlink=True) if isinstance(item, h5py.Group) and step not in ("", ".") else None
        if link is None:
            named.refuse(f"has no array {name!r}; it holds {list_names(names)}")
        if not isinstance(link, h5py.HardLink):
            named.refuse(f"{name} is a link, and links are not followed: name the array itself")
        item = item[step]  # type: ignore[index] - a group
    if not isinstance(item, h5py.Dataset):
        named.refuse(f"{name} is not an array; the file holds {list_names(names)}")
    if item.is_virtual or item.external:
        named.refuse(f"{name} keeps its values in another file, and those are not read: copy them into this file")
    return item
