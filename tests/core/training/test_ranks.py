"""Two processes (gloo, on the CPU) train as one does. The oracle is the run of one process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

import nfkd
from nfkd.config import ComputeConfig, ConfigError
from nfkd.planning.describe import describe
from nfkd.planning.devices import device_problems
from nfkd.protocol import events
from nfkd.runs.reader import open_run
from nfkd.training.control import Control, LiveWeights
from nfkd.training.job import execute_run
from nfkd.training.ranks import World, with_world, world_of
from tests.core.tiny import moons
from tests.core.training import ranked
from tests.core.training.runs import assert_same

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(ranked.__file__)
TOLERANCE = 2e-4
"""Relative difference of curves; float32 sums in another order differ by about 1e-6 a step, which steps amplify."""
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@dataclass(frozen=True)
class Torchrun:
    """What two processes did: the folder of the cases, and how they ended when one of them was killed in `run`."""

    folder: Path
    run: Path
    ended: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> Torchrun:
    """Execute the script `ranked.py` in two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    rows = np.random.default_rng(0).normal(size=(200, 2))
    np.savetxt(folder / "rows.csv", rows, delimiter=",", header="a,b", comments="")
    experiment, run = str(folder / "experiment.toml"), folder / "killed in training"
    ranked.killed(compute={"devices": 2}).save(experiment)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    with socket.create_server(("localhost", 0)) as free:
        port = str(free.getsockname()[1])
    arguments = [str(folder), port, "13", "run", experiment, "--out", str(run)]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=400, check=False)
    assert (folder / "follower.json").is_file(), ended.stderr
    return Torchrun(folder, run, ended)


@pytest.fixture(scope="module")
def together(torchrun: Torchrun) -> Path:
    """Return the folder of the cases that two processes have executed."""
    return torchrun.folder


# --- the same figures -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all terms", "pool", "disk"])
def test_two_processes_give_the_curves_of_one(name: str, together: Path, tmp_path: Path) -> None:
    table = together / "rows.csv"
    config = ranked.from_disk(table, "memory") if name == "disk" else ranked.CASES[name]()
    with ranked.spoiled():
        alone = nfkd.run(config, tmp_path / "run").curves
    shared = open_run(together / name).curves
    assert shared.keys() == alone.keys()
    for stage, curves in alone.items():
        assert shared[stage].keys() == curves.keys()
        for curve, points in curves.items():
            if not curve.startswith("system/"):
                np.testing.assert_array_equal(shared[stage][curve].steps, points.steps)
                found, expected = shared[stage][curve].values, points.values
                np.testing.assert_allclose(found, expected, TOLERANCE, TOLERANCE, err_msg=f"{stage} {curve}")


@pytest.mark.slow
def test_the_cases_have_masked_examples_shares_and_an_early_stop(together: Path) -> None:
    teacher, student = (open_run(together / "pool").curves[stage] for stage in ("teacher", "student"))
    assert set(student["masked"].values) == {0, 3}  # the example is left out of NLL, LKD and ILKD
    assert {"share/nll", "share/lkd"} <= student.keys()
    assert len(teacher["train/total"].steps) < 40
    assert "share/score" in open_run(together / "all terms").curves["student"]


@pytest.mark.slow
def test_only_rank_0_writes(together: Path) -> None:
    follower = json.loads((together / "follower.json").read_text())
    assert follower["code"] == 0
    assert [path for path in follower["opened"] if path.startswith(str(together))] == []


@pytest.mark.slow
def test_a_run_records_how_it_was_started(together: Path) -> None:
    record = open_run(together / "pool")
    start = record.row.start
    assert start is not None
    assert (start.how, start.world_size, start.backend) == ("torchrun", 2, "gloo")
    assert start.machines == [socket.gethostname()]
    assert record.config.compute.devices == 2


# --- processes that are killed ----------------------------------------------------------------------------------------


def rank_processes() -> list[psutil.Process]:
    """Return the ranks that were launched from here."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "nfkd.training.rank_process" in each.cmdline()]


@pytest.mark.slow
def test_killed_ranks_end_the_run_and_it_resumes_bit_for_bit(torchrun: Torchrun) -> None:
    config, run = ranked.killed(compute={"devices": 2}), torchrun.run
    assert torchrun.ended.returncode
    assert "Rank 1 of the run ended" in torchrun.ended.stderr
    row = open_run(run).row
    assert (row.state, "Rank 1" in row.cause) == ("failed", True)

    # Resumed in processes that NFKD starts: paused, asked for weights, continued; then rank 0 is killed.
    control, weights, seen = Control(), list[Future[LiveWeights]](), list[events.RunEvent]()
    victims: list[int] = []
    control.pause()

    def watch(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.RunChanged) and event.row.state == "paused":
            weights.append(control.live_weights())
            weights[0].add_done_callback(lambda _: control.resume())
        if isinstance(event, events.CurvePoints) and not victims:
            leader = next(each for each in rank_processes() if each.environ()["RANK"] == "0")
            victims.append(leader.pid)
            leader.kill()

    assert execute_run(run, config, watch, control, resume=True) == "failed"
    live = weights[0].result(timeout=0)
    assert (live.stage, live.seed, live.step) == ("student", 1, 8)  # of the last checkpoint
    assert all(value.isfinite().all() for value in live.weights.values())
    changes = [event.row for event in seen if isinstance(event, events.RunChanged)]
    assert [row.state for row in changes][:3] == ["running", "paused", "running"]
    start = changes[0].start
    assert start is not None
    assert (start.how, start.world_size, start.backend) == ("nfkd", 2, "gloo")
    last = seen[-1]
    assert isinstance(last, events.RunFailed)
    assert last.error.title == "Rank 0 of the run ended"
    assert str(victims[0]) in last.error.cause
    assert open_run(run).row.state == "failed"
    assert rank_processes() == []

    nfkd.run(config, run, resume=True)
    assert_same(run, torchrun.folder / "killed", config)


# --- input that is refused --------------------------------------------------------------------------------------------


@contextmanager
def refused(path: str, words: str) -> Iterator[None]:
    """Expect an error with one problem."""
    with pytest.raises(ConfigError, match=words) as caught:
        yield
    assert [problem.path for problem in caught.value.problems] == [path]


def test_the_variables_of_torchrun() -> None:
    assert world_of({"HOME": "/"}) is None
    assert world_of(TORCHRUN) == World(1, 2, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"LOCAL_RANK": ""}, "LOCAL_RANK is not set"),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, "MASTER_ADDR, MASTER_PORT is not set"),
        ({"RANK": "2"}, "RANK=2, WORLD_SIZE=2"),
        ({"RANK": "first"}, "RANK=first"),
    ],
)
def test_variables_that_do_not_fit_are_refused(change: dict[str, str], words: str) -> None:
    with refused("torchrun", words):
        world_of(TORCHRUN | change)


def test_torchrun_and_the_experiment_name_the_same_number() -> None:
    world = World(0, 2, 0)
    assert with_world(moons(), world).compute.devices == 2
    assert with_world(moons(compute={"devices": 2}), world).compute.devices == 2
    with refused("compute.devices", "torchrun has started 2, not 3"):
        with_world(moons(compute={"devices": 3}), world)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"training": {"batch_size": 2}}, "compute.devices", "2 examples cannot be shared by 3 devices"),
        ({"training": {"accumulate": 11}}, "training.accumulate", "11 micro-batches on each of 3 devices"),
        ({"distillation": {"relational": {"weight": 1.0}}}, "distillation.relational.weight", "compute.devices to 1"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(changes: dict[str, object], path: str, words: str) -> None:
    problems = describe(moons(compute={"devices": 3}, **changes)).problems
    assert [(problem.path, words in problem.message) for problem in problems] == [(path, True)]


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    problems = device_problems(ComputeConfig(device="cuda", devices=4))
    assert [problem.message for problem in problems] == [
        "this machine has 2 usable GPUs, not 4: set it to as many, or to 1"
    ]
    assert device_problems(ComputeConfig(device="cuda", devices=2)) == []


def test_the_expected_time_is_said_to_be_that_of_one_device() -> None:
    warnings = {warning.message for warning in describe(moons(compute={"devices": 2})).warnings}
    assert "the expected time is that of one device" in warnings
