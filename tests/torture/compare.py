"""Compares two runs of one experiment file by file and dataset by dataset; only wall times may differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from nfkd.runs.layout import EXPERIMENT, read_config

Differences = dict[str, str]
"""Descriptions of differences, by name, such as ``seed-1/run.h5:/teacher/samples/images``."""

_SYSTEM = re.compile(r".*/curves/system/.+")
"""Datasets whose rows are added by the wall time; only that both runs have them is compared."""
WALL_TIMES = (re.compile(r".*/curves/.+/time"), re.compile(r"/summary/[^/]+/(seconds|samples_per_second)"))
"""Datasets of measured times; everything except their values must be equal."""
_CLOCK = {"seconds", "samples_per_second"}
_SPEED = "speed of sampling"  # the verdict's metric of samples_per_second
_NEVER = {
    ".lock": "empty; left by the process that had the run open",
    "log.jsonl": "has the times at which the run was resumed",
    "checkpoint.previous.safetensors": "its step depends on when the run was killed",
}
"""Files that are not compared, and why."""
_STATE_OWN = {"run", "name", "created", "seconds", "start"}


def differences(first: Path, second: Path) -> Differences:
    """Return what differs between the directories of two finished runs of the same experiment."""
    found: Differences = {}
    a, b = _files(first), _files(second)
    for name in sorted(a ^ b):
        found[name] = "is missing" if name in a else "is left over"
    for name in sorted(a & b):
        for position, difference in _of_file(first / name, second / name):
            found[f"{name}{position}"] = difference
    return found


def _files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.name not in _NEVER}


def _of_file(first: Path, second: Path) -> Iterator[tuple[str, str]]:
    """Yield (position in the file, description) for each difference."""
    if first.suffix == ".h5":
        yield from _of_hdf5(first, second)
    elif first.suffix == ".safetensors":
        yield from _of_tensors(first, second)
    elif (read := _READERS.get(first.name)) is not None:
        yield from _of_trees(read(first), read(second), ":")
    elif first.name == EXPERIMENT:
        if read_config(first.parent) != read_config(second.parent):
            yield "", "another experiment"
    elif first.read_bytes() != second.read_bytes():
        yield "", "other bytes"


# --- run.h5 -----------------------------------------------------------------------------------------------------------


def _of_hdf5(first: Path, second: Path) -> Iterator[tuple[str, str]]:
    with h5py.File(first, "r") as first_file, h5py.File(second, "r") as second_file:
        a, b = nodes_of(first_file), nodes_of(second_file)
        for name in sorted(a.keys() ^ b.keys()):
            yield f":{name}", "is missing" if name in a else "is left over"
        for name in sorted(a.keys() & b.keys()):
            if found := _of_nodes(name, a[name], b[name]):
                yield f":{name}", "; ".join(found)


def nodes_of(file: h5py.File) -> dict[str, Any]:
    """Return every group and dataset of a file by its path."""
    found: dict[str, Any] = {"/": file}
    file.visititems(lambda name, node: found.__setitem__(f"/{name}", node))
    return found


def _of_nodes(name: str, first: Any, second: Any) -> list[str]:
    found = [f"attribute {key}" for key in _attributes(first, second)]
    if isinstance(first, h5py.Dataset) != isinstance(second, h5py.Dataset):
        return ["a group and a dataset"]
    if not isinstance(first, h5py.Dataset):
        return found
    measured = _SYSTEM.fullmatch(name) is not None
    for what in (
        "dtype",
        *(() if measured else ("shape",)),
        "maxshape",
        "chunks",
        "compression",
        "shuffle",
        "fletcher32",
    ):
        a, b = getattr(first, what), getattr(second, what)
        if a != b:
            found.append(f"{what} {b} instead of {a}")
    if not _same(np.asarray(first.fillvalue), np.asarray(second.fillvalue), bits=True):
        found.append(f"fill value {second.fillvalue!r} instead of {first.fillvalue!r}")
    if not measured and first.shape == second.shape and first.dtype == second.dtype:
        found += _of_values(name, first[()], second[()])
    return found


def _attributes(first: Any, second: Any) -> Iterator[str]:
    """Yield the names of attributes that differ; the run's directory in the plan is not compared."""
    for key in sorted({*first.attrs, *second.attrs}):
        a, b = first.attrs.get(key), second.attrs.get(key)
        if a is None or b is None:
            yield key
        elif key == "started":
            plans = [json.loads(bytes(value)) | {"run": ""} for value in (a, b)]
            if plans[0] != plans[1]:
                yield key
        elif not _same(np.asarray(a), np.asarray(b)):
            yield key


def _of_values(name: str, first: np.ndarray, second: np.ndarray) -> list[str]:
    if not any(times.fullmatch(name) for times in WALL_TIMES):
        return [] if _same(first, second) else [f"{_count(first, second)} of {first.size} values differ"]
    if not (np.isfinite(second) == np.isfinite(first)).all():
        return ["times that are not finite"]
    return ["times that go back"] if (np.diff(second) < 0).any() else []


def _same(first: np.ndarray, second: np.ndarray, *, bits: bool = False) -> bool:
    """Return whether arrays have equal dtype, shape and values; unless `bits`, all NaN are equal."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return first.tobytes() == second.tobytes() or (not bits and _count(first, second) == 0)


def _count(first: np.ndarray, second: np.ndarray) -> int:
    different = first != second
    if first.dtype.kind == "f":
        different &= ~(np.isnan(first) & np.isnan(second))
    return int(different.sum())


# --- weights and checkpoints ------------------------------------------------------------------------------------------


def _of_tensors(first: Path, second: Path) -> Iterator[tuple[str, str]]:
    (a, about), (b, other) = _tensors(first), _tensors(second)
    yield from _of_trees(about, other, ":metadata")
    for name in sorted(a.keys() ^ b.keys()):
        yield f":{name}", "is missing" if name in a else "is left over"
    for name in sorted(a.keys() & b.keys()):
        if not _same(a[name], b[name]):
            yield f":{name}", "other values" if a[name].shape == b[name].shape else "another shape"


def _tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safe_open(path, framework="numpy") as file:
        about: dict[str, Any] = dict(file.metadata() or {})
    if "position" in about:
        about["position"] = _without_clock(json.loads(about["position"]))
    return load_file(path), about


# --- state, verdict and figures ---------------------------------------------------------------------------------------


def _state(path: Path) -> Any:
    """Return a state without its process, directory and time of creation."""
    content = json.loads(path.read_bytes())
    row = {key: value for key, value in content["row"].items() if key not in _STATE_OWN}
    return {"row": row, "error": content.get("error")}


def _verdict(path: Path) -> Any:
    """Return a verdict without the measured speed."""
    content = json.loads(path.read_bytes())
    content["others"] = [other for other in content.get("others", []) if other.get("metric") != _SPEED]
    return _without_clock(content)


def _figures(path: Path) -> Any:
    """Return the figures of stages without measured times."""
    return _without_clock(json.loads(path.read_bytes()))


_READERS = {"state.json": _state, "verdict.json": _verdict, "figures.json": _figures}


def _without_clock(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_clock(value) for key, value in tree.items() if key not in _CLOCK}
    return [_without_clock(item) for item in tree] if isinstance(tree, list) else tree


def _of_trees(first: Any, second: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from _of_trees(first.get(key), second.get(key), f"{where}/{key}")
    elif json.dumps(first) != json.dumps(second):  # in JSON, NaN equals NaN
        yield where, f"{second!r:.60} instead of {first!r:.60}"
