"""Makes sure that a resumed run uses the same file of VGG weights, by its SHA-256."""

from __future__ import annotations

from pathlib import Path

from nfkd.config import SKDConfig
from nfkd.distillation.perceptual import VGGFeatures
from nfkd.files import is_taken, read_limited, replace_file
from nfkd.runs.errors import RunError, describe_error

NAME = "perceptual.sha256"
_LIMIT = 1024  # bytes


def pin_perceptual(run: Path, config: SKDConfig) -> str:
    """Save the hash of the VGG weights of SKD's perceptual distance in the run's directory.

    Returns
    -------
    str
        A message for the log; empty if the run uses no perceptual distance.

    Raises
    ------
    RunError
        When the run was started with another file.
    PerceptualError
        When the file cannot be read.
    """
    if not config.weight or config.distance != "perceptual":
        return ""
    path, saved = Path(config.perceptual_weights), run / NAME
    found = VGGFeatures.load(path).sha256
    if is_taken(saved) and (first := _read_hash(saved)) != found:
        title = "The run cannot be resumed"
        cause = f"It was started with VGG weights of SHA-256 {first[:16]}…, but {path} has {found[:16]}…."
        raise RunError(title, cause, "Put the first file back.")
    replace_file(saved, f"{found}\n".encode("ascii"))
    return f"SKD compares features by {path}, SHA-256 {found}"


def _read_hash(path: Path) -> str:
    try:
        return read_limited(path, _LIMIT).decode("ascii", "replace").strip()
    except OSError as error:
        title, cause = "The run cannot be resumed", f"{path} cannot be read: {describe_error(error)}."
        raise RunError(title, cause, "Delete it to resume with any file of weights.") from error
