"""Writing HDF5 to a disk that may refuse: whole files or none, one clear error, and an orderly end."""

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
def explained(directory: Path) -> Iterator[None]:
    """Turn what a disk refuses into a `RunError` that names the directory."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises both
        full = errno_of(error) in FULL
        title = "The disk is full" if full else "The run cannot be written"
        cause = f"Nothing more can be written to {directory}." if full else f"{directory}: {describe_error(error)}."
        action = "Make room, or choose a folder that you may write to, and resume; what was written stays readable."
        raise RunError(title, cause, action) from error


class _Sink:
    """The disk as HDF5 sees it while a file is made: it takes everything.

    What the real one refuses goes to memory, and the refusal is kept: where a write fails while HDF5 2.0 closes one of
    its objects, nobody is told, and the process ends with a segmentation fault some time later.
    """

    def __init__(self, path: Path) -> None:
        self._file: io.FileIO | io.BytesIO = io.FileIO(path, "r+")
        self.refusal: OSError | None = None

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size) or b""

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer) or 0

    def write(self, data: bytes | memoryview) -> int:
        view, place = memoryview(data).cast("B"), self._file.tell()
        try:
            done = 0
            while done < len(view):  # a disk that is nearly full takes a part
                done += self._file.write(view[done:])
        except OSError as error:
            self._to_memory(error)
            self._file.seek(place)
            self._file.write(view)
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._to_memory(error)
            return size

    def _to_memory(self, refusal: OSError) -> None:
        written = self._file
        written.seek(0)
        self._file, self.refusal = io.BytesIO(), refusal
        self._file.write(written.read())
        written.close()

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        """Bring everything to the disk; raises what it refused."""
        if self.refusal is None:
            os.fsync(self._file.fileno())
        self._file.close()
        if self.refusal is not None:
            raise self.refusal


@contextmanager
def whole_file(path: Path) -> Iterator[Node]:
    """Make an HDF5 file beside its place; it takes it when all of it is on the disk, or is taken away.

    Raises
    ------
    OSError
        When it cannot be written; an older file is untouched then.
    """
    with replacing(path) as temporary:
        sink = _Sink(temporary)
        try:
            with h5py.File(sink, "w", libver="latest") as file:
                yield file
        finally:
            sink.finish()


def abandon(file: Node) -> None:
    """Close a file that the disk refuses; what HDF5 still holds back goes to the null device.

    It does not survive a close that cannot write: see `_Sink`. A file that is written in place by others' reading needs
    a real descriptor, so the writer keeps its objects open, sees the first refusal itself, and then calls this.
    """
    with suppress(OSError, RuntimeError, ValueError):
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(null, file.id.get_vfd_handle())
        finally:
            os.close(null)
    with suppress(OSError, RuntimeError):
        file.close()
