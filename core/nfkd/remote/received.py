"""Tells an engine what has arrived, so that it sends a slow line the newest pictures only."""

from __future__ import annotations

from nfkd.protocol.requests import Received

_EVERY = 1 << 13  # bytes


class ReceivedBytes:
    """Counts the bytes of an engine's stream.

    Attributes
    ----------
    total
        Bytes so far, without the preamble of a shell.
    """

    def __init__(self) -> None:
        self.total = 0
        self._read = self._told = 0

    def add(self, size: int, skipped: int) -> Received | None:
        """Count bytes that were read; return the message that is due, if any.

        Parameters
        ----------
        size
            Number of bytes.
        skipped
            Length of `FrameDecoder.skipped`.
        """
        self._read += size
        self.total = self._read - skipped
        if self.total - self._told < _EVERY:
            return None
        self._told = self.total
        return Received(total=self.total)
