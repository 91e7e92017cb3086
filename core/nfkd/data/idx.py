"""IDX: the format of MNIST's files, packed by gzip or not.

Two zero bytes, a code of the type, the number of dimensions, each dimension as four bytes, the highest first, then the
values (http://yann.lecun.com/exdb/mnist/, *FILE FORMATS FOR THE MNIST DATABASE*).
"""

from __future__ import annotations

import gzip
import math
from typing import BinaryIO

import numpy as np

from nfkd.data.files import ConfigPath
from nfkd.files import open_regular

_UNSIGNED_BYTE = 0x08
_MOST = 1 << 28  # bytes: five times what the published files hold
_PIECE = 1 << 20


def read_idx(place: ConfigPath, dimensions: int) -> np.ndarray:
    """Return the bytes of an IDX file as an array of `dimensions` dimensions, uint8.

    Raises
    ------
    DataError
        When the file is of another kind, too short or too long, or cannot be read.
    """
    with place.reading(), open_regular(place.path) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return _parse(place, raw, dimensions)
        with gzip.GzipFile(fileobj=raw) as file:
            return _parse(place, file, dimensions)  # type: ignore[arg-type]  # it reads as a binary file does


def _parse(place: ConfigPath, file: BinaryIO, dimensions: int) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        place.refuse(f"is no IDX file: it begins with {head.hex(' ') or 'nothing'}, not with 00 00")
    if head[2] != _UNSIGNED_BYTE or head[3] != dimensions:
        found = f"type {head[2]:#04x} and {head[3]} dimensions"
        place.refuse(f"holds {found}: unsigned bytes (0x08) in {dimensions} dimensions are wanted")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        place.refuse("is truncated in its header: get it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    count = math.prod(shape)
    if count > _MOST:
        place.refuse(f"claims {'×'.join(map(str, shape))} values: it is damaged, get it again")
    values = _read(file, count)
    if len(values) < count:
        place.refuse(f"is truncated: {len(values):,} of {count:,} values are there; get it again")
    if file.read(1):
        place.refuse(f"goes on after its {count:,} values: it is damaged, get it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read(file: BinaryIO, count: int) -> bytes:
    """Read so many bytes, or as many as there are: piece by piece, for a false header may claim anything."""
    pieces, left = [], count
    while left and (piece := file.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
