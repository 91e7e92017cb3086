"""Sweeps on a Ray cluster: the same results as on this machine, dead workers, failures, stop and continue, searches."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import nfkd
from nfkd.protocol.events import CurvePoints, LogLine, RunEvent, StageStarted
from nfkd.protocol.queue import RayCluster
from nfkd.runs.errors import RunError
from nfkd.runs.log import read_log
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from nfkd.sweeps import Sweep, SweepLoop, SweptRun, ray_cluster
from nfkd.sweeps.ray_cluster import connected
from nfkd.sweeps.ray_executor import RayExecutor, ray_executors
from tests.core.sweeps.sweeping import run_all, states, sweep_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs ray"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Ray ends no processes on Windows"),
]

VALUES = {"student.hidden": [4, 6], "training.learning_rate": [0.001, 0.003]}
LOCAL = RayCluster(address="local", local_cpus=2)


@pytest.fixture(scope="module")
def workers() -> Iterator[list[RayExecutor]]:
    """Start Ray on the loopback interface, with two slots, and give out executors that stay warm."""
    with connected(LOCAL) as slots:
        assert slots == 2
        executors = list(ray_executors(LOCAL, slots))
        yield executors
        for executor in executors:
            executor.close()
    assert not [child for child in psutil.Process().children(recursive=True) if "ray" in child.name()]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Run a grid of values in this process."""
    sweep = Sweep(sweep_of({"grid": VALUES}), tmp_path_factory.mktemp("here") / "sweep")
    run_all(sweep)
    return sweep


class Warm:
    """An executor that `SweepLoop` does not close."""

    def __init__(self, executor: RayExecutor) -> None:
        self.start, self.stop = executor.start, executor.stop

    def close(self) -> None:
        """Keep the actor for the next test."""


def execute(sweep: Sweep, workers: list[RayExecutor], **callbacks: Any) -> None:
    """Execute a sweep on Ray."""
    sweep.begin()
    SweepLoop(sweep, executors=[Warm(worker) for worker in workers], **callbacks).execute()


def curves(path: Path) -> dict[str, list[float]]:
    """Return the curves of all stages that do not depend on the machine's speed."""
    return {
        f"{stage}/{name}": np.asarray(batch.values).tolist()
        for stage, found in open_run(path).curves.items()
        for name, batch in found.items()
        if not name.startswith("system/")
    }


def worker_pids() -> list[int]:
    """Return the processes that train."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if "RunWorker" in " ".join(child.cmdline())]


def test_runs_on_two_workers_have_the_curves_of_runs_on_this_machine_also_after_a_kill(
    tmp_path: Path, workers: list[RayExecutor], here: Sweep
) -> None:
    there = Sweep(here.config, tmp_path / "ray", parallel=True)
    seen: list[tuple[str, str]] = []
    killed: list[int] = []

    def watch(run: SweptRun, event: RunEvent) -> None:
        if isinstance(event, CurvePoints):
            seen.append((run.name, event.run))
        if not killed and isinstance(event, StageStarted) and event.stage == "student":
            killed.append(worker_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    execute(there, workers, on_event=watch)
    assert {Path(path).name for _, path in seen} == {run.name for run in there.runs}
    assert all(path == str(there.directory / name) for name, path in seen)
    assert states(there) == ["finished"] * 4
    for run, same in zip(there.runs, here.runs, strict=True):
        assert run.objective == same.objective
        assert curves(there.path(run)) == curves(here.path(same))
    lines = [line.text for run in there.runs for line in read_log(there.path(run))]
    assert len({line for line in lines if "the teacher is that" in line}) == 2  # of four runs with two teachers
    files = {path.name for path in (tmp_path / "ray").iterdir()}
    assert files == {run.name for run in there.runs} | {"sweep.json", "sweep.toml"}
    starts = [start for run in there.runs if (start := read_row(there.path(run)).start)]
    assert {(start.how, start.address, *start.machines) for start in starts} == {("ray", "local", socket.gethostname())}
    assert sorted(start.attempt for start in starts) == [1, 1, 1, 2]
    assert sum("attempt 1 of 3" in line for line in lines) == 1


def test_only_the_loopback_interface_has_ports_of_ray(workers: list[RayExecutor]) -> None:
    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_a_run_that_fails_is_not_repeated_and_the_others_go_on(tmp_path: Path, workers: list[RayExecutor]) -> None:
    lists = [{"student": {"kind": "glow", "levels": 2}}, {"student.hidden": 6}]
    sweep = Sweep(sweep_of({"list": lists}), tmp_path / "sweep", parallel=True)
    logged: list[RunEvent] = []
    execute(sweep, workers, on_event=lambda _, event: logged.append(event))
    assert states(sweep) == ["failed", "finished"]
    row = read_row(sweep.path(sweep.runs[0]))
    assert row.state == "failed"
    assert sweep.runs[0].cause == row.cause
    assert not any(isinstance(event, LogLine) and "attempt" in event.text for event in logged)


def test_a_data_file_that_a_worker_lacks_is_named_with_the_worker(tmp_path: Path, workers: list[RayExecutor]) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "\n".join(f"{number % 7},{number % 11}" for number in range(300)) + "\n")
    data = {"kind": "table", "path": str(table)}
    sweep = Sweep(sweep_of({"list": [{"student.hidden": 4}]}, data=data), tmp_path / "sweep", parallel=True)
    table.unlink()  # the worker has the same disk
    execute(sweep, workers)
    assert states(sweep) == ["failed"]
    assert sweep.runs[0].cause.startswith(f"{table} does not exist on {socket.gethostname()}.")


def test_a_stopped_sweep_continues_from_the_checkpoints_that_came_home(
    tmp_path: Path, workers: list[RayExecutor]
) -> None:
    training = {"student_steps": 60, "checkpoint_every": 20}
    config = sweep_of({"grid": {"student.hidden": [4, 6]}}, training=training)
    stopped, whole = Sweep(config, tmp_path / "ray", parallel=True), Sweep(config, tmp_path / "here")
    loops: list[SweepLoop] = []

    def stop(run: SweptRun, event: RunEvent) -> None:
        if isinstance(event, CurvePoints) and event.stage == "student":
            loops[0].stop()

    loops.append(SweepLoop(stopped, executors=[Warm(worker) for worker in workers], on_event=stop))
    stopped.begin()
    loops[0].execute()
    assert states(stopped) == ["waiting", "waiting"]
    saved = json.loads((tmp_path / "ray" / "hidden-4" / "state.json").read_text())
    assert saved["row"]["state"] == "stopped"
    again = Sweep(config, tmp_path / "ray", parallel=True)
    execute(again, workers)
    run_all(whole)
    assert states(again) == ["finished"] * 2
    assert [curves(again.path(run)) for run in again.runs] == [curves(whole.path(run)) for run in whole.runs]
    assert any("Resumed" in line.text for line in read_log(again.path(again.runs[0])))


def test_a_search_keeps_all_slots_busy(tmp_path: Path, workers: list[RayExecutor]) -> None:
    search = {"runs": 3, "method": "random", "space": {"student.hidden": {"low": 4, "high": 16}}}
    sweep = Sweep(sweep_of({"search": search}), tmp_path / "sweep", parallel=True)
    most = 0

    def count(run: SweptRun) -> None:
        nonlocal most
        most = max(most, len(sweep.active))

    execute(sweep, workers, on_start=count)
    assert states(sweep).count("finished") + states(sweep).count("pruned") == 3
    assert most == 2


def test_a_machine_without_this_nfkd_is_named(workers: list[RayExecutor], monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    nodes = {node["NodeID"]: node for node in ray.nodes()}
    ray_cluster.require_nfkd(nodes)
    host, version = socket.gethostname(), nfkd.__version__
    with monkeypatch.context() as patch:
        patch.setattr(nfkd, "__version__", "9.9.9")
        with pytest.raises(RunError, match=f"{host} has NFKD {version}, and this machine NFKD 9.9.9"):
            ray_cluster.require_nfkd(nodes)
    monkeypatch.setattr(ray_cluster, "VERSION", "no_nfkd_here:__version__")
    with pytest.raises(RunError, match=f"NFKD is not installed on {host}"):
        ray_cluster.require_nfkd(nodes)


def test_a_process_uses_one_cluster_at_a_time(workers: list[RayExecutor]) -> None:
    with pytest.raises(RunError, match="uses a Ray cluster already"), connected(LOCAL):
        pass
