"""Safe opening of a seed's HDF5 file: complete or not, but without links or data outside the file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import h5py

from nfkd.files import FileError, open_regular, require_regular
from nfkd.runs import schema
from nfkd.runs.errors import RunError, errno_of
from nfkd.runs.schema import Node

_h5i, _h5l, _h5o = (getattr(cast("Any", h5py), name) for name in ("h5i", "h5l", "h5o"))  # the stubs of h5py lack them
_NO_FILE = "The run has not recorded anything yet, or the file was removed: put it back."
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError)
_UNWRITTEN = 64 << 20  # bytes by which arrays may exceed the file: rows that a killed writer did not fill
_FLAGS, _WRITING = 11, 0x05  # offset in a version 3 superblock; flags for open for writing and for SWMR


@contextmanager
def open_file(path: Path, parts: Sequence[str] | None = None) -> Iterator[Node]:
    """Open a seed's file for reading.

    Parameters
    ----------
    path
        The file.
    parts
        Paths of the groups that will be read, such as ``teacher/samples``; only these are checked, which takes less
        time. None for the whole file.

    Raises
    ------
    RunError
        When it is missing, damaged, of another program or a newer format, or contains links or external data.
    """
    try:
        require_regular(path)
        file = _open(path, swmr=is_unclosed(path))
    except FileNotFoundError as error:
        raise RunError(title="The run cannot be read", cause=f"{path} is missing.", action=_NO_FILE) from error
    except FileError as error:
        raise RunError(
            title="The run cannot be read", cause=f"{error}.", action="Put the run's own file back."
        ) from error
    except OSError as error:
        cause = _describe(path, error, "is not a complete HDF5 file")
        raise RunError(title="The run cannot be read", cause=cause) from error
    with file, reading(path):
        _check(file, path, parts)
        yield file


def _open(path: Path, *, swmr: bool) -> Node:
    try:
        return h5py.File(path, "r", libver="latest", swmr=swmr, locking=False)
    except OSError as error:
        if "close degree" not in str(error):
            raise
    # A run in training in this process has the file open, and HDF5 opens it again only as its writer did.
    flags = h5py.h5f.ACC_RDONLY | (h5py.h5f.ACC_SWMR_READ if swmr else 0)
    return h5py.File(h5py.h5f.open(os.fsencode(path), flags, writer_access()))


def writer_access() -> Any:
    """Return the access properties with which a run's writer opens its file."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_file_locking(False, True)  # HDF5 refuses a second opening with another setting
    access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error of reading a damaged file into a `RunError` that names the file."""
    try:
        yield
    except _DAMAGE as error:
        cause, action = _describe(path, error, "is damaged"), "Its weights are separate files and can still be used."
        raise RunError(title="The run cannot be read", cause=cause, action=action) from error


def _describe(path: Path, error: Exception, otherwise: str) -> str:
    """Return the operating system's reason for an error, or `otherwise` if it has none."""
    number = errno_of(error)
    return f"{path}: {os.strerror(number)}." if number else f"{path} {otherwise}."


def is_unclosed(path: Path) -> bool:
    """Return whether the superblock marks the file as open for writing; true also after its writer was killed.

    Only an SWMR reader can open such a file. Any other file is opened normally, because an SWMR reader takes damage
    for unfinished writing and retries without end.
    """
    with open_regular(path) as file:
        head = file.read(_FLAGS + 1)
    return len(head) > _FLAGS and bool(head[_FLAGS] & _WRITING)


def _check(file: Node, path: Path, parts: Sequence[str] | None) -> None:
    version = file.attrs.get("format")
    if version is None or "started" not in file.attrs:
        raise RunError(
            title="This is not a run", cause=f"{path} was not written by NFKD.", action="Name a run's directory."
        )
    if int(version) > schema.FORMAT:
        cause = f"{path} has format {version}; this NFKD reads up to {schema.FORMAT}."
        raise RunError(title="The run is newer than the program", cause=cause, action="Update NFKD.")
    claimed = _refuse_external(file, path, parts)
    size = path.stat().st_size
    if claimed > size + _UNWRITTEN:
        raise _refusal(path, f"the arrays claim {claimed:,} bytes, but the file has only {size:,}")


def _refuse_external(file: Node, path: Path, parts: Iterable[str] | None) -> int:
    """Refuse links and external data in parts of a file; return the bytes of their arrays, each counted once."""
    seen: set[int] = set()
    claimed = 0
    for part in file if parts is None else parts:
        group, *names = file.id, *part.encode().split(b"/")
        for name in names[:-1]:
            if name not in group:
                break
            group = _linked(group, name, path)
        else:
            claimed += _claimed(group, names[-1], path, seen) if names[-1] in group else 0
    return claimed


# The objects of h5py's low-level interface take a third of the time of files, groups and datasets.


def _linked(group: Any, name: bytes, path: Path) -> Any:
    """Return a member of a group; a link is refused."""
    if group.links.get_info(name).type != _h5l.TYPE_HARD:
        raise _refusal(path, f"{_path_of(group, name)} is a link")
    return _h5o.open(group, name)


def _claimed(group: Any, name: bytes, path: Path, seen: set[int]) -> int:
    item = _linked(group, name, path)
    address = _h5o.get_info(item).addr
    if address in seen:
        return 0  # two names of one object, or a group inside itself
    seen.add(address)
    if isinstance(item, h5py.h5g.GroupID):
        return sum(_claimed(item, member, path, seen) for member in item)
    if not isinstance(item, h5py.h5d.DatasetID):
        return 0
    storage = item.get_create_plist()
    if storage.get_layout() == h5py.h5d.VIRTUAL or storage.get_external_count():
        raise _refusal(path, f"{_path_of(group, name)} keeps its data in another file")
    return item.get_space().get_simple_extent_npoints() * item.get_type().get_size()


def _path_of(group: Any, name: bytes) -> str:
    return f"{os.fsdecode(_h5i.get_name(group)).rstrip('/')}/{os.fsdecode(name)}"


def _refusal(path: Path, what: str) -> RunError:
    return RunError("The run was refused", f"In {path}, {what}.", "NFKD reads only the run's own file.")
