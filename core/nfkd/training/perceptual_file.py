"""The file of VGG's weights that a run began with, by its SHA-256."""

from __future__ import annotations

from pathlib import Path

from nfkd.config import SKDConfig
from nfkd.distillation.perceptual import VGGFeatures
from nfkd.files import is_taken, read_limited, replace_file
from nfkd.runs.errors import RunError, describe_error

NAME = "perceptual.sha256"
_LIMIT = 1024  # bytes


def pin_perceptual(run: Path, config: SKDConfig) -> str:
    """Keep with a run by which file its perceptual distance goes; return it in words, empty without that distance.

    Parameters
    ----------
    run
        Its directory.
    config
        The term's settings.

    Raises
    ------
    RunError
        When the run began with another file.
    PerceptualError
        When the file cannot be read.
    """
    if not config.weight or config.distance != "perceptual":
        return ""
    path, kept = Path(config.perceptual_weights), run / NAME
    found = VGGFeatures.load(path).sha256
    if is_taken(kept) and (begun := _begun(kept)) != found:
        title = "The run cannot go on"
        cause = f"It began with VGG weights of SHA-256 {begun[:16]}…, and {path} has {found[:16]}…."
        raise RunError(title, cause, "Put the first file in its place.")
    replace_file(kept, f"{found}\n".encode("ascii"))
    return f"SKD compares features by {path}, SHA-256 {found}"


def _begun(kept: Path) -> str:
    try:
        return read_limited(kept, _LIMIT).decode("ascii", "replace").strip()
    except OSError as error:
        title, cause = "The run cannot go on", f"{kept} cannot be read: {describe_error(error)}."
        raise RunError(title, cause, "Delete it to go on with any file of weights.") from error
