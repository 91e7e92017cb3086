"""Labs in the engine: frames, speed, requests while steps are made, and what ends a lab."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.engine import lab_service
from nfkd.engine.core import Engine
from nfkd.lab import LabTraining, session
from nfkd.protocol.lab import (
    ChangeLab,
    CloseLab,
    ControlLab,
    LabFrame,
    LabOpened,
    LabPoints,
    LabProbe,
    OpenLab,
    ProbeLab,
    ReadLab,
    ReadLabPoints,
)
from nfkd.runs.errors import RunError
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.lab.test_training import tiny

FAST = {"lab": {"speed": "full"}}


async def opened(engine: Engine, **changes: Any) -> LabOpened:
    reply = await engine.answer(OpenLab(state=tiny(**FAST).replace(**changes).to_toml()))
    assert isinstance(reply, LabOpened)
    return reply


async def frames(
    engine: Engine, lab: str, until: Callable[[LabFrame], bool], after: int = -1
) -> AsyncIterator[LabFrame]:
    """Read frames until one fulfils a condition; it is the last."""
    for _ in range(500):
        frame = await engine.answer(ReadLab(lab=lab, after=after))
        assert isinstance(frame, LabFrame)
        yield frame
        if until(frame):
            return
        after = frame.number
    pytest.fail("the lab does not get there")


async def last(engine: Engine, lab: str, until: Callable[[LabFrame], bool], after: int = -1) -> LabFrame:
    return [frame async for frame in frames(engine, lab, until, after)][-1]


def done(frame: LabFrame) -> bool:
    return frame.phase == "done" and not frame.playing


def test_a_lab_plays_to_its_end_and_sends_only_new_pictures() -> None:
    async def scenario(watched: Watched) -> None:
        engine, lab = watched.engine, (await opened(watched.engine)).lab
        await engine.answer(ControlLab(lab=lab, action="play"))
        seen = [frame async for frame in frames(engine, lab, done)]
        assert [frame.number for frame in seen] == sorted({frame.number for frame in seen})
        assert seen[-1].step == 30
        assert {role for frame in seen for role in frame.pictures} == {"teacher", "student", "baseline"}
        after_teacher = [frame for frame in seen if frame.phase != "teacher"]
        assert sum("teacher" in frame.pictures for frame in after_teacher) <= 1
        whole = await engine.answer(ReadLab(lab=lab))
        assert isinstance(whole, LabFrame)
        assert set(whole.pictures) == {"teacher", "student", "baseline"}

    run_engine(scenario)


def test_single_steps_pause_and_restart() -> None:
    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab = (await opened(engine, lab={"teacher": "together"})).lab
        await engine.answer(ControlLab(lab=lab, action="step", steps=3))
        frame = await last(engine, lab, lambda frame: frame.step == 3)
        assert not frame.playing
        await engine.answer(ControlLab(lab=lab, action="step"))
        await last(engine, lab, lambda frame: frame.step == 4)
        await engine.answer(ControlLab(lab=lab, action="restart"))
        frame = await last(engine, lab, lambda frame: frame.step == 0)
        assert frame.pictures == {}  # norms are set by the first batch
        assert all(len(curve) == 0 for curve in frame.curves.values())

    run_engine(scenario)


def test_requests_are_answered_while_steps_are_made() -> None:
    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab = (await opened(engine, training={"student_steps": 100_000}, lab={"teacher": "together"})).lab
        await engine.answer(ControlLab(lab=lab, action="play"))
        await last(engine, lab, lambda frame: frame.step > 5)
        probe = await engine.answer(ProbeLab(lab=lab, point=(0.1, 0.2)))
        assert isinstance(probe, LabProbe)
        assert set(probe.flows) == {"teacher", "student", "baseline"}
        changed = tiny(training={"student_steps": 100_000, "learning_rate": 0.5}, lab={"teacher": "together"})
        reply = await engine.answer(ChangeLab(lab=lab, state=changed.to_toml()))
        assert isinstance(reply, LabOpened)
        frame = await last(engine, lab, lambda frame: frame.step > 10)
        assert frame.playing
        refused = await refusal(engine, ChangeLab(lab=lab, state=tiny(training={"student_examples": 999}).to_toml()))
        assert [problem.path for problem in refused.problems] == ["training.student_examples"]
        await engine.answer(ControlLab(lab=lab, action="pause"))
        frame = await last(engine, lab, lambda frame: not frame.playing)
        again = await engine.answer(ReadLab(lab=lab, after=frame.number))
        assert isinstance(again, LabFrame)
        assert (again.step, again.pictures) == (frame.step, {})

    run_engine(scenario)


def test_a_lab_makes_steps_only_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "UNREAD_SECONDS", 0.0)

    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab = (await opened(engine, training={"student_steps": 100_000}, lab={"teacher": "together"})).lab
        await engine.answer(ControlLab(lab=lab, action="play"))
        frame = await last(engine, lab, lambda frame: frame.playing)
        await engine.answer(ProbeLab(lab=lab, point=(0.0, 0.0)))
        assert (await last(engine, lab, lambda _: True, frame.number)).step == 0
        monkeypatch.setattr(session, "UNREAD_SECONDS", 60.0)
        assert (await last(engine, lab, lambda frame: frame.step > 0)).playing

    run_engine(scenario)


def test_old_labs_are_closed_for_new_ones() -> None:
    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        names = [(await opened(engine)).lab for _ in range(lab_service._MOST + 1)]
        refused = await refusal(engine, ReadLab(lab=names[0]))
        assert refused.error.title == "The lab is not open"
        await engine.answer(CloseLab(lab=names[1]))
        await engine.answer(CloseLab(lab=names[1]))
        assert (await refusal(engine, ProbeLab(lab=names[1], point=(0, 0)))).error.title == "The lab is not open"
        assert isinstance(await engine.answer(ReadLab(lab=names[2])), LabFrame)

    run_engine(scenario)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lab ")]


@pytest.mark.parametrize(
    ("kind", "message"),
    [("iaf", "it began at the gradient of step"), ("glow1d", "The teacher's samples cannot be used: 300 of 300")],
)
def test_training_that_fails_stops_with_the_reason(kind: str, message: str) -> None:
    async def failing(engine: Engine) -> tuple[str, LabFrame]:
        """Return a lab whose training has failed: at such a rate, rounding decides after which step."""
        for steps in range(3, 20):
            training = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "teacher_steps": steps}
            lab = (await opened(engine, training=training, teacher={"kind": kind}, student={"kind": kind})).lab
            await engine.answer(ControlLab(lab=lab, action="play"))
            frame = await last(engine, lab, lambda frame: bool(frame.message) or done(frame))
            if frame.message:
                return lab, frame
            await engine.answer(CloseLab(lab=lab))
        pytest.fail("no training fails")

    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab, frame = await failing(engine)
        assert message in frame.message
        assert not frame.playing
        await engine.answer(ControlLab(lab=lab, action="restart"))
        assert (await last(engine, lab, lambda _: True, frame.number)).message == ""

    run_engine(scenario)


def test_an_unexpected_error_stops_the_steps_and_not_the_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab = (await opened(engine, lab={"teacher": "together"})).lab

        def fail(_training: LabTraining) -> None:
            msg = "no memory"
            raise MemoryError(msg)

        with monkeypatch.context() as patch:
            patch.setattr(LabTraining, "step", fail)
            await engine.answer(ControlLab(lab=lab, action="play"))
            frame = await last(engine, lab, lambda frame: bool(frame.message))
        assert frame.message == "Training stopped (MemoryError): restart the lab, or change its settings."
        assert not frame.playing
        await engine.answer(ControlLab(lab=lab, action="play"))
        assert (await last(engine, lab, lambda frame: frame.step > 0)).message == ""

    run_engine(scenario)
    assert "MemoryError: no memory" in capsys.readouterr().err


def test_readers_of_a_lab_that_is_closed_are_refused() -> None:
    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        lab = (await opened(engine)).lab
        frame = await last(engine, lab, lambda _: True)
        reader = asyncio.create_task(refusal(engine, ReadLab(lab=lab, after=frame.number)))
        await asyncio.sleep(0)
        await engine.answer(CloseLab(lab=lab))
        assert (await reader).error.title == "The lab is not open"

    run_engine(scenario)


def test_a_closed_session_refuses_requests() -> None:
    frames_seen: list[LabFrame] = []
    lab = session.LabSession("lab 9", None, frames_seen.append)
    assert lab.close(10)
    with pytest.raises(RunError, match="not open"):
        lab.probe((0.0, 0.0)).result(10)


def test_points_of_a_file_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal([5, -3], [2, 0.5], (300, 2))
    (tmp_path / "a.csv").write_text("width,height\n" + "\n".join(f"{x:.4f},{y:.4f}" for x, y in rows))
    (tmp_path / "b.csv").write_text("a,b,c\n" + "\n".join(f"{x:.4f},{y:.4f},1.{n}" for n, (x, y) in enumerate(rows)))
    (tmp_path / "c.csv").write_text("a,b\n" + "\n".join(f"{x:.4f},{y:.4f}" for x, y in rows[:60]))

    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        table = f'kind = "table"\npath = "{tmp_path / "a.csv"}"\n'
        points = await engine.answer(ReadLabPoints(data=table))
        assert isinstance(points, LabPoints)
        assert (points.columns, points.rows, points.points.shape) == (["width", "height"], 300, (300, 2))
        expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        np.testing.assert_allclose(np.sort(points.points[:, 0]), np.sort(expected[:, 0]), atol=1e-3)
        state = tiny(lab={"points": points.points.tolist()})
        assert isinstance(await engine.answer(OpenLab(state=state.to_toml())), LabOpened)
        three = await engine.answer(ReadLabPoints(data=table.replace("a.csv", "b.csv")))
        assert isinstance(three, LabPoints)
        assert (three.columns, three.rows, len(three.points)) == (["a", "b", "c"], 300, 0)
        chosen = table.replace("a.csv", "b.csv") + 'columns = ["c", "a"]\n'
        two = await engine.answer(ReadLabPoints(data=chosen))
        assert isinstance(two, LabPoints)
        assert (two.columns, two.points.shape) == (["c", "a"], (300, 2))
        one = await refusal(engine, ReadLabPoints(data=chosen.replace('"c", ', "")))
        assert "gives 1 value a row: the lab needs two columns" in str(one.problems[0])
        few = await refusal(engine, ReadLabPoints(data=table.replace("a.csv", "c.csv")))
        assert "the lab needs at least 100" in str(few.problems[0])
        missing = await refusal(engine, ReadLabPoints(data=table.replace("a.csv", "none.csv")))
        assert "none.csv" in missing.error.cause

    run_engine(scenario)
