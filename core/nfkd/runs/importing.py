"""Imports Glow checkpoints as weights files."""

from __future__ import annotations

from pathlib import Path

from nfkd.config.flow_file import FlowFile
from nfkd.files import is_taken
from nfkd.flows.foreign.glow_checkpoint import CheckpointError, Imported, read_checkpoint
from nfkd.runs.errors import FULL, RunError, describe_error, errno_of
from nfkd.runs.weights import flow_meta, save_weights


def import_weights(path: Path, file: FlowFile) -> Imported:
    """Read a Glow checkpoint, as `read_checkpoint`, but raise RunError instead of CheckpointError."""
    try:
        return read_checkpoint(path, file)
    except CheckpointError as error:
        raise RunError(title="The checkpoint cannot be imported", cause=error.cause, action=error.action) from error


def save_imported(imported: Imported, target: Path, source: Path) -> None:
    """Write an imported flow as a weights file that `nfkd.runs.weights.load_scaled_flow` reads.

    Raises
    ------
    RunError
        When the target exists, or cannot be written.
    """
    if is_taken(target):
        title = "The weights were not written"
        raise RunError(title, f"{target} already exists.", "Give another --out.")
    meta = flow_meta(imported.config, imported.flow) | {"imported": source.name, "prefix": imported.prefix}
    try:
        save_weights(target, imported.flow.state_dict(), "", meta)
    except OSError as error:
        title = "The disk is full" if errno_of(error) in FULL else "The weights were not written"
        raise RunError(title, f"{target}: {describe_error(error)}.", "Give another --out.") from error
