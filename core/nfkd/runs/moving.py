"""Moves runs into another folder of the same drive."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from nfkd.files import is_folder, is_taken
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.layout import is_run, refuse_active
from nfkd.text import name_problem

_TITLE = "The run cannot be moved"


def prepare_folder(folder: Path) -> None:
    """Create a folder for runs.

    Raises
    ------
    RunError
        When its path is not absolute, leads into a run, needs a folder with a name that is not valid, or cannot be
        created.
    """
    action = "Choose another folder."
    if not folder.is_absolute() or ".." in folder.parts:
        raise RunError(_TITLE, f"{folder} is not an absolute path.", action)
    for path in (folder, *folder.parents):
        if is_run(path):
            raise RunError(_TITLE, f"{path} is a run.", action)
        problem = "" if is_taken(path) or path == path.parent else name_problem(path.name)
        if problem:
            raise RunError(_TITLE, f"The folder's name {problem}.", action)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(_TITLE, f"{folder}: {describe_error(error)}.", action) from error


def move_run(run: Path, folder: Path) -> Path:
    """Move a run that is not active into an existing folder, and return its new path.

    A folder that becomes empty is removed.

    Raises
    ------
    RunError
        When it is active, its name is taken there, or it cannot be moved.
    """
    refuse_active(run, "moved")
    target = folder / run.name
    if target == run:
        return run
    if is_taken(target):
        raise RunError(_TITLE, f"There is already a {run.name} in {folder}.", "Rename one of them.")
    rename(run, target, _TITLE)
    remove_empty(run.parent)
    return target


def rename(run: Path, target: Path, title: str) -> None:
    """Give a run's directory, or the link to it, another path on the same drive.

    Raises
    ------
    RunError
        With this title.
    """
    try:
        if run.is_symlink() and not (link := run.readlink()).is_absolute():
            target.symlink_to(run.parent.absolute() / link, target_is_directory=True)
            run.unlink()
        else:
            run.rename(target)
    except OSError as error:
        other = error.errno == errno.EXDEV
        reason = "it is on another drive than its new folder" if other else describe_error(error)
        action = "Move it by hand." if other else "Check whether you may write there, and whether a program uses it."
        raise RunError(title, f"{run}: {reason}.", action) from error


def remove_empty(folder: Path) -> None:
    """Remove a folder and those above it, as far as they are empty."""
    with suppress(OSError):
        while not folder.is_symlink():
            folder.rmdir()
            folder = folder.parent


def free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder that is not taken: with this name, or with a number after it."""
    paths = (folder / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if not is_taken(path))


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a directory lies in a folder after links are followed."""
    return is_folder(path) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
