"""A checkpoint: everything that the next step depends on, in one safetensors file.

Tensors are named ``model/…``, ``best/…``, ``optimizer/<parameter>/<key>``, ``random/<purpose>`` and ``order``,
``average/…`` where the weights are averaged, and ``norms/<term>`` where a balance follows them; the rest is JSON in the
file's metadata. The checkpoint before is kept beside it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nfkd.files import FileError, is_taken, replacing
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError, describe_error, system_error
from nfkd.runs.tensors import open_tensors

NAME = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
_VERSION = "1"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a seed stands.

    Attributes
    ----------
    stage
        The stage in training; None when the seed is done.
    step
        Steps made in it.
    best, best_step, bad_rounds
        Best validation figure, its step, and evaluations since.
    cursor
        Place in the epoch's order.
    seconds
        Wall time of the stage so far.
    done
        Figures of the stages that have ended.
    threads
        Threads of the processor: a resume takes the same, since sums depend on them.
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
    """A position and the tensors that belong to it (none between two stages)."""

    position: Position
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, without it."""
        start = prefix + "/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all, and keep the one before.

    Raises
    ------
    OSError
        When it cannot be written; the checkpoints on disk are untouched then.
    """
    target = directory / NAME
    metadata = {"version": _VERSION, "position": msgspec.json.encode(checkpoint.position).decode()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    try:
        with replacing(target, keep=directory / PREVIOUS) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:  # it reports a full disk in its own class
        raise system_error(error, target) from error


def kept_fingerprint(directory: Path) -> str | None:
    """Return the fingerprint of the data in the newest checkpoint that can be read, empty where it has none.

    None where there is no such checkpoint.
    """
    for name in (NAME, PREVIOUS):
        with (
            suppress(SafetensorError, OSError, KeyError, TypeError, ValueError),
            open_tensors(directory / name) as file,
        ):
            return msgspec.json.decode(file.metadata()["position"], type=Position).data
    return None


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole, or None where there never was one.

    Raises
    ------
    RunError
        When there are checkpoints and none can be read: to begin afresh would destroy the run.
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
        position = msgspec.json.decode(file.metadata()["position"], type=Position)
        # Cloned, for the file is mapped and is about to be replaced.
        return Checkpoint(position, {name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as named tensors; the learning rate is a function of the step."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{key}": value for index, values in state.items() for key, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Take the state of `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
