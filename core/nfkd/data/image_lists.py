"""The image files of a folder, in little memory; the list of a large folder is kept in the cache.

A kept list is made again when a folder of it has changed, or one of 1,000 files has another size or time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import msgspec
import numpy as np

from nfkd.config.datasets import IMAGE_ENDINGS
from nfkd.data.index_cache import indexes_folder
from nfkd.data.progress import Progress
from nfkd.files import FileError, read_limited, replace_file

_VERSION = 1
_MANY = 20_000  # files of a folder whose list is kept
_CHECKED = 1000  # files
_LONGEST = 1 << 30  # bytes of a list
_LIST, _NAMES = "images.json", "names.bin"


class FilePaths(Sequence[Path]):
    """Paths of many files in a folder, 30 bytes or so each instead of a Python object.

    Parameters
    ----------
    root
        The folder.
    names
        The paths in it, each ended by a zero byte.
    """

    def __init__(self, root: Path, names: bytes) -> None:
        self._root, self._names = root, names
        self._ends = np.flatnonzero(np.frombuffer(names, np.uint8) == 0)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        return self._root / self.name(range(len(self))[index])

    def name(self, index: int) -> str:
        """Return the path of a file in the folder."""
        start = self._ends[index - 1] + 1 if index else 0
        return os.fsdecode(self._names[start : self._ends[index]])


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int = _VERSION
    source: str
    state: str
    names: str  # digest
    folders: list[tuple[str, int]]
    checked: list[tuple[int, int, int]]


@dataclass(frozen=True)
class ImageList:
    """The image files of a folder.

    Attributes
    ----------
    paths
        In order.
    state
        Changes with the names, sizes and times of the files.
    folder
        Where the list is kept, in the cache.
    """

    paths: FilePaths
    state: str
    folder: Path


def find_images(root: Path, *, keep: bool = False) -> ImageList:
    """Return the image files of a folder and its sub-folders, sorted by name; links to folders are not followed.

    Parameters
    ----------
    root
        The folder.
    keep
        Whether to keep the list also of a small folder.
    """
    key = hashlib.blake2b(os.fsencode(root.absolute()), digest_size=10).hexdigest()
    folder = indexes_folder() / f"{key}-images"
    return _kept(root, folder) or _walk(root, folder, keep=keep)


def image_names(root: Path) -> Iterator[str]:
    """Yield the paths of the image files in a folder, in order."""
    for name, entry in _entries(str(root), ""):
        if entry is not None:
            yield name


def _entries(folder: str, above: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yield the path of each image, with its entry, and before them that of its folder, with None."""
    yield above, None
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: os.path.normcase(entry.name))
    except OSError:
        return
    for entry in entries:
        name = f"{above}{os.sep}{entry.name}" if above else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, name)
        elif entry.name.lower().endswith(IMAGE_ENDINGS) and not entry.is_dir():
            yield name, entry


def _kept(root: Path, folder: Path) -> ImageList | None:
    """Return the list that is kept, if it is still right."""
    try:
        header = msgspec.json.decode(read_limited(folder / _LIST, _LONGEST), type=_Header)
        names = read_limited(folder / _NAMES, _LONGEST)
        if header.version != _VERSION or _digest(names) != header.names:
            return None
        paths = FilePaths(root, names)
        same = all((root / name).stat().st_mtime_ns == changed for name, changed in header.folders) and all(
            (stat := paths[index].stat()).st_size == size and stat.st_mtime_ns == changed
            for index, size, changed in header.checked
        )
    except (OSError, FileError, ValueError, IndexError):
        return None
    return ImageList(paths, header.state, folder) if same else None


def _walk(root: Path, folder: Path, *, keep: bool) -> ImageList:
    names, folders, stats = bytearray(), list[tuple[str, int]](), list[tuple[int, int]]()
    progress, state = Progress(), hashlib.blake2b(digest_size=10)
    for name, entry in _entries(str(root), ""):
        with suppress(OSError):  # removed meanwhile
            if entry is None:
                folders.append((name, (root / name).stat().st_mtime_ns))
                continue
            found = entry.stat()
            names += os.fsencode(name) + b"\0"
            stats.append((found.st_size, found.st_mtime_ns))
            state.update(f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n".encode())
            progress(f"Listing the images of {root}: {len(stats):,} so far.")
    state.update(names)
    result = ImageList(FilePaths(root, bytes(names)), state.hexdigest(), folder)
    if keep or len(stats) > _MANY:
        checked = [
            (index, *stats[index]) for index in np.unique(np.linspace(0, len(stats) - 1, _CHECKED, dtype=int)).tolist()
        ]
        header = _Header(
            source=str(root),
            state=result.state,
            names=_digest(names),
            folders=folders,
            checked=checked if stats else [],
        )
        with suppress(OSError, FileError):  # without space, the folder is listed again
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            replace_file(folder / _NAMES, bytes(names))
            replace_file(folder / _LIST, msgspec.json.encode(header))
    return result


def _digest(names: bytes | bytearray) -> str:
    return hashlib.blake2b(names, digest_size=16).hexdigest()
