"""The files of a run in pieces, to send them to another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from nfkd.files import open_regular
from nfkd.runs.labels import LABELS
from nfkd.runs.lock import NAME as LOCK

Piece = list[tuple[str, bytes]]
"""Parts of files in order, by relative path with slashes; a path that ends with a slash is a directory."""

_BYTES = 8 << 20
_LEFT_OUT = {LOCK, LABELS}  # they belong to the machine that has the run


def pieces(directory: Path, size: int = _BYTES) -> Iterator[Piece]:
    """Yield the files of a run's directory, about `size` bytes at a time; links and the user's labels are left out.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    piece: Piece = []
    taken = 0
    for name, path in _entries(directory, ""):
        if path is None:
            piece.append((name, b""))
            continue
        with open_regular(path) as file:
            piece.append((name, b""))  # also for an empty file
            while data := file.read(size - taken):
                piece.append((name, data))
                taken += len(data)
                if taken >= size:
                    yield piece
                    piece, taken = [], 0
    if piece:
        yield piece


def _entries(directory: Path, start: str) -> Iterator[tuple[str, Path | None]]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield f"{start}{entry.name}/", None
            yield from _entries(Path(entry.path), f"{start}{entry.name}/")
        elif entry.is_file(follow_symlinks=False) and entry.name not in _LEFT_OUT and not entry.name.endswith(".tmp"):
            yield f"{start}{entry.name}", Path(entry.path)


def write_piece(directory: Path, piece: Piece) -> None:
    """Write a piece into a directory; the parts of a file are appended.

    Raises
    ------
    OSError
        When it cannot be written.
    ValueError
        When a name would lead out of the directory.
    """
    for name, data in piece:
        path = directory / _checked(name)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        with path.open("ab") as file:
            file.write(data)


def _checked(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or "\\" in name:
        msg = f"a file of the run has the name {name!r}, which leads out of its directory"
        raise ValueError(msg)
    return name
