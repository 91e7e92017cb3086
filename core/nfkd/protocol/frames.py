"""Frames: messages on a byte stream. Does no I/O.

A frame is the two bytes ``NF``, the length of its body as an unsigned 32-bit big-endian number, and the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct(">2sI")
_MAGIC = b"NF"
_GREETING = _MAGIC + b"\0\0"
"""How the first frame begins: greetings are short, and text has no null bytes."""
MAX_FRAME = 256 * 1024 * 1024
"""Largest body in bytes; a longer one is refused without reading it."""


class FrameError(ValueError):
    """Bytes that are not a frame; the rest of the stream cannot be decoded."""


def encode_frame(body: bytes) -> bytes:
    """Return a body as a frame.

    Raises
    ------
    FrameError
        When the body is longer than `MAX_FRAME`.
    """
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes is longer than the limit of {MAX_FRAME}"
        raise FrameError(msg)
    return _HEADER.pack(_MAGIC, len(body)) + body


class FrameDecoder:
    """Decodes a byte stream that arrives in pieces. Buffers only received bytes, whatever length a header claims.

    Attributes
    ----------
    limit
        Largest body in bytes. May be changed, also while `feed` yields: it applies from the next body on.
    skipped
        The bytes before the first frame.

    Parameters
    ----------
    limit
        Largest body in bytes.
    preamble
        How many bytes before the first frame are skipped: what a shell prints before it starts the relay.
    """

    def __init__(self, limit: int = MAX_FRAME, preamble: int = 0) -> None:
        self.limit = limit
        self.skipped = b""
        self._preamble = preamble
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Number of buffered bytes of an incomplete frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and yield every complete body.

        Raises
        ------
        FrameError
            When the bytes are not a frame or its body is over the limit.
        """
        self._buffer += data
        if self._preamble and not self._skip_preamble():
            return
        while self._starts_with_frame() and len(self._buffer) >= _HEADER.size:
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

    def _skip_preamble(self) -> bool:
        """Drop what comes before the first frame; return whether that has begun, or too much came before it."""
        start = self._buffer.find(_GREETING)
        self.skipped = bytes(self._buffer[: start if start >= 0 else self._preamble])
        if start < 0 and len(self._buffer) <= self._preamble:
            return False
        del self._buffer[: max(0, start)]
        self._preamble = 0
        return True

    def _starts_with_frame(self) -> bool:
        # Checked from the first byte on: a short stray line is never followed by a complete header.
        if not _MAGIC.startswith(bytes(self._buffer[: len(_MAGIC)])):
            msg = f"the stream contains bytes that are not a frame: {bytes(self._buffer[:16])!r}"
            raise FrameError(msg)
        return True
