"""Files whose writer was killed: copied through an SWMR reader into a whole new one.

A plain open refuses such a file, and so does ``r+``; an SWMR reader sees everything that was flushed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import h5py
import msgspec
import numpy as np

from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.disk import explained, whole_file
from nfkd.runs.layout import RUN_FILE, read_state, write_row
from nfkd.runs.lock import run_lock
from nfkd.runs.opening import open_file, reading, unclosed
from nfkd.runs.schema import Node

_BYTES = 1 << 24
_NOTHING = -1  # no row has a step so low


def recover(run: Path) -> str:
    """Make every file of a run whose process was killed whole again; return what was done, in a sentence.

    A file that is whole already stays as it is.

    Raises
    ------
    RunError
        When the run is being written, or a file cannot be read or copied.
    """
    state = read_state(run)
    files = sorted({*run.glob(RUN_FILE), *run.glob(f"seed-*/{RUN_FILE}")})
    with run_lock(run):
        cut = [path for path in files if _is_cut(path)]
        for path in cut:
            copy_cut(path, path, None)
        if state.row.state in {"queued", "running", "paused", "interrupted"}:
            row = msgspec.structs.replace(state.row, state="interrupted")
            write_row(run, row, state.error)
    done = f"{len(cut)} file{'' if len(cut) == 1 else 's'} recovered" if cut else "nothing had to be recovered"
    then = "" if state.row.state == "finished" else " and resumed"
    return f"{run.absolute().name}: {done}; the run can be read{then}."


def _is_cut(path: Path) -> bool:
    """Return whether a file's writer was killed, or left rows without their data; a damaged file is refused."""
    with open_file(path) as file, reading(path):
        datasets = [node for node in _nodes(file).values() if isinstance(node, h5py.Dataset)]
        return unclosed(path) or any(_shape(node, None) != node.shape for node in datasets)


def copy_cut(source: Path, target: Path, at: Mapping[Role, int | None] | None) -> None:
    """Copy a seed's file whole, leaving out what came after a step.

    Parameters
    ----------
    source
        May be one whose writer was killed.
    target
        Takes its place at once, when the copy is on the disk; may be the source.
    at
        What is kept of each stage: rows up to a step for one that continues, all for one that has ended (None). Stages
        that are not named are emptied. The copy gets the groups that older files lack. Where `at` itself is None,
        everything is kept as it is.

    Raises
    ------
    RunError
        When the source is no run's file, or the copy cannot be written; the source is untouched then.
    """
    with open_file(source) as old, explained(target.parent), whole_file(target) as new:
        copy_into(new, old, source, at)


def copy_into(new: Node, old: Node, source: Path, at: Mapping[Role, int | None] | None) -> None:
    """Copy an open seed's file into a new one; arguments as `copy_cut`."""
    with reading(source):
        started, nodes = schema.read_started(old), _nodes(old)
    new.attrs.update(old.attrs)
    kept = {plan.stage: None if at is None else at.get(plan.stage, _NOTHING) for plan in started.stages}
    for name, node in nodes.items():
        _copy(name, node, new, kept, source)
    if at is not None:
        with reading(source):
            schema.add_missing(new, started)


def _nodes(file: Node) -> dict[str, Node]:
    found: dict[str, Node] = {}
    file.visititems(found.__setitem__)
    return found


def _copy(name: str, node: Node, new: Node, kept: Mapping[str, int | None], source: Path) -> None:
    if isinstance(node, h5py.Group):
        new.require_group(name).attrs.update(node.attrs)
        return
    stage, _, rest = name.partition("/")
    if stage == "summary":
        ended = kept.get(rest.partition("/")[0]) is None
        with reading(source):
            data = node[()] if ended else np.full(node.shape, np.nan)
        _create(new, name, node, node.shape)[...] = data
        return
    last = kept.get(stage)
    if rest.startswith(f"{schema.FINAL}/") and last is not None:
        last = _NOTHING
    with reading(source):
        shape = _shape(node, last)
    dataset = _create(new, name, node, shape)
    if not shape:
        with reading(source):
            dataset[()] = node[()]
        return
    rows = max(1, _BYTES // max(1, math.prod(shape[1:]) * node.dtype.itemsize))
    for start in range(0, len(dataset), rows):
        with reading(source):
            data = node[start : min(start + rows, len(dataset))]
        dataset[start : start + len(data)] = data


def _shape(node: Node, last: int | None) -> tuple[int, ...]:
    """Return the shape of a dataset's copy: a growing one keeps the rows that its steps allow."""
    steps = node.parent.get("step")
    if not isinstance(steps, h5py.Dataset) or not schema.grows(node):
        return node.shape
    whole = schema.whole_rows(node.parent)
    rows = whole if last is None else int(np.searchsorted(steps[:whole], last, side="right"))
    return (rows, *node.shape[1:])


def _create(new: Node, name: str, like: Node, shape: tuple[int, ...]) -> Node:
    """Make a dataset like another: of its type, layout, chunks, filters, fill value and largest shape."""
    largest = tuple(h5py.h5s.UNLIMITED if size is None else size for size in like.maxshape)
    space = h5py.h5s.create_simple(shape, largest)
    made = h5py.h5d.create(new.id, name.encode(), like.id.get_type(), space, like.id.get_create_plist())
    dataset = h5py.Dataset(made)
    dataset.attrs.update(like.attrs)
    return dataset
