"""Arrays in the user's HDF5 files: only what lies in the file itself is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from nfkd.config import ConfigProblem
from nfkd.data.dataset import DataError
from nfkd.files import FileError, require_regular

_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError)
_SHOWN = 8
_PIECE = 1 << 30  # bytes of a chunk, which is unpacked as a whole


def open_array(path: Path, key: str = "", *, at: str = "data.key") -> Any:
    """Return an array of an HDF5 file as an open `h5py.Dataset`; nothing of its values is read yet.

    The file stays open as long as the dataset is in use.

    Parameters
    ----------
    path
        The file.
    key
        The array's name, such as ``group/images``; empty where the file has only one.
    at
        The field that names the array, for messages.

    Raises
    ------
    DataError
        When the file is damaged or has no such array; also when a link leads to it or its values are in another file
        (external storage, a virtual data set): a file from elsewhere could so name any file of this machine.
    """
    try:
        require_regular(path)
        file = h5py.File(path, "r")
    except FileError as error:
        raise DataError([ConfigProblem("data.path", f"{error}: put the right file there")]) from error
    except OSError as error:
        message = f"{path} is no whole HDF5 file: get it again ({_words(error)})"
        raise DataError([ConfigProblem("data.path", message)]) from error
    try:
        with reading(path):
            array = _array(file, key or _only(file, path, at), path, at)
            _refuse_large_pieces(array, path)
            return array
    except BaseException:
        file.close()
        raise


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the content of a damaged file leads to into a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError([ConfigProblem("data.path", f"{path} is damaged: get it again ({_words(error)})")]) from error


def _only(file: h5py.File, path: Path, at: str) -> str:
    names = _names(file)
    if len(names) == 1:
        return names[0]
    if not names:
        message = f"{path} holds no array of its own (links are not followed): copy the arrays into it"
        raise DataError([ConfigProblem("data.path", message)])
    raise DataError([ConfigProblem(at, f"{path.name} holds {_list(names)}: name one of them")])


def _names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names  # reached by hard links alone, each object once


def _array(file: h5py.File, name: str, path: Path, at: str) -> h5py.Dataset:
    item: Any = file
    for part in name.strip("/").split("/"):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) and part not in ("", ".") else None
        if link is None:
            raise DataError([ConfigProblem(at, f"{path.name} has no array {name!r}; it holds {_list(_names(file))}")])
        if not isinstance(link, h5py.HardLink):
            message = f"{name} in {path.name} is a link, and links are not followed: name the array itself"
            raise DataError([ConfigProblem(at, message)])
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        raise DataError([ConfigProblem(at, f"{name} in {path.name} is no array; the file holds {_list(_names(file))}")])
    if item.is_virtual or item.external:
        message = f"{name} in {path.name} keeps its values in another file, and those are not read: copy them into it"
        raise DataError([ConfigProblem(at, message)])
    return item


def _refuse_large_pieces(array: h5py.Dataset, path: Path) -> None:
    piece = math.prod(array.chunks or ()) * array.dtype.itemsize
    if piece > _PIECE:
        words = f"is kept in pieces of {piece:,} bytes: {_PIECE:,} are the most, save it in smaller ones"
        raise DataError([ConfigProblem("data.path", f"{array.name} in {path.name} {words}")])


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more


def _words(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
