"""Archives of published data sets, read in one pass and with a limit on the unpacked size."""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nfkd.files import FileTooLargeError, open_regular


class _Limited(io.RawIOBase):
    """A stream that refuses to be read beyond a limit."""

    def __init__(self, stream: io.BufferedIOBase, limit: int, name: str) -> None:
        self._stream, self._left, self._limit, self._name = stream, limit, limit, name

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            message = f"unpacks to more than {self._limit:,} bytes, so it is not the published file"
            raise FileTooLargeError(errno.EFBIG, message, self._name)
        return data


@contextmanager
def open_archive(path: Path, limit: int) -> Iterator[tarfile.TarFile]:
    """Open a ``.tar.gz`` whose members are read in their order.

    Parameters
    ----------
    path
        The file.
    limit
        Most bytes that may be unpacked, including those of skipped members.

    Raises
    ------
    FileTooLargeError
        During reading, if it unpacks to more.
    OSError, tarfile.TarError
        If it is not a regular file, or no such archive.
    """
    with (
        open_regular(path) as file,
        gzip.GzipFile(fileobj=file) as unpacked,
        tarfile.open(fileobj=_Limited(unpacked, limit, str(path)), mode="r|") as archive,
    ):
        yield archive
