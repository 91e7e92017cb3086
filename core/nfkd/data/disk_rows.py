"""Rows of a file that are read on access, through a memory map that is checked before each read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath, signature
from nfkd.files import open_regular

_CHANGED = "has changed while it was in use: restore it and resume the run, or start a new run with the new data"


class FileRows:
    """Rows of an uncompressed array in a file.

    Reading beyond the end of a truncated file would end the process (SIGBUS), so its size is compared before each read.

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

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        changed = self._state is not None and signature(self._file.path) != self._state
        if changed or self._map.size() < self._needed:
            self._file.refuse(_CHANGED)
        return self._rows[index]


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
