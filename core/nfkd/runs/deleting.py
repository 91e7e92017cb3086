"""Deletion of a run: files of NFKD go to the trash, all other files stay."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from send2trash import send2trash

from nfkd.protocol.roles import ROLES
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.evaluation_file import EVALUATION
from nfkd.runs.layout import EXPERIMENT, GROUP, RUN_FILE, refuse_active
from nfkd.runs.lock import NAME as LOCK
from nfkd.runs.log import LOG
from nfkd.runs.search_file import SEARCH
from nfkd.runs.state import STATE
from nfkd.runs.verdict_file import VERDICT

_NAMES = (
    *(STATE, EXPERIMENT, GROUP, LOG, VERDICT, EVALUATION, RUN_FILE, LOCK, SEARCH, "perceptual.sha256"),
    *(f"{name}.safetensors" for name in (*ROLES, "checkpoint", "checkpoint.previous", "pool")),
)
_FILES = re.compile(rf"(?:{'|'.join(map(re.escape, _NAMES))})(?:\.tmp)?")
_SEED = re.compile(r"seed-\d+")
_EXPORTS = {
    "csv": re.compile(r"(?:seed-\d+(?:-[\w-]+)?-(?:curves|matching)|summary|verdict)\.csv(?:\.tmp)?"),
    "figures": re.compile(r"(?:curves|samples|interpolation|matching(?:-assistant-\d)?)\.png(?:\.tmp)?"),
}


def delete_run(run: Path) -> list[Path]:
    """Move a run to the trash.

    A directory that contains only files with NFKD's names is moved as a whole; of a link to a directory, only the link.
    Otherwise only NFKD's files are moved.

    Returns
    -------
    list[Path]
        Sorted files that stay; empty where the whole directory was moved.

    Raises
    ------
    RunError
        When it is not a run, is active, or cannot be moved to the trash.
    """
    refuse_active(run, "deleted")
    try:
        own, foreign = ([], []) if run.is_symlink() else _sort(run)
        if not foreign:
            send2trash(run)
            return []
        for path in own:
            send2trash(path)
        for folder in {path.parent for path in own} - {run}:
            with suppress(OSError):  # not empty
                folder.rmdir()
    except OSError as error:
        raise RunError(
            title="The run cannot be deleted",
            cause=f"{run}: {describe_error(error)}.",
            action="Delete its folder by hand.",
        ) from error
    return sorted(foreign)


def _sort(run: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of NFKD and all others in a run's directory; links are not followed."""
    own: list[Path] = []
    foreign: list[Path] = []
    for entry in os.scandir(run):
        path = run / entry.name
        names = _FILES if _SEED.fullmatch(entry.name) else _EXPORTS.get(entry.name)
        if names is not None and entry.is_dir(follow_symlinks=False):
            for inner in os.scandir(path):
                (own if _is_own(inner, names) else foreign).append(path / inner.name)
        else:
            (own if _is_own(entry, _FILES) else foreign).append(path)
    return own, foreign


def _is_own(entry: os.DirEntry[str], names: re.Pattern[str]) -> bool:
    return bool(names.fullmatch(entry.name)) and not entry.is_dir(follow_symlinks=False)
