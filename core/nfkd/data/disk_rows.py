"""Rows of a file that are read on access, without mapping it into memory."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath, signature
from nfkd.files import open_regular

_LONGEST = 1 << 30  # bytes of one read; some systems allow no more than 2 GiB
_CHANGED = "has changed while it was in use: restore it and resume the run, or start a new run with the new data"


class FileRows:
    """Rows of an uncompressed array in a file, for several threads.

    They are read into arrays of their own rather than mapped: mapped pages would count as memory of the process, up to
    the size of the file; a page that is not in memory would stop all threads, as NumPy keeps Python's lock while it
    copies; and a read beyond the end of a truncated file would end the process (SIGBUS).

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
        self._file, self.dtype, self.shape, self._offset = file, dtype, shape, offset
        self._size = math.prod(shape[1:]) * dtype.itemsize
        self._lock = Lock()
        with open_regular(file.path) as stream:
            self._state = signature(file.path) if watched else None
            self._descriptor = os.dup(stream.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Return the rows of a slice or of an array of indices that are not negative."""
        if self._state is not None and signature(self._file.path) != self._state:
            self._file.refuse(_CHANGED)
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index
        content = np.empty(len(rows) * self._size, np.uint8)
        if content.size:
            self._fill(content.data, rows)
        return content.view(self.dtype).reshape(len(rows), *self.shape[1:])

    def _fill(self, view: memoryview, rows: np.ndarray) -> None:
        """Read some rows; those that follow one another at once."""
        first = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
        starts, ends = first * self._size, np.append(first[1:], len(rows)) * self._size
        places = self._offset + rows[first] * self._size
        for start, end, place in zip(starts.tolist(), ends.tolist(), places.tolist(), strict=True):
            done = start
            while done < end:
                count = self._read(view[done : min(end, done + _LONGEST)], place + done - start)
                if not count:
                    self._file.refuse(_CHANGED)
                done += count

    def _read(self, view: memoryview, place: int) -> int:
        """Read bytes at a place of the file; return how many there were."""
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], place)
        with self._lock:  # Windows
            os.lseek(self._descriptor, place, os.SEEK_SET)
            content = os.read(self._descriptor, len(view))
        view[: len(content)] = content
        return len(content)


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
        return (rows if self._all else rows[:, self._columns]).astype(np.float64, copy=False)
