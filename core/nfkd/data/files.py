"""Files that a user names or a data set is published in, and the words when they are not what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from nfkd.config import ConfigProblem
from nfkd.data.dataset import DataError
from nfkd.files import FileError, file_kind, is_folder, is_regular


@dataclass(frozen=True)
class ConfigPath:
    """A file or folder, and the field of the config that led to it.

    Attributes
    ----------
    path
        Where it is.
    field
        Such as ``data.path``; problems are told there.
    event_shape
        Of an example where it is known without the file: the flows can then be checked all the same.
    """

    path: Path
    field: str
    event_shape: tuple[int, ...] | None = None

    def refuse(self, message: str) -> NoReturn:
        """Raise the `DataError` that says what is wrong with the file."""
        raise DataError([ConfigProblem(self.field, f"{self.path}: {message}")], self.event_shape)

    @contextmanager
    def reading(self, what: str = "") -> Iterator[None]:
        """Turn whatever a decoder makes of damaged bytes into a `DataError` that names the file.

        Parameters
        ----------
        what
            Which piece of the file is read, if not all of it.
        """
        try:
            yield
        except DataError:
            raise
        except FileNotFoundError:
            self.refuse("is not there any more: put it back, or name another")
        except FileError as error:
            self.refuse(f"{error.strerror}: put the right file there")
        except Exception as error:  # noqa: BLE001 - decoders of other people's raise anything for bytes that no encoder wrote
            piece = f"{what} " if what else ""
            words = f"{error}".strip().splitlines()
            reason = words[0][:200] if words else type(error).__name__
            self.refuse(f"{piece}cannot be read ({reason}): it is damaged or of another kind")


def named_file(text: str, field: str) -> ConfigPath:
    """Return the file that a field names.

    Raises
    ------
    DataError
        When it names nothing, or something that is no file.
    """
    place = _named(text, field, "a file")
    if is_folder(place.path):
        place.refuse("is a folder: name a file")
    kind = file_kind(place.path)
    if kind:
        place.refuse(f"{kind}: name a file")
    if not is_regular(place.path):
        place.refuse("there is no such file")
    return place


def named_folder(text: str, field: str, event_shape: tuple[int, ...] | None = None) -> ConfigPath:
    """Return the folder that a field names.

    Raises
    ------
    DataError
        When it names nothing, or something that is no folder.
    """
    place = _named(text, field, "a folder", event_shape)
    if is_regular(place.path):
        place.refuse("is a file: name the folder that it is in")
    if not is_folder(place.path):
        place.refuse("there is no such folder")
    return place


def _named(text: str, field: str, what: str, event_shape: tuple[int, ...] | None = None) -> ConfigPath:
    if not text.strip():
        raise DataError([ConfigProblem(field, f"names nothing yet: choose {what}")], event_shape)
    return ConfigPath(expanded(text), field, event_shape)


def expanded(text: str) -> Path:
    """Return a path with the home folder put in."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody, whom this machine does not know
        return Path(text)


def refuse_large(place: ConfigPath, size: int, advice: str) -> None:
    """Refuse what takes more bytes than half of the free memory: a copy of it becomes examples."""
    free = psutil.virtual_memory().available
    if 2 * size > free:
        needed, there = 2 * size / 2**30, free / 2**30
        place.refuse(f"takes about {needed:,.1f} GiB of memory, and {there:,.1f} GiB are free: {advice}")
