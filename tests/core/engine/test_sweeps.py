"""The engine executes sweeps: in turn with single runs, stopped and continued, with one teacher for all."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from nfkd.config.sweep import SweepConfig
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.queue import (
    ContinueSweep,
    EstimateSweep,
    PauseQueue,
    RunSweep,
    StopSweep,
    SweepAccepted,
    SweepDescription,
)
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import moons


def sweep_of(*hidden: int, **changes: Any) -> str:
    """Return a sweep over the student's width."""
    document = moons(name="widths", **changes).model_dump(mode="json")
    return SweepConfig.from_dict(document | {"sweep": {"grid": {"student.hidden": list(hidden)}}}).to_toml()


async def begin(watched: Watched, text: str, folder: Path) -> Path:
    reply = await watched.engine.answer(RunSweep(config=text, folder=str(folder)))
    assert isinstance(reply, SweepAccepted)
    return Path(reply.folder)


def states(folder: Path) -> dict[str, str]:
    """Return the state of each run as the sweep's file has it."""
    return {run["name"]: run["state"] for run in json.loads((folder / "sweep.json").read_text())["runs"]}


def content(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def finished(watched: Watched) -> list[str]:
    return [Path(event.run).name for event in watched.seen if isinstance(event, events.RunFinished)]


def test_all_runs_of_a_sweep_are_trained_with_one_teacher(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        folder = await begin(watched, sweep_of(4, 5, 6), tmp_path)
        assert folder == tmp_path / "widths"
        await watched.engine.wait_until_idle()
        names = ["hidden-4", "hidden-5", "hidden-6"]
        assert states(folder) == dict.fromkeys(names, "finished")
        assert finished(watched) == names
        teachers = [load_file(folder / name / "teacher.safetensors") for name in names]
        for teacher in teachers[1:]:
            for name, values in teachers[0].items():
                np.testing.assert_array_equal(teacher[name], values)
        lines = [event for event in watched.seen if isinstance(event, events.LogLine)]
        shared = [Path(line.run).name for line in lines if "the teacher is that of hidden-4" in line.text]
        assert shared == ["hidden-5", "hidden-6"]
        counts = [(each.ended, each.runs) for change in watched.changes for each in change.sweeps]
        assert counts[0] == (0, 3)
        assert counts == sorted(counts)
        assert watched.queue.sweeps == []

    run_engine(scenario)


def test_a_single_run_starts_before_the_next_run_of_a_sweep(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        await watched.engine.answer(PauseQueue(paused=True))
        await begin(watched, sweep_of(4, 5), tmp_path)
        await watched.start(moons(name="single"), tmp_path)
        assert not watched.engine.idle
        await watched.engine.answer(PauseQueue(paused=False))
        await watched.engine.wait_until_idle()
        assert finished(watched) == ["single", "hidden-4", "hidden-5"]

    run_engine(scenario)


def test_a_run_that_the_user_stops_ends_the_sweep_which_can_be_continued(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        long = {"teacher_steps": 30, "student_steps": 3000}
        folder = await begin(watched, sweep_of(4, 5, training=long), tmp_path)
        await watched.until(lambda event: isinstance(event, events.StageStarted) and event.stage == "student")
        await watched.engine.answer(ask.Stop(run=watched.started, scope="run"))
        await watched.engine.wait_until_idle()
        assert states(folder) == {"hidden-4": "waiting", "hidden-5": "waiting"}
        assert watched.queue.sweeps == []
        watched.seen.clear()
        await watched.engine.answer(ContinueSweep(folder=str(folder)))
        refused = await refusal(watched.engine, ContinueSweep(folder=str(folder)))
        assert "already in the queue" in refused.error.cause
        await watched.until(lambda event: isinstance(event, events.StageStarted) and event.stage == "student")
        await watched.engine.answer(StopSweep(folder=str(folder)))
        await watched.engine.wait_until_idle()
        assert states(folder) == {"hidden-4": "waiting", "hidden-5": "waiting"}
        assert json.loads((folder / "hidden-4" / "state.json").read_text())["row"]["state"] == "stopped"

    run_engine(scenario)


def test_a_failed_run_does_not_end_a_sweep(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        document = moons(name="rates").model_dump(mode="json")
        grid = {"training.learning_rate": [0.9, 0.001]}
        text = SweepConfig.from_dict(
            document | {"training": document["training"] | {"gradient_clip": 0.0}, "sweep": {"grid": grid}}
        ).to_toml()
        folder = await begin(watched, text, tmp_path)
        await watched.engine.wait_until_idle()
        found = list(states(folder).values())
        assert found[1] == "finished"
        assert len(watched.changes) > 2

    run_engine(scenario)


def test_a_sweep_whose_folder_is_gone_ends_with_a_line_in_the_log(tmp_path: Path) -> None:
    def replace_by_file(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.write_text("something else")

    async def scenario(watched: Watched) -> None:
        await watched.engine.answer(PauseQueue(paused=True))
        folder = await begin(watched, sweep_of(4, 5), tmp_path)
        replace_by_file(folder)
        await watched.engine.answer(PauseQueue(paused=False))
        await watched.engine.wait_until_idle()
        lines = [event.text for event in watched.seen if isinstance(event, events.LogLine) and not event.run]
        assert len(lines) == 1
        assert lines[0].startswith("The sweep widths has ended: ")
        assert watched.queue.sweeps == []

    run_engine(scenario)


def test_what_a_sweep_will_take_is_estimated_without_its_time_while_a_run_trains(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        request = EstimateSweep(config=sweep_of(4, 5, 6), folder=str(tmp_path))
        idle = await watched.engine.answer(request)
        assert isinstance(idle, SweepDescription)
        assert (idle.runs, idle.teachers, idle.names) == (3, 1, ["hidden-4", "hidden-5", "hidden-6"])
        assert idle.seconds > 0
        assert idle.size > 0
        assert content(tmp_path) == []  # nothing is written
        run = await watched.start(moons(training={"teacher_steps": 100_000}), tmp_path)
        busy = await watched.engine.answer(request)
        assert isinstance(busy, SweepDescription)
        assert math.isnan(busy.seconds)
        assert busy.size == idle.size
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.engine.wait_until_idle()

    run_engine(scenario)


def test_a_sweep_over_a_field_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        document = moons().model_dump(mode="json") | {"sweep": {"grid": {"student.hiden": [4]}}}
        text = SweepConfig.from_dict(document).to_toml()
        refused = await refusal(watched.engine, RunSweep(config=text, folder=str(tmp_path)))
        assert [problem.path for problem in refused.problems] == ["student.hiden"]
        assert "student.hidden" in refused.problems[0].message
        assert content(tmp_path) == []

    run_engine(scenario)
