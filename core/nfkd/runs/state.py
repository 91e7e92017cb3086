"""The state file of a run: its row in the table of runs, the process that writes it, and its error."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, cast

import msgspec

from nfkd.building import process_is_running, process_started
from nfkd.files import is_regular, open_for_update, read_limited, replace_file
from nfkd.protocol.codec import encode_json
from nfkd.protocol.events import ErrorInfo, RunRow
from nfkd.runs.errors import RunError, describe_read_error
from nfkd.runs.labels import NO_LABELS, Labels, read_labels

STATE = "state.json"
ACTIVE = {"queued", "running", "paused"}
"""States of a run that a process writes, or will write."""
MAX_JSON_BYTES = 1 << 20
"""Limit for a state or a verdict; NFKD writes a few thousand bytes."""
_INTERRUPTED = "The process ended before the run was finished. Resume continues from the last checkpoint."


class State(msgspec.Struct, kw_only=True, frozen=True):
    """Content of the state file."""

    row: RunRow
    pid: int
    """The process that writes the run."""
    born: float
    """Start time of the process; detects a reused PID."""
    error: ErrorInfo | None = None


_DECODER = msgspec.json.Decoder(State)


def write_row(run: Path, row: RunRow, error: ErrorInfo | None = None) -> None:
    """Write a run's state, with this process as its writer.

    On a full disk the old file is overwritten in place, so that the failure itself can still be recorded.
    """
    state = State(row=row, pid=os.getpid(), born=process_started(), error=error)
    try:
        replace_file(run / STATE, _to_json(state))
    except OSError:
        if not is_regular(run / STATE):
            raise
        short = None if error is None else msgspec.structs.replace(error, traceback="")
        _overwrite(run / STATE, _to_json(msgspec.structs.replace(state, error=short)))


def _to_json(state: State) -> bytes:
    content = msgspec.json.decode(encode_json(state))
    for name in ("elsewhere", "tags", "note"):  # depends on who reads it; has a file of its own
        del content["row"][name]
    return msgspec.json.format(msgspec.json.encode(content), indent=2)


def _overwrite(path: Path, data: bytes) -> None:
    """Write a small file over an old one, padded with blanks so that it needs no new disk block."""
    with open_for_update(path) as file:
        file.write(data.ljust(os.fstat(file.fileno()).st_size))
        file.truncate()


def read_state(run: Path) -> State:
    """Read a run's state with its labels, without those that cannot be read.

    An active run whose process has ended is *interrupted*.

    Raises
    ------
    RunError
        When the file is missing or cannot be read.
    """
    state = read_stored_state(run)
    try:
        labels = read_labels(run)
    except RunError:
        labels = NO_LABELS
    return msgspec.structs.replace(state, row=with_labels(state.row, labels))


def with_labels(row: RunRow, labels: Labels) -> RunRow:
    """Return a row with the labels of its run."""
    if row.tags == labels.tags and row.note == labels.note:
        return row
    return msgspec.structs.replace(row, tags=labels.tags, note=labels.note)


def read_stored_state(run: Path | str) -> State:
    """Read a run's state as `read_state`, but without its labels. An absolute path as text saves time with many runs.

    Raises
    ------
    RunError
        When the file is missing or cannot be read.
    """
    run = run if isinstance(run, str) else str(run.absolute())
    path = f"{run}{os.sep}{STATE}"
    try:
        state = _DECODER.decode(read_limited(path, MAX_JSON_BYTES))
        _check(state)
    except FileNotFoundError as error:
        raise RunError(
            title="This is not a run", cause=f"{run} has no {STATE}.", action="Name a run's directory."
        ) from error
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise RunError(
            title="The run cannot be read",
            cause=describe_read_error(Path(path), error),
            action="Its run.h5 and its weights can still be used.",
        ) from error
    row = msgspec.structs.replace(state.row, run=run, name=run.rpartition(os.sep)[2], elsewhere=False, tags=[], note="")
    if row.state in ACTIVE and not process_is_running(state.pid, state.born):
        row = msgspec.structs.replace(row, state="interrupted", cause=row.cause or _INTERRUPTED)
    elif row.state in ACTIVE:
        row = msgspec.structs.replace(row, elsewhere=state.pid != os.getpid())
    return msgspec.structs.replace(state, row=row)


def _check(state: State) -> None:
    """Refuse values that could not be shown or sent later."""
    msgspec.msgpack.encode(state)  # raises OverflowError for a number that is too large


def read_row(run: Path) -> RunRow:
    """Read a run's row; raises as `read_state`."""
    return read_state(run).row


def nulls_as_nan(value: Any) -> Any:
    """Return decoded JSON with NaN for every null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: nulls_as_nan(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [nulls_as_nan(item) for item in cast("list[Any]", value)]
    return math.nan if value is None else value
