"""Rows of a file that are read on access, through a memory map that is checked before each read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath, signature
from nfkd.files import open_regular

_MAPPED = 256 << 20  # bytes that stay mapped, about; the pages may remain in the system's cache
_AROUND = 1 << 16  # bytes that the kernel maps around one row
_SCATTERED = 4  # rows are scattered, if they are from more than so many times their number
_CHANGED = "has changed while it was in use: restore it and resume the run, or start a new run with the new data"


class FileRows:
    """Rows of an uncompressed array in a file.

    Reading beyond the end of a truncated file would end the process (SIGBUS), so its size is compared before each read.
    What was read is unmapped after about 256 MiB. The kernel may map more around a row than is counted here: up to
    2 MiB where it caches the file in large units. Such pages are the system's cache, which takes them back on demand.

    Parameters
    ----------
    file
        The file.
    dtype, shape, offset
        Of the array; the offset is that of its first byte.
    watched
        Whether to refuse reads after the file at this path has been changed or replaced.
    """

    def __init__(
        self, file: ConfigPath, dtype: np.dtype, shape: tuple[int, ...], offset: int = 0, *, watched: bool = False
    ) -> None:
        self._file, self.dtype, self.shape = file, dtype, shape
        self._needed = offset + math.prod(shape) * dtype.itemsize
        with open_regular(file.path) as stream:
            self._state = signature(file.path) if watched else None
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(self._map, dtype, math.prod(shape), offset).reshape(shape)
        self._touched, self._scattered = 0, False

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        changed = self._state is not None and signature(self._file.path) != self._state
        if changed or self._map.size() < self._needed:
            self._file.refuse(_CHANGED)
        self._advise(index)
        return self._rows[index]

    def _advise(self, index: Any) -> None:
        """Tell the kernel how rows are read, and unmap what was read before."""
        if not hasattr(mmap, "MADV_RANDOM"):
            return
        rows = isinstance(index, np.ndarray) and len(index) > 1 and index.dtype.kind in "iu"
        scattered = rows and int(index[-1]) - int(index[0]) > _SCATTERED * len(index)
        if scattered != self._scattered:  # no reading ahead of scattered rows
            self._map.madvise(mmap.MADV_RANDOM if scattered else mmap.MADV_NORMAL)
            self._scattered = scattered
        size = self._needed // max(1, len(self))
        count = len(index) if rows else len(range(*index.indices(len(self)))) if isinstance(index, slice) else len(self)
        self._touched += count * (max(size, _AROUND) if scattered else size)
        if self._touched > _MAPPED:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


class SomeColumns:
    """Some columns of rows, as examples of float64."""

    def __init__(self, rows: FileRows, columns: Sequence[int]) -> None:
        self._rows, self._columns = rows, list(columns)
        self._all = self._columns == list(range(rows.shape[1]))
        self.shape = (len(rows), len(self._columns))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self._rows[index]
        return (rows if self._all else rows[:, self._columns]).astype(np.float64)
