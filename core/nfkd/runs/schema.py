"""Format of a seed's HDF5 file. All groups and datasets are created before the first step.

::

    /                      attrs: format, config, started, versions, device, threads, seed; units (the data's scaling),
                           data (its fingerprint)
    /<stage>/curves/<name>/{step, value, time}
    /<stage>/samples/{step, temperature, images, flags}
    /<stage>/interpolation/{step, alpha, images, flags}    attrs: mode
    /<stage>/density/{step, log_prob, extent}       plane data only
    /<stage>/matching/{step, error}                 attrs: pairs; only for flows that learn from another
    /<stage>/final/{samples, interpolation, density}    pictures of the saved weights; one row, at the end
    /summary/<stage>/<figure>                       NaN until the stage has ended
    /summary/floor/<figure>                         figures of samples for training examples in place of samples

Groups have the NXdata attributes of NeXus, so that `silx view` and h5web can plot them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import h5py
import msgspec
import numpy as np

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol.events import Picture, SeedStarted, StagePlan, StageSummary
from nfkd.protocol.records import Ending
from nfkd.protocol.roles import ASSISTANTS, Role

Node = Any
"""A file, group or dataset of h5py; its own types cannot express which one a path is."""
FORMAT = 3
"""Newest readable format. A file has the oldest format with all its stages, which older versions read."""
_FORMATS: dict[Role, int] = {"ablation": 3, **dict.fromkeys(ASSISTANTS, 2)}
"""The format that introduced a stage; 1 for those that are not named."""
ADDED = (
    *("sw", "mmd", "precision", "recall", "train_test_gap", "same_noise", "fd", "fd_floor", "ended", "outliers"),
    "not_finite",
)
"""Figures that files of older versions lack."""
FIGURES = (
    "parameters",
    "multiply_adds",
    "steps",
    "best_step",
    "validation",
    "test",
    "test_error",
    "samples_per_second",
    "seconds",
    "c2st",
    *ADDED,
)
FINAL = "final"
FLOOR = "floor"
ENDINGS: tuple[Ending, ...] = get_args(Ending)
"""The stored figure `ended` is an index of this list."""
INTEGERS = {"parameters", "multiply_adds", "steps", "best_step"}
IMAGE_PAIRS, VECTOR_PAIRS = 4, 2
GRID = 96
CURVE_CHUNK, _FLAG_CHUNK = 1024, 16
_UNWRITTEN = {
    np.dtype(np.uint8): np.uint8(255),
    np.dtype(np.int64): np.int64(-1),
    np.dtype(np.float32): np.array(0x7FC04E46, np.uint32).view(np.float32)[()],
    np.dtype(np.float64): np.array(0x7FF8000000004E46, np.uint64).view(np.float64)[()],
}
"""Fill values that mark unwritten rows: step −1, flag 255, and a NaN with bits that no arithmetic produces.

After a kill, or on a full disk, a dataset's length may be on the disk without its rows.
"""


def picture_group(picture: Picture, name: str) -> str:
    """Return the path of a picture's group, in its stage's series or among its final pictures."""
    return f"{picture.stage}/{FINAL}/{name}" if picture.final else f"{picture.stage}/{name}"


def picture_pairs(dimensions: int) -> int:
    """Return the number of interpolated pairs in a picture, for examples with 1 dimension (vectors) or 3 (images)."""
    return VECTOR_PAIRS if dimensions == 1 else IMAGE_PAIRS


def text(value: str) -> np.bytes_:
    """Return a fixed-length string; one of variable length is lost when the writer is killed."""
    return np.bytes_(value.encode())


def create(
    file: Node,
    config: ExperimentConfig,
    started: SeedStarted,
    *,
    device: str,
    threads: int,
    units: str = "",
    data: str = "",
) -> None:
    """Create all groups, datasets and attributes of a seed's file; `units` and `data` are JSON."""
    attributes = {
        "format": max(_FORMATS.get(plan.stage, 1) for plan in started.stages),
        "config": text(config.to_toml()),
        "started": text(msgspec.json.encode(started).decode()),
        "versions": text(msgspec.json.encode(started.versions or library_versions()).decode()),
        "device": text(device),
        "threads": threads,
        "seed": started.seed,
        "NX_class": text("NXroot"),
    }
    for name, value in (("units", units), ("data", data)):
        if value:
            attributes[name] = text(value)
    file.attrs.update(attributes)
    summary = _group(file, "summary", "NXcollection")
    for plan in started.stages:
        stage = _group(file, plan.stage, "NXentry")
        _create_curves(stage, plan)
        _create_pictures(stage, config, started)
        _create_final(stage, config, started)
        if plan.pairs:
            _create_matching(stage, plan)
        _create_figures(_group(summary, plan.stage, "NXcollection"), dict.fromkeys(FIGURES, np.nan))
    if started.floors:
        _create_figures(_group(summary, FLOOR, "NXcollection"), started.floors)


def _create_figures(group: Node, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if name not in group:
            group.create_dataset(name, data=np.full(1, value))


def _group(parent: Node, name: str, kind: str, **attributes: str) -> Node:
    group = parent.create_group(name)
    group.attrs["NX_class"] = text(kind)
    for key, value in attributes.items():
        group.attrs[key] = text(value)
    return group


def _growable(group: Node, name: str, dtype: type, row: tuple[int, ...] = (), rows: int = 1) -> Node:
    return group.create_dataset(
        name,
        shape=(0, *row),
        maxshape=(None, *row),
        dtype=dtype,
        chunks=(rows, *(max(1, size) for size in row)),
        fillvalue=_UNWRITTEN[np.dtype(dtype)],
    )


def _create_curves(stage: Node, plan: StagePlan) -> None:
    curves = _group(stage, "curves", "NXcollection")
    for info in plan.curves:
        *parents, last = info.name.split("/")
        parent = curves
        for name in parents:
            parent = parent.require_group(name)
        group = _group(parent, last, "NXdata", signal="value", axes="step", label=info.label)
        _growable(group, "step", np.int64, rows=CURVE_CHUNK)
        _growable(group, "value", np.float64, rows=CURVE_CHUNK).attrs["units"] = text(info.unit)
        _growable(group, "time", np.float64, rows=CURVE_CHUNK).attrs["units"] = text("s")


def _create_pictures(stage: Node, config: ExperimentConfig, started: SeedStarted) -> None:
    monitor, event = config.monitor, tuple(started.event_shape)
    pairs = picture_pairs(len(event))
    samples = _group(stage, "samples", "NXdata", signal="images", axes="step")
    _growable(samples, "step", np.int64, rows=CURVE_CHUNK)
    _growable(samples, "temperature", np.float64, rows=CURVE_CHUNK)
    _growable(samples, "images", np.float32, (monitor.sample_count, *event))
    _growable(samples, "flags", np.uint8, (monitor.sample_count,), rows=_FLAG_CHUNK)
    paths = _group(stage, "interpolation", "NXdata", signal="images", axes="step")
    _growable(paths, "step", np.int64, rows=CURVE_CHUNK)
    paths.create_dataset("mode", data=np.full(1, b"", "S32"))
    paths.create_dataset("alpha", data=np.linspace(0, 1, monitor.interpolation_steps, dtype=np.float32))
    _growable(paths, "images", np.float32, (pairs, monitor.interpolation_steps, *event))
    _growable(paths, "flags", np.uint8, (pairs, monitor.interpolation_steps), rows=_FLAG_CHUNK)
    if event == (2,):
        density = _group(stage, "density", "NXdata", signal="log_prob", axes="step")
        _growable(density, "step", np.int64, rows=CURVE_CHUNK)
        density.create_dataset("extent", data=np.full(4, np.nan))
        _growable(density, "log_prob", np.float32, (GRID, GRID)).attrs["units"] = text("nat")


def _create_final(stage: Node, config: ExperimentConfig, started: SeedStarted) -> None:
    """Create the groups of the final pictures; they are separate so that the steps of a series increase."""
    _create_pictures(_group(stage, FINAL, "NXcollection"), config, started)


def add_missing(file: Node, started: SeedStarted) -> None:
    """Add the groups and figures that files of older versions lack."""
    config = ExperimentConfig.from_toml(bytes(file.attrs["config"]).decode())
    for plan in started.stages:
        if FINAL not in file[plan.stage]:
            _create_final(file[plan.stage], config, started)
        _create_figures(file["summary"][plan.stage], dict.fromkeys(FIGURES, np.nan))


def _create_matching(stage: Node, plan: StagePlan) -> None:
    matching = _group(stage, "matching", "NXdata", signal="error", axes="step")
    matching.attrs["pairs"] = text(msgspec.json.encode(plan.pairs).decode())
    _growable(matching, "step", np.int64, rows=CURVE_CHUNK)
    _growable(matching, "error", np.float64, (len(plan.pairs),), rows=64).attrs["units"] = text("squared latent")


def complete_rows(group: Node | Mapping[str, Node], known: int = 0) -> int:
    """Return the number of rows that are completely on the disk in all growable datasets of a group.

    The first `known` rows are not read.
    """
    columns = [node for node in group.values() if isinstance(node, h5py.Dataset) and grows(node)]
    rows = min(len(column) for column in columns)
    for column in columns:
        if column.ndim > 2:  # pictures: only check the newest
            while rows and _unwritten(column[rows - 1]).any():
                rows -= 1
        elif rows > known:
            incomplete = _unwritten(column[known:rows]).reshape(rows - known, -1).any(axis=1)
            rows = known + int(incomplete.argmax()) if incomplete.any() else rows
    return rows


def read_rows(group: Node, names: Sequence[str], known: int = 0) -> list[np.ndarray]:
    """Return some columns of a group, each read once, without the first `known` rows.

    They end before the first row that is not completely on the disk in all of them.
    """
    columns = [group[name] for name in names]
    rows = min(len(column) for column in columns)
    first = min(known, rows)
    values = [column[first:rows] for column in columns]
    if rows > first:
        incomplete = np.any([_unwritten(each).reshape(rows - first, -1).any(axis=1) for each in values], axis=0)
        count = int(incomplete.argmax()) if incomplete.any() else rows - first
        values = [each[:count] for each in values]
    return values


def grows(dataset: Node) -> bool:
    """Return whether rows can be added to a dataset."""
    return bool(dataset.maxshape) and dataset.maxshape[0] is None


def _unwritten(values: np.ndarray) -> np.ndarray:
    mark = _UNWRITTEN.get(values.dtype)
    if mark is None:
        return np.zeros(values.shape, bool)
    bits = f"u{values.itemsize}"
    return np.ascontiguousarray(values).view(bits) == np.asarray(mark).view(bits)


def library_versions() -> dict[str, str]:
    """Return the versions of this process by library."""
    versions = {"nfkd": nfkd.__version__, "python": sys.version.split()[0], "h5py": h5py.__version__}
    torch: Any = sys.modules.get("torch")  # not imported here, but always loaded in a training process
    return versions | ({"torch": str(torch.__version__)} if torch is not None else {})


def read_started(file: Node) -> SeedStarted:
    """Return the event with the plans of the seed's stages; older files have the versions elsewhere only."""
    started = msgspec.json.decode(bytes(file.attrs["started"]), type=SeedStarted)
    if started.versions:
        return started
    versions = msgspec.json.decode(bytes(file.attrs.get("versions", b"{}")), type=dict[str, str])
    return msgspec.structs.replace(started, versions=versions)


def read_data(file: Node) -> str:
    """Return the fingerprint of the seed's data; empty in files of older versions."""
    return bytes(file.attrs.get("data", b"")).decode()


def figure(summary: StageSummary, name: str) -> float:
    """Return a figure as it is stored."""
    return float(ENDINGS.index(summary.ended)) if name == "ended" else getattr(summary, name)


def read_summary(file: Node, stage: Role, seed: int, unit: str) -> StageSummary | None:
    """Return the figures of a stage, or None while it has not ended."""
    group = file["summary"][stage]
    lacking = {name for name in ADDED if name not in group}
    figures = {name: np.nan if name in lacking else float(group[name][0]) for name in FIGURES}
    if any(np.isnan(figures[name]) for name in INTEGERS):
        return None
    values: dict[str, Any] = {name: int(value) if name in INTEGERS else value for name, value in figures.items()}
    known = values["ended"] in range(len(ENDINGS))  # NaN in files of older versions
    values["ended"] = ENDINGS[int(values["ended"])] if known else ""
    return StageSummary(stage=stage, seed=seed, unit=unit, **values)
