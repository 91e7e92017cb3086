"""The CPU time of the first description of a large experiment, in a process that has imported the engine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.timing import Figure

ROUNDS = 5

PROGRAM = """
import sys, time
from nfkd.config import ExperimentConfig
from nfkd.engine.server import import_engine
import_engine().result()
from nfkd.planning.describe import describe
flow = {"kind": "glow", "levels": 4}
config = ExperimentConfig.from_dict({
    "data": {"kind": "image_stack", "path": sys.argv[1]},
    "teacher": flow | {"steps": 32, "hidden": 512},
    "student": flow | {"steps": 8, "hidden": 256},
})
began = time.process_time()
description = describe(config)
assert description.teacher is not None and description.student is not None
print(time.process_time() - began)
"""
"""A teacher of 32 steps and width 512 at 4 levels, for 64×64 colour images."""


def first_description() -> float:
    """Return the CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), dtype=np.uint8))
        command = [sys.executable, "-c", PROGRAM, str(path)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _seconds() -> dict[str, Figure]:
    return {"": Figure.of([first_description() for _ in range(ROUNDS)])}


CASES = (Case("first description of Glow 32×4, width 512, 64×64", {"": 1}, _seconds, unit="s"),)
