"""Bits of a channel of an image file, from its head.

Pillow reads some images of more bits as images of 8, and drops the lower bits: their mode does not tell.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from typing import BinaryIO

_HEAD = 1 << 16  # bytes; the comments of a PNM file may be long
_PNG_DEPTH = 24  # offset in the file, in the chunk IHDR
_TIFF_BITS = 258  # BitsPerSample
_PNM = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")
_PAM = re.compile(rb"P7\s.*?\bMAXVAL\s+(\d+)", re.DOTALL)
_FLOAT = re.compile(rb"P[fF]\s")
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # markers among those of a JPEG frame that are of tables


def bits_per_channel(content: BinaryIO) -> int:
    """Return the bits of a channel of a PNG, TIFF, PNM, PAM, PFM or JPEG file; 8 for any other or damaged one.

    Parameters
    ----------
    content
        The file, at its start; it is there again afterwards.
    """
    head = content.read(_HEAD)
    try:
        return _bits(head, content)
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 8  # Pillow refuses the file, or reads it
    finally:
        content.seek(0)


def _bits(head: bytes, content: BinaryIO) -> int:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return head[_PNG_DEPTH]
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _tiff_bits(head, content)
    if head.startswith(b"\xff\xd8"):
        return _jpeg_bits(head)
    if _FLOAT.match(head):
        return 32
    most = _PNM.match(head) or _PAM.match(head)
    return 8 if most is None else int(most[1]).bit_length()


def _tiff_bits(head: bytes, content: BinaryIO) -> int:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    start = io.BytesIO(head)
    directory = ImageFileDirectory_v2(start.read(16 if head[2:3] == b"+" or head[3:4] == b"+" else 8))
    content.seek(directory.next)
    with warnings.catch_warnings(action="ignore"):  # Pillow warns of a damaged directory
        directory.load(content)
    return max(directory.get(_TIFF_BITS, (1,)))


def _jpeg_bits(head: bytes) -> int:
    """Return the precision in the first frame header."""
    position = 2
    while position + 5 <= len(head):
        marker, length = head[position + 1], int.from_bytes(head[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            return head[position + 4]
        position += 2 + length
    return 8
