"""The engine executes sweeps on a Ray cluster: their events arrive, and they are stopped and continued."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.queue import ContinueSweep, EstimateSweep, RayCluster, RunSweep, SweepAccepted, SweepDescription
from nfkd.runs.state import read_row
from tests.core.engine.test_sweeps import states, sweep_of
from tests.core.engine.watched import Watched, refusal, run_engine

LOCAL = RayCluster(address="local", local_cpus=1)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")
def test_a_sweep_on_ray_is_followed_stopped_and_continued(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        long = {"teacher_steps": 30, "student_steps": 100, "baseline": False}
        reply = await watched.engine.answer(
            RunSweep(config=sweep_of(4, 5, training=long), folder=str(tmp_path), cluster=LOCAL)
        )
        assert isinstance(reply, SweepAccepted)
        folder = Path(reply.folder)
        first = str(folder / "hidden-4")
        await watched.until(lambda event: isinstance(event, events.StageStarted) and event.stage == "student")
        snapshot = await watched.engine.answer(ask.OpenRun(run=first))
        assert isinstance(snapshot, ask.Snapshot)
        assert snapshot.row.state == "running"
        refused = await refusal(watched.engine, ask.Pause(run=first))
        assert "Ray cluster" in refused.error.cause
        await watched.engine.answer(ask.Stop(run=first, scope="run"))
        await watched.engine.wait_until_idle()
        assert states(folder) == {"hidden-4": "waiting", "hidden-5": "waiting"}
        assert read_row(folder / "hidden-4").state == "stopped"
        assert watched.queue.sweeps == []
        watched.seen.clear()
        await watched.engine.answer(ContinueSweep(folder=str(folder)))  # on the same cluster
        await watched.engine.wait_until_idle()
        assert states(folder) == dict.fromkeys(["hidden-4", "hidden-5"], "finished")
        finished = {event.run for event in watched.seen if isinstance(event, events.RunFinished)}
        assert finished == {first, str(folder / "hidden-5")}
        assert json.loads((folder / "hidden-5" / "state.json").read_text())["row"]["start"]["how"] == "ray"

    run_engine(scenario)


def test_a_cluster_that_does_not_answer_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        nobody = RayCluster(address="ray://127.0.0.1:1")
        refused = await refusal(
            watched.engine, RunSweep(config=sweep_of(4), folder=str(tmp_path / "runs"), cluster=nobody)
        )
        installed = find_spec("ray") is not None
        assert refused.error.cause == ("127.0.0.1 does not answer at port 1." if installed else "Ray is not installed.")
        assert not (tmp_path / "runs").exists()
        assert watched.engine.idle
        found = await watched.engine.answer(EstimateSweep(config=sweep_of(4), folder=str(tmp_path / "runs")))
        assert isinstance(found, SweepDescription)
        assert found.ray == installed

    run_engine(scenario)
