"""Frames: how a message travels over a byte stream, without any I/O of its own.

A frame is the two bytes ``NF``, the length of its body as an unsigned 32-bit big-endian number, and the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct(">2sI")
_MAGIC = b"NF"
MAX_FRAME = 256 * 1024 * 1024
"""Largest body in bytes; a longer one is refused before it is read."""


class FrameError(ValueError):
    """Bytes that are not a frame; the stream cannot be read any further."""


def encode_frame(body: bytes) -> bytes:
    """Put a body into a frame.

    Raises
    ------
    FrameError
        When the body is longer than `MAX_FRAME`.
    """
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes is longer than the {MAX_FRAME} bytes that a frame may hold"
        raise FrameError(msg)
    return _HEADER.pack(_MAGIC, len(body)) + body


class FrameDecoder:
    """Takes bytes as they come, gives whole bodies. Keeps no more than has come, whatever length is announced.

    Parameters
    ----------
    limit
        Largest body in bytes.

    Attributes
    ----------
    limit
        May be changed, also while `feed` yields: it holds from the next body on.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and yield every body that is complete.

        Raises
        ------
        FrameError
            When the bytes are not a frame or its body is over the limit.
        """
        self._buffer += data
        while self._begins_a_frame() and len(self._buffer) >= _HEADER.size:
            _, length = _HEADER.unpack_from(self._buffer)
            if length > self.limit:
                msg = f"a frame of {length} bytes is over the limit of {self.limit}"
                raise FrameError(msg)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield body

    def _begins_a_frame(self) -> bool:
        """Judge by the first byte already: a short stray line must not wait for a header that never comes."""
        if not _MAGIC.startswith(bytes(self._buffer[: len(_MAGIC)])):
            msg = f"the stream holds something that is no frame: {bytes(self._buffer[:16])!r}"
            raise FrameError(msg)
        return True
