"""The state of a sweep on disk: what each run has, and what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from nfkd.files import is_taken, read_limited, replace_file
from nfkd.protocol.codec import encode_json
from nfkd.protocol.queue import RayCluster
from nfkd.runs.errors import RunError
from nfkd.runs.state import describe_read_error
from nfkd.text import name_problem, plain

SWEEP, STATE, FAILED = "sweep.toml", "sweep.json", "failed"
_VERSION = 1
_TITLE = "The sweep cannot be read"
_MAX_BYTES = 256 << 20
_SHOWN = 80  # characters of a name in a message

SweptState = Literal["waiting", "running", "finished", "pruned", "failed"]


class SweptRun(msgspec.Struct, kw_only=True, eq=False):
    """One run of a sweep.

    Attributes
    ----------
    number
        Its index in the sweep.
    name
        Name of its directory.
    values
        The values of its fields by their dotted paths.
    state
        A run that was interrupted is waiting again.
    objective
        What the sweep sorts by; None before the end and where it is not finite.
    cause
        Why it failed, or after which step it was pruned.
    seconds
        Wall time that it took in the sweep, all calls together; without a shared teacher's training.
    """

    number: int
    name: str
    values: dict[str, Any]
    state: SweptState = "waiting"
    objective: float | None = None
    cause: str = ""
    seconds: float = 0.0


class SweepState(msgspec.Struct, kw_only=True, eq=False):
    """The content of the state file.

    Attributes
    ----------
    folder
        Where relative paths of the sweep's file start.
    seconds
        Time that the sweep has run, all calls together.
    runs
        In the order of the sweep.
    cluster
        What executes the runs; None for this machine.
    """

    version: int = _VERSION
    folder: str = ""
    seconds: float = 0.0
    runs: list[SweptRun] = msgspec.field(default_factory=list[SweptRun])
    cluster: RayCluster | None = None


def read_sweep_state(directory: Path, name: str = STATE) -> SweepState | None:
    """Return the state of the sweep in a directory by the name of its file, or None if there is none.

    Raises
    ------
    RunError
        When it cannot be read.
    """
    path = directory / name
    if not is_taken(path):
        return None
    try:
        state = msgspec.json.decode(read_limited(path, _MAX_BYTES), type=SweepState)
    except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        action = f"Remove {path}; the runs in the folder are then looked up again."
        raise RunError(_TITLE, describe_read_error(path, error), action) from error
    for run in state.runs:
        if problem := name_problem(run.name):  # it becomes the name of a directory
            cause = f"{path}: the name {plain(run.name, _SHOWN)} of a run {problem}."
            raise RunError(_TITLE, cause, "Restore the file, or give a new folder.")
    if state.version > _VERSION:
        cause = f"{path} was written by a newer version of NFKD."
        raise RunError(_TITLE, cause, "Continue it with that version.")
    return state


def write_sweep_state(directory: Path, state: SweepState, name: str = STATE) -> None:
    """Write the state of a sweep, atomically; values that are not finite become null."""
    replace_file(directory / name, msgspec.json.format(encode_json(state), indent=1))
