"""Writers and readers of test files. Light, because the child processes import it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nfkd.protocol import events, records
from nfkd.protocol.roles import Role
from nfkd.runs.writer import RunWriter
from tests.core.tiny import moons

CURVES = [records.CurveInfo(name=name, label=name, unit="nats") for name in ("train/total", "validation/nll")]
PAIRS = [records.LayerPair(student="step1", teacher="step2", summary="student step 1 ↔ teacher step 2")]


def opened(path: Path, mode: str = "r", **rest: Any) -> Any:
    """Open a file with h5py, typed as Any because its own types do not fit; without a lock, as the reader does."""
    return h5py.File(path, mode, **{"locking": False, **rest})  # type: ignore[arg-type]


def datasets(path: Path) -> dict[str, dict[str, Any]]:
    """Return each dataset of a file with its type, shape, maximum shape, chunks, fill value, attributes and values."""
    found: dict[str, dict[str, Any]] = {}

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = {
                "dtype": node.dtype,
                "shape": node.shape,
                "maxshape": node.maxshape,
                "chunks": node.chunks,
                "fillvalue": np.asarray(node.fillvalue).tobytes(),
                "attributes": {key: np.asarray(value).tobytes() for key, value in node.attrs.items()},
                "values": node[()].tobytes(),
            }

    with opened(path) as file:
        file.visititems(note)
    return found


def started(run: str = "run") -> events.SeedStarted:
    stages = [
        events.StagePlan(stage=stage, steps=20, curves=CURVES, pairs=PAIRS if stage == "student" else [])
        for stage in ("teacher", "student", "baseline")
    ]
    return events.SeedStarted(run=run, seed=1, stages=stages, event_shape=[2])


def points(stage: Role, first: int, count: int, name: str = "train/total") -> events.CurvePoints:
    steps = np.arange(first, first + count)
    batch = events.CurveBatch(steps=steps, values=steps / 7, times=steps / 10)
    return events.CurvePoints(run="run", seed=1, stage=stage, curves={name: batch})


def writer_in(directory: Path) -> RunWriter:
    return RunWriter(directory, moons(), started(), device="cpu", threads=1)
