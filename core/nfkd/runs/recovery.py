"""Files whose writer was killed: copied through an SWMR reader into a whole new one.

A plain open refuses such a file, and so does ``r+``; an SWMR reader sees everything that was flushed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import msgspec
import numpy as np

from nfkd.protocol.events import Role
from nfkd.runs import schema
from nfkd.runs.layout import RUN_FILE, read_state, write_row
from nfkd.runs.lock import run_lock
from nfkd.runs.opening import open_file
from nfkd.runs.schema import Node

_ROWS = 256


def recover(run: Path) -> str:
    """Make every file of a run whose process was killed whole again; return what was done, in a sentence.

    Raises
    ------
    RunError
        When the run is being written, or a file cannot be read or copied.
    """
    state = read_state(run)
    files = sorted({*run.glob(RUN_FILE), *run.glob(f"seed-*/{RUN_FILE}")})
    with run_lock(run):
        for path in files:
            copy_cut(path, path, None)
        if state.row.state in {"queued", "running", "paused", "interrupted"}:
            row = msgspec.structs.replace(state.row, state="interrupted")
            write_row(run, row, state.error)
    return f"{run.name}: {len(files)} file{'' if len(files) == 1 else 's'} recovered; the run can be read and resumed."


def copy_cut(source: Path, target: Path, at: Mapping[Role, int] | None) -> None:
    """Copy a seed's file whole, leaving out what came after a step.

    Parameters
    ----------
    source
        May be one whose writer was killed.
    target
        Takes its place at once, when the copy is on the disk; may be the source.
    at
        The last step that is kept, by stage; stages that are not named are emptied. None keeps everything.

    Raises
    ------
    RunError
        When the source is no run's file.
    OSError
        When the copy cannot be written.
    """
    temporary = target.with_name(target.name + ".tmp")
    with open_file(source) as old:
        started = schema.read_started(old)
        last = {plan.stage: None if at is None else at.get(plan.stage, -1) for plan in started.stages}
        try:
            with h5py.File(temporary, "w", libver="latest") as new:
                _copy(old, new, last)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(target)


def _copy(old: Node, new: Node, last: Mapping[str, int | None]) -> None:
    new.attrs.update(old.attrs)

    def visit(name: str, item: Node) -> None:
        stage, _, rest = name.partition("/")
        if isinstance(item, h5py.Group):
            group = new.require_group(name)
            group.attrs.update(item.attrs)
            return
        if stage == "summary":
            kept = last.get(rest.partition("/")[0])
            data = item[()] if kept is None or kept >= 0 else np.full(item.shape, np.nan)
            _create(new, name, item, item.shape)[...] = data
            return
        rows = _rows(item, last.get(stage))
        dataset = _create(new, name, item, rows(item.shape))
        for start in range(0, len(dataset), _ROWS):
            end = min(start + _ROWS, len(dataset))
            dataset[start:end] = item[start:end]

    old.visititems(visit)


def _rows(item: Node, last: int | None) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return how the shape of a dataset changes: a growing one keeps the rows that its steps allow."""
    steps = item.parent.get("step")
    if not isinstance(steps, h5py.Dataset) or item.maxshape[0] is not None:
        return lambda shape: shape
    whole = min(len(dataset) for dataset in item.parent.values() if dataset.maxshape[0] is None)
    kept = whole if last is None else int(np.searchsorted(steps[:whole], last, side="right"))
    return lambda shape: (kept, *shape[1:])


def _create(new: Node, name: str, like: Node, shape: tuple[int, ...]) -> Node:
    dataset = new.create_dataset(name, shape=shape, maxshape=like.maxshape, dtype=like.dtype, chunks=like.chunks)
    dataset.attrs.update(like.attrs)
    return dataset
