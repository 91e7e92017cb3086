"""HDF5 files on a disk that may be full: complete files or none, and one clear error."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from nfkd.files import replacing
from nfkd.runs.errors import FULL, RunError, describe_error, errno_of
from nfkd.runs.schema import Node


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn errors of writing into a `RunError` that names the directory."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises both
        full = errno_of(error) in FULL
        title = "The disk is full" if full else "The run cannot be written"
        cause = f"Nothing more can be written to {directory}." if full else f"{directory}: {describe_error(error)}."
        action = "Free some space, or choose a folder that you may write to, and resume; the saved data stays readable."
        raise RunError(title, cause, action) from error


class _Sink:
    """File object for HDF5 whose writes never fail; after an error of the disk it continues in memory.

    A write that fails while HDF5 2.0 closes an object is not reported and later ends the process with a segmentation
    fault. So the error is stored in `error`, and `finish` raises it.
    """

    def __init__(self, path: Path) -> None:
        self._file: io.FileIO | io.BytesIO = io.FileIO(path, "r+")
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size) or b""

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer) or 0

    def write(self, data: bytes | memoryview) -> int:
        view, start = memoryview(data).cast("B"), self._file.tell()
        try:
            done = 0
            while done < len(view):  # a nearly full disk may write only a part
                done += self._file.write(view[done:])
        except OSError as error:
            self._to_memory(error)
            self._file.seek(start)
            self._file.write(view)
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._to_memory(error)
            return size

    def _to_memory(self, error: OSError) -> None:
        written = self._file
        written.seek(0)
        self._file, self.error = io.BytesIO(), error
        self._file.write(written.read())
        written.close()

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        """Sync to the disk and close; raise the error of an earlier write."""
        if self.error is None:
            os.fsync(self._file.fileno())
        self._file.close()
        if self.error is not None:
            raise self.error


@contextmanager
def whole_file(path: Path) -> Iterator[Node]:
    """Create an HDF5 file that replaces `path` once it is completely on the disk.

    Raises
    ------
    OSError
        When it cannot be written; an older file then stays as it is.
    """
    with replacing(path) as temporary:
        sink = _Sink(temporary)
        try:
            with h5py.File(sink, "w", libver="latest") as file:
                yield file
        finally:
            sink.finish()


def abandon(file: Node) -> None:
    """Close a file that can no longer be written; its unwritten data goes to the null device.

    HDF5 crashes when it closes a file and cannot write (see `_Sink`). An SWMR file needs a real descriptor and cannot
    use `_Sink`, so its writer calls this function after the first error.
    """
    with suppress(OSError, RuntimeError, ValueError):
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(null, file.id.get_vfd_handle())
        finally:
            os.close(null)
    with suppress(OSError, RuntimeError):
        file.close()
