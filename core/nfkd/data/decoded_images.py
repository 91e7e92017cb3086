"""Decoded images in a file of NFKD's cache, so that each is decoded once and not kept in memory."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
import weakref
from pathlib import Path

import numpy as np

from nfkd.data.disk_rows import FileRows
from nfkd.data.files import ConfigPath
from nfkd.data.progress import say

_SPARE = 64 << 20  # bytes that stay free
_FLUSHED = 4096  # images after which the marks are written


class DecodedImages:
    """Images in a file, some of which are there; used by several threads.

    An image is marked as known in a second file after its pixels are on the disk, so that neither a killed process nor
    a power failure leaves a wrong image.

    Parameters
    ----------
    path
        The file; that of the marks has the suffix ``.known``.
    shape
        (N, channels, height, width).

    Raises
    ------
    OSError
        If there is too little space for all images, or the files cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        size, self._image = math.prod(shape), math.prod(shape[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size if path.exists() else 0
        free = shutil.disk_usage(path.parent).free
        if there != size and free < size + _SPARE:
            message = f"{size / 2**30:,.1f} GiB are needed in {path.parent}, and {free / 2**30:,.1f} GiB are free"
            raise OSError(errno.ENOSPC, message)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._pixels = os.open(path, flags)
        self._marks = os.open(path.with_suffix(".known"), flags)
        self.known = np.zeros(shape[0], bool)
        if there == size and os.fstat(self._marks).st_size == shape[0]:
            self.known = np.frombuffer(os.read(self._marks, shape[0]), np.uint8) == 1
        else:
            os.ftruncate(self._marks, 0)
            os.ftruncate(self._marks, shape[0])
            os.ftruncate(self._pixels, size)
        self.known = self.known.copy()
        self._lock, self._new, self._full = threading.Lock(), list[int](), False
        self._rows = FileRows(ConfigPath(path, "data.path"), np.dtype(np.uint8), shape)
        weakref.finalize(self, _close, self._pixels, self._marks, self._new)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Return known images."""
        return self._rows[index]

    def add(self, position: int, image: np.ndarray) -> bool:
        """Keep an image; return whether it is known now: not when the disk is full."""
        with self._lock:
            if self._full or self.known[position]:
                return bool(self.known[position])
            try:
                _write(self._pixels, position * self._image, image.tobytes())
                self._new.append(position)
                if len(self._new) >= _FLUSHED:
                    _mark(self._pixels, self._marks, self._new)
            except OSError as error:
                self._full = True
                say(f"No more decoded images are kept ({os.strerror(error.errno or 0)}): others are decoded each time.")
                return False
            self.known[position] = True
            return True


def _write(file: int, start: int, content: bytes) -> None:
    os.lseek(file, start, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


def _mark(pixels: int, marks: int, new: list[int]) -> None:
    os.fsync(pixels)
    for position in new:
        _write(marks, position, b"\1")
    new.clear()


def _close(pixels: int, marks: int, new: list[int]) -> None:
    try:
        _mark(pixels, marks, new)
    except OSError:
        pass  # they are decoded again
    finally:
        os.close(pixels)
        os.close(marks)
