"""Trains the digits flows that the lessons show, and packs the run into ``resources/lessons/digits.zip``.

``make lesson-run``: the experiment and its seed are below; the file has at most 2 MB.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

import nfkd
from nfkd.config import ExperimentConfig, resource_path
from nfkd.terminal import say

TARGET = resource_path("lessons", "digits.zip")
MOST_BYTES = 2_000_000
_SETTINGS = (
    "name=digits of the lessons", "description=A small teacher and student for the lessons of NFKD.",
    "teacher.steps=6", "teacher.hidden=48", "student.hidden=32", "seeds.first=1", "seeds.count=1",
    "monitor.pictures_every=300", "monitor.sample_count=16",
)  # fmt: skip


def main() -> None:
    """Train, and pack everything but the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "digits"
        nfkd.run(ExperimentConfig.load("digits", _SETTINGS), run)
        pack(run, TARGET)
    size = TARGET.stat().st_size
    if size > MOST_BYTES:
        msg = f"{TARGET} has {size:,} bytes; at most {MOST_BYTES:,} are allowed"
        raise SystemExit(msg)
    say(f"{TARGET}: {size:,} bytes")


def pack(run: Path, target: Path) -> None:
    """Pack a finished run without its lock and checkpoints, after it has lost what only this machine knows."""
    _forget_machine(run)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(run.rglob("*")):
            if path.is_file() and not path.name.startswith("checkpoint") and not path.name.endswith(".lock"):
                archive.write(path, Path(run.name) / path.relative_to(run))


def _forget_machine(run: Path) -> None:
    """Remove the folder of the run and the process that wrote it from its files."""
    place = json.dumps(str(run))[1:-1]
    for path in (*run.glob("*.json"), *run.glob("*.jsonl")):
        path.write_text(path.read_text(encoding="utf-8").replace(place, run.name), encoding="utf-8")
    state = run / "state.json"
    content = json.loads(state.read_text(encoding="utf-8")) | {"pid": 0, "born": 0.0}
    state.write_text(json.dumps(content, indent=2), encoding="utf-8")
    with h5py.File(run / "run.h5", "r+") as file:
        started = bytes(file.attrs["started"]).decode()
        file.attrs["started"] = np.bytes_(started.replace(place, run.name).encode())


if __name__ == "__main__":
    main()
