"""The copies of the user's data in NFKD's cache: indexes of tables, lists of images and decoded images."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from nfkd.data.index_cache import indexes_folder
from nfkd.files import FileError, is_folder, read_limited

_HEADERS = "index.json", "images.json"
_LONGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class Copy:
    """A copy: its folder, its size in bytes, and the user's file or folder that it was made from (may be empty)."""

    folder: Path
    size: int
    source: str


def cached_copies() -> list[Copy]:
    """Return all copies, the largest first."""
    root = indexes_folder()
    folders = [each for each in root.iterdir() if is_folder(each)] if is_folder(root) else []
    return sorted((Copy(each, _size(each), _source(each)) for each in folders), key=lambda copy: -copy.size)


def remove_copies() -> tuple[int, int]:
    """Remove all copies but those that are being made now; return their number and the bytes that are free again.

    Runs that use one go on where the system allows it; elsewhere that copy stays.
    """
    removed = freed = 0
    for copy in cached_copies():
        lock = FileLock(indexes_folder() / f"{copy.folder.name.partition('-')[0]}.lock")
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(copy.folder, ignore_errors=True)
        except Timeout:
            continue
        if not copy.folder.exists():
            removed, freed = removed + 1, freed + copy.size
    return removed, freed


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        with suppress(OSError):
            found = path.stat()
            total += 512 * found.st_blocks if hasattr(found, "st_blocks") else found.st_size  # files may have holes
    return total


def _source(folder: Path) -> str:
    for name in _HEADERS:
        with suppress(OSError, FileError, ValueError, KeyError, TypeError):
            return str(json.loads(read_limited(folder / name, _LONGEST))["source"])
    return ""
