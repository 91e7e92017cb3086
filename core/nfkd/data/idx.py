"""IDX, the format of MNIST's files, gzipped or not.

Two zero bytes, a code of the type, the number of dimensions, each dimension as a big-endian 32-bit number, then the
values (http://yann.lecun.com/exdb/mnist/, *FILE FORMATS FOR THE MNIST DATABASE*).
"""

from __future__ import annotations

import gzip
import io
import math

import numpy as np

from nfkd.data.files import ConfigPath
from nfkd.files import open_regular

_UNSIGNED_BYTE = 0x08
_MOST = 1 << 28  # bytes: five times those of the published files
_CHUNK = 1 << 20


def read_idx(file: ConfigPath, dimensions: int) -> np.ndarray:
    """Return the bytes of an IDX file as an array of `dimensions` dimensions, uint8.

    Raises
    ------
    DataError
        If the file has another format, is too short or too long, or cannot be read.
    """
    with file.reading(), open_regular(file.path) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return _parse(file, raw, dimensions)
        with gzip.GzipFile(fileobj=raw) as unpacked:
            return _parse(file, unpacked, dimensions)


def _parse(file: ConfigPath, content: io.BufferedIOBase, dimensions: int) -> np.ndarray:
    head = content.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        file.refuse(f"is not an IDX file: it begins with {head.hex(' ') or 'nothing'}, not with 00 00")
    if head[2] != _UNSIGNED_BYTE or head[3] != dimensions:
        found = f"type {head[2]:#04x} and {head[3]} dimensions"
        file.refuse(f"holds {found}: unsigned bytes (0x08) in {dimensions} dimensions are needed")
    sizes = content.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        file.refuse("is truncated in its header: get it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    count = math.prod(shape)
    if count > _MOST:
        file.refuse(f"claims {'×'.join(map(str, shape))} values: it is damaged, get it again")
    values = _read(content, count)
    if len(values) < count:
        file.refuse(f"is truncated: {len(values):,} of {count:,} values are there; get it again")
    if content.read(1):
        file.refuse(f"has more bytes after its {count:,} values: it is damaged, get it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read(content: io.BufferedIOBase, count: int) -> bytes:
    """Read up to `count` bytes in chunks, since a damaged header may claim any number."""
    chunks, left = [], count
    while left and (chunk := content.read(min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
