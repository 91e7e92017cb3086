"""The trash of a runs folder: a hidden folder whose runs can be restored.

A file beside each run says where it was. Without this file, the run is restored into the runs folder itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import msgspec
from send2trash import send2trash

from nfkd.files import read_limited, replace_file
from nfkd.protocol.run_rows import RunRow, is_time
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.finding import MAX_LEVELS, find_runs, folder_below
from nfkd.runs.layout import is_run, refuse_active
from nfkd.runs.moving import free_path, is_inside, remove_empty, rename
from nfkd.runs.state import read_row
from nfkd.text import is_utf8_name

TRASH = ".trash"
_MAX_BYTES = 64 << 10


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run was, as a folder below the runs folder and a name, and when it was moved (seconds since 1970)."""

    folder: str
    name: str
    time: float


def trash_run(folder: Path, run: Path) -> Path:
    """Move a run with all files in its directory into the trash of a runs folder, and return its new path.

    Of a link to a run, only the link is moved. A folder that becomes empty is removed.

    Raises
    ------
    RunError
        When it is active, is not in the folder, or cannot be moved.
    """
    title = "The run cannot be moved to the trash"
    refuse_active(run, "moved to the trash")
    within = folder in run.parents and not {TRASH, ".."} & set(run.relative_to(folder).parts)
    if not within or not is_utf8_name(run.name):
        raise RunError(title, f"{run} is not in {folder}.", "Choose a run of that folder.")
    trash = folder / TRASH
    try:
        trash.mkdir(exist_ok=True)
        if trash.is_symlink():
            cause = f"{trash} is a link."
            raise RunError(title, cause, "Replace it by a folder, or delete it.")
        target = free_path(trash, run.name)
        origin = Origin(folder=folder_below(str(run), str(folder)), name=run.name, time=time.time())
        replace_file(_note(target), msgspec.json.encode(origin))  # first: a crash then leaves only a note
    except OSError as error:
        raise RunError(title, f"{trash}: {describe_error(error)}.", "Check whether you may write there.") from error
    try:
        rename(run, target, title)
    except RunError:
        with suppress(OSError):
            _note(target).unlink()
        raise
    remove_empty(run.parent)
    return target


def restore_run(trashed: Path) -> Path:
    """Move a run from the trash to where it was, and return its path; a number is added to a name that is taken.

    Raises
    ------
    RunError
        When it is not a run in a trash, or cannot be moved.
    """
    title, trash = "The run cannot be restored", trashed.parent
    if trash.name != TRASH or not is_run(trashed):
        raise RunError(title, f"{trashed} is not a run in the trash.", "List the trash again.")
    origin = _read_origin(trashed)
    folder = _restored_folder(trash.parent, origin)
    target = free_path(folder, origin.name)
    rename(trashed, target, title)
    with suppress(OSError):
        _note(trashed).unlink()
    return target


def _restored_folder(base: Path, origin: Origin) -> Path:
    """Return the former folder of a run, created again; the runs folder if that is not possible."""
    folder = base.joinpath(*PurePosixPath(origin.folder).parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return base
    inside = is_inside(folder, base)
    is_in_run = any(is_run(path) for path in (folder, *folder.parents) if path != base and path.is_relative_to(base))
    return folder if inside and not is_in_run else base


def list_trash(folder: Path) -> tuple[list[RunRow], int]:
    """Return the rows of the runs in the trash of a runs folder, the last one first, and the bytes of all files."""
    trash = folder / TRASH
    found: list[tuple[float, RunRow]] = []
    for run in _runs_in(trash):
        with suppress(RunError):
            found.append((_read_origin(run).time, read_row(run)))
    rows = [row for _, row in sorted(found, key=lambda item: item[0], reverse=True)]
    return rows, _size_of(trash)


def empty_trash(folder: Path) -> None:
    """Move everything in the trash of a runs folder to the system's trash.

    Raises
    ------
    RunError
        When something cannot be moved or is a run in training; everything else has been moved.
    """
    trash = folder / TRASH
    failed: list[str] = []
    for path in _entries(trash):
        try:
            if is_run(path):
                refuse_active(path, "deleted")
                send2trash(path)
                _note(path).unlink(missing_ok=True)
            elif not path.name.startswith("."):
                send2trash(path)
        except (OSError, RunError) as error:
            failed.append(error.cause if isinstance(error, RunError) else f"{path}: {describe_error(error)}.")
    if failed:
        title, action = "The trash cannot be emptied", f"Delete what is left in {trash} by hand."
        raise RunError(title, " ".join(failed[:10]), action)
    for path in _entries(trash):
        with suppress(OSError):
            path.unlink()  # notes that a crash left
    with suppress(OSError):
        trash.rmdir()


def _runs_in(trash: Path) -> Iterable[Path]:
    try:
        return [Path(run.path) for run in find_runs(str(trash), levels=0)]
    except OSError:
        return []


def _entries(trash: Path) -> list[Path]:
    try:
        return sorted(trash.iterdir())
    except OSError:
        return []


def _size_of(folder: Path) -> int:
    size = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += (Path(directory) / name).lstat().st_size
    return size


def _note(trashed: Path) -> Path:
    """Return the file that says where a run in the trash was; no run has a name with a dot at its start."""
    return trashed.with_name(f".{trashed.name}.json")


def _read_origin(trashed: Path) -> Origin:
    """Return where a run was: the runs folder if that is not known."""
    try:
        origin = msgspec.json.decode(read_limited(_note(trashed), _MAX_BYTES), type=Origin)
    except (OSError, ValueError, RecursionError):
        origin = Origin(folder="", name=trashed.name, time=0.0)
    parts = (*PurePosixPath(origin.folder).parts, origin.name)
    usable = all(part and not part.startswith(".") and not set(part) & set("/\\\0:") for part in parts)
    if not usable or len(parts) > MAX_LEVELS + 1 or not is_time(origin.time):
        return Origin(folder="", name=trashed.name, time=0.0)
    return origin
