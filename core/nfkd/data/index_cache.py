"""Indexes: tables that are too large for memory, as rows of float64 in a file of NFKD's cache.

An index is made once for each file and way of reading it, and again when the file changes. It is built beside its final
path and renamed when it is complete, by one process at a time. Results of the rows are kept beside it (`results.py`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from nfkd.data.cache import cache_folder
from nfkd.data.columns import Column
from nfkd.data.disk_rows import FileRows
from nfkd.data.files import ConfigPath, signature
from nfkd.data.progress import Progress, say
from nfkd.files import FileError, read_limited, replace_file

_VERSION = 1
_HEADER, _ROWS, _LOCK, _PART = "index.json", "rows.f64", "lock", ".part"
_LONGEST = 64 << 20  # bytes of a header: 65,536 columns
_SPARE = 64 << 20  # bytes that stay free
_CHECKED, _CHECKED_BYTES = 64, 1 << 16  # blocks of the rows that are compared when an index is opened
_ITEM = np.dtype("<f8")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an indexed table.

    Attributes
    ----------
    source
        Path of its file.
    count
        Number of rows; ``width`` columns of numbers are stored of each.
    columns
        All columns of the file.
    stored
        Which stored column each of them is; -1 for those that are not stored.
    reading
        As in `Table`.
    attempt
        The way of reading the file that succeeded.
    digest
        Of all else here, and of some blocks of the rows.
    """

    version: int = _VERSION
    source: str
    count: int
    width: int
    columns: list[Column]
    stored: list[int]
    reading: str = ""
    attempt: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Index:
    """An index that can be read."""

    folder: Path
    header: Header
    rows: FileRows


class RowWriter:
    """Writes the rows of an index, and checks the space that is left."""

    def __init__(self, file: ConfigPath, path: Path, needed: int) -> None:
        self._file, self._path, self._needed, self._progress = file, path, needed, Progress()
        self.count = 0
        self._refuse_full(shutil.disk_usage(path.parent).free)
        with _in_cache(file, path.parent):
            self._stream = path.open("xb")

    def write(self, rows: np.ndarray) -> None:
        """Append rows, (n, columns), as float64."""
        self._progress(f"Preparing {self._file.path.name} to be read from disk: {self.count:,} rows so far.")
        with _in_cache(self._file, self._path.parent):
            try:
                self._stream.write(np.ascontiguousarray(rows, _ITEM).data)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self._refuse_full(0)
                raise
        self.count += len(rows)

    def keep(self, count: int, width: int) -> None:
        """Keep only the first rows."""
        self.count = count
        self._stream.truncate(self._stream.seek(count * width * _ITEM.itemsize))

    def finish(self) -> None:
        """Put all rows on the disk, so that no power failure leaves an index that lacks some."""
        with _in_cache(self._file, self._path.parent):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # of rows that were not finished
            self._stream.close()

    def _refuse_full(self, free: int) -> None:
        if free < self._needed + _SPARE:
            needed, folder = (self._needed + _SPARE) / 2**30, self._path.parent.parent
            self._file.refuse(
                f"needs about {needed:,.2f} GiB in {folder} to be read from disk, and {free / 2**30:,.2f} GiB are "
                "free: free some space, or name another folder for NFKD's data by the variable NFKD_DATA"
            )


def indexes_folder() -> Path:
    """Return the folder of all indexes."""
    return cache_folder() / "indexes"


def open_index(file: ConfigPath, options: Sequence[str], needed: int, build: Callable[[RowWriter], Header]) -> Index:
    """Return the index of a file; it is built if there is none, or if it is damaged or of an older state of the file.

    Parameters
    ----------
    file
        The file.
    options
        How it is read; each choice has its own index.
    needed
        Bytes that the index will take, about.
    build
        Writes the rows and returns the header; raises to end it.

    Raises
    ------
    DataError
        If there is too little space on the disk, or what `build` raises. Nothing is left behind then.
    """
    folder = folder_of(file.path, options)
    found = _read(file, folder)
    if found is None:
        with _locked(file, folder):
            found = _read(file, folder) or _build(file, folder, needed, build)
    return found


def folder_of(path: Path, options: Sequence[str]) -> Path:
    """Return the folder of the index of a file in its present state."""
    name = _digest([str(path.absolute()), *options])
    return indexes_folder() / f"{name}-{_digest(map(str, signature(path)))[:12]}"


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _read(file: ConfigPath, folder: Path) -> Index | None:
    """Return an index, or None if there is none that is complete."""
    try:
        header = msgspec.json.decode(read_limited(folder / _HEADER, _LONGEST), type=Header)
        size = header.count * header.width * _ITEM.itemsize
        if header.version != _VERSION or (folder / _ROWS).stat().st_size != size or not size:
            return None
        rows = FileRows(ConfigPath(folder / _ROWS, file.field), _ITEM, (header.count, header.width))
    except (OSError, FileError, ValueError):
        return None
    return Index(folder, header, rows) if _sampled_digest(header, rows) == header.digest else None


def _sampled_digest(header: Header, rows: FileRows) -> str:
    digest = hashlib.blake2b(msgspec.json.encode(msgspec.structs.replace(header, digest="")), digest_size=16)
    size = max(1, _CHECKED_BYTES // (rows.shape[1] * _ITEM.itemsize))
    for start in np.unique(np.linspace(0, max(0, len(rows) - size), _CHECKED).astype(int)).tolist():
        digest.update(np.ascontiguousarray(rows[start : start + size]).data)
    return digest.hexdigest()


@contextmanager
def _locked(file: ConfigPath, folder: Path) -> Iterator[None]:
    """Hold the lock of a file's indexes; while another thread or process builds one, say so."""
    with _in_cache(file, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f"{folder.name.partition('-')[0]}.{_LOCK}")
    progress = Progress()
    while True:
        try:
            with _in_cache(file, folder):
                lock.acquire(timeout=1)
            break
        except Timeout:
            progress(f"{file.path.name} is already being prepared to be read from disk: waiting.")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _in_cache(file: ConfigPath, folder: Path) -> Iterator[None]:
    """Say that the cache is to blame, not the user's file."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        file.refuse(
            f"cannot be copied to {folder.parent} to be read from disk ({os.strerror(error.errno or 0)}): "
            "name another folder for NFKD's data by the variable NFKD_DATA"
        )


def _build(file: ConfigPath, folder: Path, needed: int, build: Callable[[RowWriter], Header]) -> Index:
    part = folder.with_name(folder.name + _PART)
    for old in folder.parent.glob(f"{folder.name.partition('-')[0]}-*"):  # of older states, or not completed
        shutil.rmtree(old, ignore_errors=True)
    state = signature(file.path)
    try:
        with _in_cache(file, folder):
            part.mkdir()
        writer = RowWriter(file, part / _ROWS, needed)
        try:
            header = build(writer)
            writer.finish()
        finally:
            writer.close()
        if signature(file.path) != state:
            file.refuse("changed while it was copied to be read from disk: try again when it is complete")
        rows = FileRows(ConfigPath(part / _ROWS, file.field), _ITEM, (header.count, header.width))
        header = msgspec.structs.replace(header, digest=_sampled_digest(header, rows))
        del rows
        with _in_cache(file, folder):
            replace_file(part / _HEADER, msgspec.json.encode(header))
            part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    say(f"{file.path.name} is prepared: {header.count:,} rows.")
    index = _read(file, folder)
    if index is None:
        file.refuse(f"its index in {folder} cannot be read: check the disk")
    return index
