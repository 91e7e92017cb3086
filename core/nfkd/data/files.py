"""Files and folders that a config names or a data set comes in, and the problems with them."""

from __future__ import annotations

import gzip
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from nfkd.config import ConfigProblem
from nfkd.config.splits import Storage
from nfkd.data.dataset import DataError
from nfkd.files import FileError, file_kind, is_folder, is_regular

_SHOWN = 8  # names in a message
_COPIES = 8  # times the size of a table that must be free to load it into memory


class FormatError(ValueError):
    """The content of a file is not what it should be; the message is written for the user."""


@dataclass(frozen=True)
class ConfigPath:
    """A file or folder, and the config field that led to it.

    Attributes
    ----------
    path
        The file or folder.
    field
        Such as ``data.path``; problems are reported there.
    event_shape
        Shape of an example, if it is known without the file. The flows can then be checked anyway.
    """

    path: Path
    field: str
    event_shape: tuple[int, ...] | None = None

    def refuse(self, message: str) -> NoReturn:
        """Raise the `DataError` that says what is wrong; an exception that is being handled becomes its cause."""
        raise DataError([ConfigProblem(self.field, f"{self.path}: {message}")], self.event_shape) from sys.exception()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn every error that a decoder raises into a `DataError` that names the file."""
        try:
            yield
        except DataError:
            raise
        except FormatError as error:
            self.refuse(str(error))
        except FileNotFoundError:
            self.refuse("is not there any more: put it back, or name another")
        except FileError as error:
            self.refuse(f"{error.strerror}: put the right file there")
        except Exception as error:  # noqa: BLE001 - decoders of other libraries raise anything for damaged bytes
            self.refuse(f"cannot be read: {_describe_damage(error)}")


def _describe_damage(error: Exception) -> str:
    match error:
        case EOFError():
            return "it is truncated, get it again"
        case UnicodeDecodeError():
            return "it is not UTF-8 text"
        case MemoryError():
            return "there is too little free memory"
        case zlib.error() | gzip.BadGzipFile() | zipfile.BadZipFile() | tarfile.TarError():
            return "its compressed data is damaged, get it again"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return "it is damaged or of another format"


def named_file(text: str, field: str) -> ConfigPath:
    """Return the file that a field names.

    Raises
    ------
    DataError
        If it names nothing, or something that is not a file.
    """
    file = _named(text, field, "a file")
    if is_folder(file.path):
        file.refuse("is a folder: name a file")
    if kind := file_kind(file.path):
        file.refuse(f"{kind}: name a file")
    if not is_regular(file.path):
        file.refuse("there is no such file")
    return file


def named_folder(text: str, field: str, event_shape: tuple[int, ...] | None = None) -> ConfigPath:
    """Return the folder that a field names.

    Raises
    ------
    DataError
        If it names nothing, or something that is not a folder.
    """
    folder = _named(text, field, "a folder", event_shape)
    if is_regular(folder.path):
        folder.refuse("is a file: name the folder that it is in")
    if not is_folder(folder.path):
        folder.refuse("there is no such folder")
    return folder


def _named(text: str, field: str, what: str, event_shape: tuple[int, ...] | None = None) -> ConfigPath:
    if not text.strip():
        raise DataError([ConfigProblem(field, f"names nothing yet: choose {what}")], event_shape)
    return ConfigPath(expanded(text), field, event_shape)


def expanded(text: str) -> Path:
    """Return a path with ``~`` expanded."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return Path(text)


def stamp(paths: Iterable[Path]) -> Hashable:
    """Return a value that changes when one of the files does; files may be missing."""
    return tuple((str(path), *signature(path)) for path in paths)


def signature(path: Path) -> tuple[int, int, int]:
    """Return a file's size and its times of modification and change."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a ValueError: a null character in the name
        return -1, -1, -1
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns  # copies may keep size and time of modification


def refuse_large(file: ConfigPath, size: int, advice: str) -> None:
    """Refuse a file that needs more than half of the free memory: a copy of its values becomes the examples.

    Parameters
    ----------
    file
        The file.
    size
        Bytes of its values in memory.
    advice
        What the user can do.
    """
    free = psutil.virtual_memory().available
    if 2 * size > free:
        needed, available = 2 * size / 2**30, free / 2**30
        file.refuse(f"takes about {needed:,.1f} GiB of memory, and {available:,.1f} GiB are free: {advice}")


def is_kept_on_disk(storage: Storage, size: int) -> bool:
    """Return whether data is read from disk on access, rather than kept in memory.

    Parameters
    ----------
    storage
        The user's choice; *auto*: if its values take more than an eighth of the free memory. Loading makes copies.
    size
        Bytes of the values in float64.
    """
    return storage == "disk" or (storage == "auto" and _COPIES * size > psutil.virtual_memory().available)


def list_names(names: Sequence[str]) -> str:
    """Return the first names of a list, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
