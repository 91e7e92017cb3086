"""Recovery of files whose writer was killed, by a copy through an SWMR reader.

HDF5 refuses to open such a file normally or with ``r+``; an SWMR reader sees everything that was flushed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import msgspec
import numpy as np

from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.disk import disk_errors, whole_file
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.lock import run_lock
from nfkd.runs.opening import is_unclosed, open_file, reading
from nfkd.runs.schema import Node
from nfkd.runs.state import ACTIVE, read_state, write_row

_COPY_BYTES = 1 << 24
_NO_ROWS = -1  # lower than the step of any row


def recover(run: Path) -> str:
    """Repair every file of a run whose process was killed; return a message for the user.

    Complete files stay as they are.

    Raises
    ------
    RunError
        When the run is active, or a file cannot be read or copied.
    """
    state = read_state(run)
    files = sorted({*run.glob(RUN_FILE), *run.glob(f"seed-*/{RUN_FILE}")})
    with run_lock(run):
        cut = [path for path in files if _is_cut(path)]
        for path in cut:
            copy_cut(path, path, None)
        if state.row.state in ACTIVE | {"interrupted"}:
            row = msgspec.structs.replace(state.row, state="interrupted")
            write_row(run, row, state.error)
    result = f"{len(cut)} file{'' if len(cut) == 1 else 's'} recovered" if cut else "nothing had to be recovered"
    hint = "" if state.row.state == "finished" else " and resumed"
    return f"{run.absolute().name}: {result}; the run can be read{hint}."


def _is_cut(path: Path) -> bool:
    """Return whether a file's writer was killed, or left incomplete rows; a damaged file is refused."""
    with open_file(path) as file, reading(path):
        nodes = _nodes(file)
        return is_unclosed(path) or any(shape != nodes[name].shape for name, shape in _shapes(nodes, {}))


def copy_cut(source: Path, target: Path, at: Mapping[Role, int | None] | None) -> None:
    """Copy a seed's file, without the rows after given steps.

    Parameters
    ----------
    source
        May be a file whose writer was killed.
    target
        Replaced once the copy is on the disk; may be the source.
    at
        Last step to keep of each stage; None keeps the whole stage, and a missing stage is emptied. The copy gets the
        groups that older files lack. Where `at` itself is None, everything is copied as it is.

    Raises
    ------
    RunError
        When the source is not a run's file, or the copy cannot be written; the source then stays as it is.
    """
    with open_file(source) as old, disk_errors(target.parent), whole_file(target) as new:
        copy_into(new, old, source, at)


def copy_into(new: Node, old: Node, source: Path, at: Mapping[Role, int | None] | None) -> None:
    """Copy a seed's open file into a new one; arguments as in `copy_cut`."""
    with reading(source):
        started, nodes = schema.read_started(old), _nodes(old)
    new.attrs.update(old.attrs)
    last_steps = {plan.stage: None if at is None else at.get(plan.stage, _NO_ROWS) for plan in started.stages}
    with reading(source):
        shapes = dict(_shapes(nodes, last_steps))
    for name, node in nodes.items():
        if name not in shapes:
            new.create_group(name).attrs.update(node.attrs)
        elif _is_open_figure(name, last_steps):
            _create(new, name, node, node.shape)[...] = np.nan
        else:
            _copy(_create(new, name, node, shapes[name]), node, source)
    if at is not None:
        with reading(source):
            schema.add_missing(new, started)


def _nodes(file: Node) -> dict[str, Node]:
    found: dict[str, Node] = {}
    file.visititems(found.__setitem__)
    return found


def _is_open_figure(name: str, last_steps: Mapping[str, int | None]) -> bool:
    """Return whether a dataset is a figure of a stage whose end is not copied."""
    group, _, rest = name.partition("/")
    return group == "summary" and last_steps.get(rest.partition("/")[0]) is not None


def _copy(dataset: Node, node: Node, source: Path) -> None:
    """Copy the first rows of a dataset, as many as the copy has."""
    shape = dataset.shape
    if not shape:
        with reading(source):
            dataset[()] = node[()]
        return
    size = max(1, _COPY_BYTES // max(1, math.prod(shape[1:]) * node.dtype.itemsize))
    for start in range(0, shape[0], size):
        with reading(source):
            data = node[start : min(start + size, shape[0])]
        dataset[start : start + len(data)] = data


def _shapes(nodes: Mapping[str, Node], last_steps: Mapping[str, int | None]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name of each dataset, and the shape of its copy.

    One that grows keeps the rows that are complete in all datasets of its group, up to the last step of its stage.
    """
    groups = defaultdict[str, dict[str, Node]](dict)
    for name, node in nodes.items():
        if isinstance(node, h5py.Dataset):
            parent, _, own = name.rpartition("/")
            groups[parent][own] = node
    for parent, members in groups.items():
        growing = {own: node for own, node in members.items() if schema.grows(node)}
        rows = 0
        if "step" in members and growing:
            rows, last = schema.complete_rows(growing), _last_step(f"{parent}/", last_steps)
            if last is not None:
                rows = int(np.searchsorted(members["step"][:rows], last, side="right"))
        for own, node in members.items():
            cut = own in growing and "step" in members
            yield f"{parent}/{own}".lstrip("/"), (rows, *node.shape[1:]) if cut else node.shape


def _last_step(group: str, last_steps: Mapping[str, int | None]) -> int | None:
    stage, _, rest = group.partition("/")
    last = last_steps.get(stage)
    return _NO_ROWS if rest.startswith(f"{schema.FINAL}/") and last is not None else last


def _create(new: Node, name: str, like: Node, shape: tuple[int, ...]) -> Node:
    """Create a dataset with the type, layout, chunks, filters, fill value and maximum shape of another."""
    max_shape = tuple(h5py.h5s.UNLIMITED if size is None else size for size in like.maxshape)
    space = h5py.h5s.create_simple(shape, max_shape)
    identifier = h5py.h5d.create(new.id, name.encode(), like.id.get_type(), space, like.id.get_create_plist())
    dataset = h5py.Dataset(identifier)
    dataset.attrs.update(like.attrs)
    return dataset
