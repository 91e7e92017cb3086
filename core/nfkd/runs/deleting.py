"""Deleting a run: what NFKD has made goes to the trash, and everything else stays where it is."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from send2trash import send2trash

from nfkd.protocol.roles import ROLES
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.groups import VERDICT
from nfkd.runs.layout import EXPERIMENT, GROUP, LOG, RUN_FILE, STATE, refuse_living
from nfkd.runs.lock import NAME as LOCK

_NAMES = (
    *(STATE, EXPERIMENT, GROUP, LOG, VERDICT, RUN_FILE, LOCK, "perceptual.sha256"),
    *(f"{name}.safetensors" for name in (*ROLES, "checkpoint", "checkpoint.previous")),
)
_FILES = re.compile(rf"(?:{'|'.join(map(re.escape, _NAMES))})(?:\.tmp)?")
_SEED = re.compile(r"seed-\d+")
_EXPORTS = {
    "csv": re.compile(r"(?:seed-\d+(?:-[\w-]+)?-(?:curves|matching)|summary|verdict)\.csv(?:\.tmp)?"),
    "figures": re.compile(r"(?:curves|samples|interpolation|matching(?:-assistant-\d)?)\.png(?:\.tmp)?"),
}


def delete_run(run: Path) -> list[Path]:
    """Move a run to the trash.

    A directory that holds nothing but files of NFKD's names is moved as a whole, and of a link to a directory, the
    link alone. Otherwise each file of NFKD's is moved, and the rest stays, with the directories that it is in.

    Returns
    -------
    list[Path]
        What stays, sorted; empty where the whole directory was moved.

    Raises
    ------
    RunError
        When it is no run, or the trash does not take it.
    """
    refuse_living(run, "deleted")
    try:
        ours, foreign = ([], []) if run.is_symlink() else _sorted_out(run)
        if not foreign:
            send2trash(run)
            return []
        for path in ours:
            send2trash(path)
        for folder in {path.parent for path in ours} - {run}:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
    except OSError as error:
        raise RunError(
            title="The run cannot be deleted",
            cause=f"{run}: {describe_error(error)}.",
            action="Delete its folder by hand.",
        ) from error
    return sorted(foreign)


def _sorted_out(run: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of a run's directory that NFKD has made, and everything else; links are not followed."""
    ours: list[Path] = []
    foreign: list[Path] = []
    for entry in os.scandir(run):
        path = run / entry.name
        names = _FILES if _SEED.fullmatch(entry.name) else _EXPORTS.get(entry.name)
        if names is not None and entry.is_dir(follow_symlinks=False):
            for inner in os.scandir(path):
                (ours if _is_ours(inner, names) else foreign).append(path / inner.name)
        else:
            (ours if _is_ours(entry, _FILES) else foreign).append(path)
    return ours, foreign


def _is_ours(entry: os.DirEntry[str], names: re.Pattern[str]) -> bool:
    return bool(names.fullmatch(entry.name)) and not entry.is_dir(follow_symlinks=False)
