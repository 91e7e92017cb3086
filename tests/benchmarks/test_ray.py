"""What a run of a sweep on Ray costs beyond its training: 200 tiny runs on two workers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from nfkd.protocol.events import RunEvent, StageFinished
from nfkd.protocol.queue import RayCluster
from nfkd.runs.layout import list_runs
from nfkd.sweeps import Sweep, SweepLoop, SweptRun
from nfkd.sweeps.executors import EVENTS_OF_SWEEPS
from nfkd.sweeps.ray_cluster import connected
from nfkd.sweeps.ray_executor import ray_executors
from tests.core.sweeps.sweeping import sweep_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

RUNS, WORKERS, MOST_SECONDS = 200, 2, 2.0


def test_overhead_of_a_run_on_ray(tmp_path: Path) -> None:
    rates = [1e-3 + 1e-5 * number for number in range(RUNS)]
    config = sweep_of({"grid": {"training.learning_rate": rates}, "limit": RUNS})
    cluster = RayCluster(address="local", local_cpus=WORKERS)
    began: dict[int, float] = {}
    beyond: dict[int, float] = {}

    def start(run: SweptRun) -> None:
        began[run.number], beyond[run.number] = time.perf_counter(), 0.0

    def note(run: SweptRun, event: RunEvent) -> None:
        # A stage's last event waits for the files of the stage, whose time is a part of the overhead.
        if isinstance(event, StageFinished):
            beyond[run.number] -= event.summary.seconds

    def end(run: SweptRun) -> None:
        assert run.state == "finished"
        beyond[run.number] += time.perf_counter() - began[run.number]

    first = time.perf_counter()
    with connected(cluster) as slots:
        ready = time.perf_counter()
        sweep = Sweep(config, tmp_path / "sweep", threads=1, parallel=True)
        sweep.begin()
        loop = SweepLoop(
            sweep,
            executors=ray_executors(cluster, slots, EVENTS_OF_SWEEPS),
            on_start=start,
            on_event=note,
            on_end=end,
        )
        loop.execute()
        whole = time.perf_counter() - ready
    seconds = np.array([beyond[number] for number in sorted(beyond)])
    files = [path for path in sweep.directory.rglob("*") if path.is_file()]
    listing = time.perf_counter()
    rows, _ = list_runs(sweep.directory)
    listing = time.perf_counter() - listing
    assert len(rows) == RUNS
    size = sum(path.stat().st_size for path in files)
    print(f"\n{RUNS} runs of two stages with 20 steps on {slots} workers, one teacher for all")
    print(f"start of Ray: {ready - first:.1f} s; the sweep: {whole:.1f} s, {whole / RUNS:.2f} s a run")
    middle, high = np.quantile(seconds[WORKERS:], [0.5, 0.95])
    print(f"a run beyond the training of its stages: median {middle:.2f} s, 95 % {high:.2f} s (limit {MOST_SECONDS} s)")
    print(f"the first two, which start the workers: {', '.join(f'{each:.1f} s' for each in seconds[:WORKERS])}")
    print(f"on disk: {len(files) / RUNS:.1f} files and {size / RUNS / 1024:.0f} KiB a run; listed in {listing:.3f} s")
    assert middle <= MOST_SECONDS
