"""The files of a run for a copy; of a run in training, as they are at one moment."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from nfkd.building import is_temporary
from nfkd.files import open_regular
from nfkd.protocol.copying import RunFile
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.lock import NAME as LOCK
from nfkd.runs.recovery import copy_cut
from nfkd.runs.state import ACTIVE, STATE, read_row, write_row

_MOST_FILES, _MOST_LEVELS = 10_000, 4
_BLOCK = 1 << 20  # bytes
_TEMPORARY = ".tmp"
_REPLACED_WHOLE = ".safetensors"
_COPIED = "The run was copied while it was in training. Resume continues this copy from its last checkpoint."


class Identity(NamedTuple):
    """What changes when a file is replaced or written to."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def list_files(run: Path, names: Collection[str] = ()) -> dict[str, Path]:
    """Return the regular files of a run's directory by their path below it, with ``/`` between its parts.

    Links, special files, locks and temporary files are left out. With `names`, only these files are listed.

    Raises
    ------
    RunError
        When there are more files than a run has.
    """
    found: dict[str, Path] = {}
    for path in _walk(run, _MOST_LEVELS):
        found[path.relative_to(run).as_posix()] = path
        if len(found) > _MOST_FILES:
            cause = f"{run} has more than {_MOST_FILES:,} files, which NFKD has not written."
            raise RunError(title="The run cannot be copied", cause=cause, action="Move the other files elsewhere.")
    return {name: path for name, path in sorted(found.items()) if not names or name in names}


def _walk(folder: Path, levels: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if levels > 1 and not is_temporary(path):
                    yield from _walk(path, levels - 1)
            elif entry.is_file(follow_symlinks=False) and entry.name != LOCK and path.suffix != _TEMPORARY:
                yield path


def freeze_run(run: Path, target: Path, names: Collection[str] = ()) -> None:
    """Put the files of a run that may be in training into an empty directory, as they are now.

    Weights come first: `run.h5` then has the rows up to a checkpoint. It is copied through an SWMR reader, since its
    bytes are not consistent while they are written. Files that vanish meanwhile are left out.

    Raises
    ------
    RunError
        When a file cannot be read.
    OSError
        When the directory cannot be written.
    """
    files = list_files(run, names)
    for name, path in sorted(files.items(), key=lambda item: not item[0].endswith(_REPLACED_WHOLE)):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if path.name == RUN_FILE:
                copy_cut(path, copy, None)
            elif path.suffix == _REPLACED_WHOLE:
                _link(path, copy)
            else:
                shutil.copyfile(path, copy, follow_symlinks=False)
    if STATE in files:
        row = read_row(run)
        if row.state in ACTIVE:  # no process writes the copy
            row = msgspec.structs.replace(row, state="interrupted", cause=_COPIED)
        write_row(target, row)


def _link(path: Path, copy: Path) -> None:
    """Link a file that is never changed in place; copy it where the file system has no links."""
    try:
        os.link(path, copy, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, copy, follow_symlinks=False)


def describe_file(name: str, path: Path) -> tuple[RunFile, Identity]:
    """Return a file's size and hash, and the identity that it has."""
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256()
        size = 0
        while data := file.read(_BLOCK):
            digest.update(data)
            size += len(data)
    return RunFile(path=name, size=size, sha256=digest.hexdigest()), Identity.of(status)


def read_part(path: Path, identity: Identity, start: int, size: int) -> bytes:
    """Return bytes of a file, if it is still the one that was described.

    Raises
    ------
    RunError
        When it has changed, or became a link.
    """
    if stat.S_ISREG(path.lstat().st_mode):
        with open_regular(path) as file:
            if Identity.of(os.fstat(file.fileno())) == identity:
                file.seek(start)
                return file.read(size)
    raise RunError(
        title="The run has changed", cause=f"{path} was changed while it was copied.", action="Copy the run again."
    )
