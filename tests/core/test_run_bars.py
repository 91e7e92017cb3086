"""The progress bars of a run, from events in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nfkd.protocol import events, records
from nfkd.run_bars import run_bars

RUN = "/there/run"


def plan(stage: Any, steps: int) -> records.StagePlan:
    return records.StagePlan(stage=stage, steps=steps, curves=[])


def curve(stage: Any, *values: float) -> events.CurvePoints:
    steps = np.arange(len(values))
    batch = records.CurveBatch(steps=steps, values=np.array(values), times=steps * 1.0)
    return events.CurvePoints(run=RUN, seed=1, stage=stage, curves={"validation/nll": batch})


def progress(stage: Any, step: int) -> events.Progress:
    return events.Progress(
        run=RUN, seed=1, stage=stage, step=step, steps=7, steps_per_second=1.0, seconds_left=float("nan"), fraction=0.1
    )


def test_events_of_stages_that_were_not_announced_have_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with run_bars() as bars:
        bars.handle(events.StageStarted(run=RUN, seed=1, stage="teacher"))
        bars.handle(curve("teacher", 9.5))
        bars.handle(progress("teacher", 5))
        bars.handle(events.SeedStarted(run=RUN, seed=1, stages=[plan("student", 7)], event_shape=[2]))
        bars.handle(curve("student", 9.5))  # it has not started
        bars.handle(events.StageStarted(run=RUN, seed=1, stage="student"))
        bars.handle(curve("student"))
        bars.handle(curve("student", 4.5, 2.5))
        bars.handle(progress("student", 3))
    shown = capsys.readouterr().err
    assert "seed 1 student" in shown
    assert "3/7" in shown
    assert "validation 2.5" in shown
    assert "teacher" not in shown
    assert "9.5" not in shown
