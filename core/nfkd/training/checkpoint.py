"""Checkpoints: everything that the next step depends on, in one safetensors file.

Tensors are named ``model/…``, ``best/…``, ``optimizer/<parameter>/<key>``, ``random/<purpose>`` and ``order``; with
averaged weights also ``average/…``, with balanced terms ``norms/<term>``. The rest is JSON in the file's metadata. The
previous checkpoint is kept beside it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nfkd.files import FileError, is_taken, replacing
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError, describe_error, system_error
from nfkd.runs.state import nulls_as_nan
from nfkd.runs.tensors import open_tensors

NAME = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
_VERSION = "1"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a seed has come.

    Attributes
    ----------
    stage
        The current or next stage; None when the seed is done.
    step
        Steps made in it.
    best, best_step, bad_rounds
        Best validation value, its step, and evaluations since.
    cursor
        Index in the epoch's order.
    seconds
        Wall time of the stage so far.
    done
        Summaries of the stages that have ended.
    threads
        CPU threads; a resumed run uses the same number, because sums depend on it.
    data
        Fingerprint of the data, as JSON; empty in checkpoints of older versions.
    """

    stage: Role | None
    step: int = 0
    best: float | None = None
    best_step: int = 0
    bad_rounds: int = 0
    cursor: int = 0
    seconds: float = 0.0
    done: list[StageSummary] = []
    threads: int = 1
    data: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A position and its tensors (none between two stages)."""

    position: Position
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, without it."""
        start = prefix + "/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically and keep the previous one.

    Raises
    ------
    OSError
        When it cannot be written; the checkpoints on disk are then unchanged.
    """
    target = directory / NAME
    metadata = {"version": _VERSION, "position": msgspec.json.encode(checkpoint.position).decode()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    try:
        with replacing(target, keep=directory / PREVIOUS) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:  # also raised for a full disk
        raise system_error(error, target) from error


def saved_fingerprint(directory: Path) -> str | None:
    """Return the data's fingerprint from the newest readable checkpoint: empty if it has none, None without one."""
    for name in (NAME, PREVIOUS):
        with (
            suppress(SafetensorError, OSError, KeyError, TypeError, ValueError),
            open_tensors(directory / name) as file,
        ):
            return _decode_position(file.metadata()["position"]).data
    return None


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """Read the newest complete checkpoint; None if there never was one.

    Raises
    ------
    RunError
        When no checkpoint can be read: starting again would overwrite the run.
    """
    paths = [path for name in (NAME, PREVIOUS) if is_taken(path := directory / name)]
    cause = ""
    for path in paths:
        try:
            return _load(path)
        except FileError as error:
            cause = cause or f"{error}."
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            cause = cause or f"{path}: {describe_error(error)}."
    if paths:
        title, action = "The checkpoints cannot be read", "Start the experiment again in another directory."
        raise RunError(title, cause, action)
    return None


def _load(path: Path) -> Checkpoint:
    with open_tensors(path) as file:
        if file.metadata()["version"] != _VERSION:
            msg = f"it has version {file.metadata()['version']}; this NFKD reads {_VERSION}"
            raise ValueError(msg)
        position = _decode_position(file.metadata()["position"])
        # Cloned, because the file is memory-mapped and will be replaced.
        return Checkpoint(position, {name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118


def _decode_position(text: str) -> Position:
    content: Any = msgspec.json.decode(text)
    if isinstance(content, dict) and "done" in content:
        content["done"] = nulls_as_nan(content["done"])
    return msgspec.convert(content, Position)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as named tensors, without the learning rate, which follows from the step."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{key}": value for index, values in state.items() for key, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state from `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
