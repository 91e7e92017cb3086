"""Two processes (gloo) with a thread each, against one process with one thread and the same batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks import rank_steps

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ROUNDS = 3


def measure(name: str, count: int) -> tuple[float, float]:
    """Return the wall time of a step in `count` processes, and their CPU time together, in seconds."""
    command = [sys.executable, *(TORCHRUN if count > 1 else []), str(Path(rank_steps.__file__)), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu


@pytest.mark.parametrize("name", list(rank_steps.FLOWS))
def test_efficiency_of_two_processes(name: str) -> None:
    """One and two processes take turns, so that other load slows both."""
    times = {count: list[tuple[float, float]]() for count in (1, 2)}
    for _ in range(ROUNDS):
        for count, found in times.items():
            found.append(measure(name, count))
    (wall, cpu), (shared_wall, shared_cpu) = (map(median, zip(*found, strict=True)) for found in times.values())
    print(
        f"\n{name}: {1000 * wall:.0f} ms a step in one process, {1000 * shared_wall:.0f} ms in two; "
        f"speed-up {wall / shared_wall:.2f}, efficiency {wall / shared_wall / 2:.0%}; "
        f"by CPU time {cpu / shared_cpu:.0%}"
    )
    assert shared_wall > 0
