"""A snapshot followed by the later events equals all events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.protocol import events, records
from nfkd.protocol.codec import from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.requests import Answer, Snapshot
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunState
from nfkd.protocol.view import Curve, GrowableArray, RunView

RUN = "/runs/digits"
ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")


def row(state: RunState = "running", progress: float = 0.0) -> events.RunRow:
    return events.RunRow(
        run=RUN,
        name="digits",
        state=state,
        data="digits",
        teacher="Glow 8×2",
        student="Glow 2×2",
        created=0.0,
        seeds=2,
        seeds_done=0,
        progress=progress,
    )


def plan(stage: Role) -> events.StagePlan:
    pairs = [records.LayerPair(student="step1", teacher="step4", summary="student step 1 ↔ teacher step 4")]
    curves = [records.CurveInfo(name="train/total", label="total")]
    return events.StagePlan(stage=stage, steps=100, curves=curves, pairs=pairs if stage == "student" else [])


def seed_started(seed: int, *, resumed: bool = False) -> events.SeedStarted:
    stages = [plan(stage) for stage in ROLES]
    return events.SeedStarted(run=RUN, seed=seed, stages=stages, event_shape=[2], resumed=resumed)


def points(seed: int, stage: Role, steps: list[int]) -> events.CurvePoints:
    column = np.array(steps, np.float64)
    batch = events.CurveBatch(steps=column.astype(np.int64), values=np.sin(column) + seed, times=column / 10)
    return events.CurvePoints(run=RUN, seed=seed, stage=stage, curves={"train/total": batch, "train/nll": batch})


def samples(seed: int, stage: Role, step: int) -> events.SamplesDrawn:
    drawn = np.full((3, 2), step, np.float32)
    return events.SamplesDrawn(run=RUN, seed=seed, stage=stage, step=step, temperature=0.7, samples=drawn)


def density(seed: int, stage: Role, step: int) -> events.DensityDrawn:
    grid = np.full((2, 2), step, np.float64)
    return events.DensityDrawn(run=RUN, seed=seed, stage=stage, step=step, extent=(-1.0, 1.0, -1.0, 1.0), log_prob=grid)


def interpolation(seed: int, stage: Role, step: int) -> events.InterpolationDrawn:
    images = np.full((1, 3, 2), step, np.float32)
    alpha = np.linspace(0, 1, 3)
    return events.InterpolationDrawn(
        run=RUN, seed=seed, stage=stage, step=step, mode="linear", alpha=alpha, images=images
    )


def matching(seed: int, step: int, stage: Role = "student") -> events.MatchingMeasured:
    return events.MatchingMeasured(run=RUN, seed=seed, stage=stage, step=step, error=np.array([1.0 / (1 + step)]))


def finished(seed: int, stage: Role) -> events.StageFinished:
    summary = events.StageSummary(
        stage=stage,
        seed=seed,
        parameters=10,
        multiply_adds=20,
        steps=100,
        best_step=90,
        validation=1.5,
        test=1.6,
        test_error=0.1,
        unit="nats",
        samples_per_second=1e4,
        seconds=2.0,
    )
    return events.StageFinished(run=RUN, seed=seed, stage=stage, summary=summary)


def log_line(text: str) -> events.LogLine:
    return events.LogLine(run=RUN, level="info", text=text, time=1.0)


def progress(seed: int, stage: Role, step: int) -> events.Progress:
    return events.Progress(
        run=RUN, seed=seed, stage=stage, step=step, steps=100, steps_per_second=9.0, seconds_left=3.0, fraction=0.5
    )


# --- generated runs ---------------------------------------------------------------------------------------------------


@st.composite
def stage_events(draw: Any, seed: int, stage: Role, first: int) -> list[events.RunEvent]:
    seen: list[events.RunEvent] = [events.StageStarted(run=RUN, seed=seed, stage=stage, step=first)]
    step = first
    for _ in range(draw(st.integers(0, 6))):
        size = draw(st.integers(1, 90))
        seen.append(points(seed, stage, list(range(step + 1, step + 1 + size))))
        step += size
        extras = [
            samples(seed, stage, step),
            density(seed, stage, step),
            interpolation(seed, stage, step),
            progress(seed, stage, step),
            log_line(f"{stage} {step}"),
            events.RunChanged(run=RUN, row=row(progress=step / 1000)),
        ]
        seen += draw(st.lists(st.sampled_from(extras), max_size=4))
        seen += [matching(seed, step)] if stage == "student" else []
    return seen


@st.composite
def runs(draw: Any) -> list[events.RunEvent]:
    """A run of one or two seeds, possibly interrupted and resumed from a checkpoint."""
    seen: list[events.RunEvent] = []
    for seed in range(1, draw(st.integers(1, 2)) + 1):
        seen.append(seed_started(seed))
        for stage in ROLES:
            seen += draw(stage_events(seed, stage, 0))
            if draw(st.integers(0, 5)) == 0:
                seen.append(events.RunFailed(run=RUN, error=events.ErrorInfo(title="It broke", cause="power")))
                seen.append(seed_started(seed, resumed=True))
                seen += draw(stage_events(seed, stage, draw(st.integers(0, 200))))
            seen.append(finished(seed, stage))
    verdict = events.Verdict(
        verdict="inconclusive",
        metric="test likelihood",
        unit="nats",
        difference=0.1,
        low=float("nan"),
        high=float("nan"),
        seeds=[1],
        differences=[0.1],
        summary="One seed says nothing.",
    )
    ends: list[events.RunEvent] = [
        events.RunFinished(run=RUN, state="finished", verdict=verdict),
        events.RunFailed(run=RUN, error=events.ErrorInfo(title="Disk full", cause="no space")),
    ]
    return [*seen, draw(st.sampled_from(ends))]


def apply_all(view: RunView, seen: list[events.RunEvent]) -> RunView:
    for event in seen:
        view.apply(event)
    return view


def over_the_wire(snapshot: Snapshot) -> Snapshot:
    (body,) = FrameDecoder().feed(to_wire(Answer(id=1, reply=snapshot)))
    answer = from_engine(body)
    assert isinstance(answer, Answer)
    assert isinstance(answer.reply, Snapshot)
    return answer.reply


def as_bytes(view: RunView) -> bytes:
    """The state as bytes, so that equal views with NaN compare equal."""
    return to_wire(Answer(id=1, reply=view.snapshot()))


@settings(max_examples=50)
@given(runs(), st.data())
def test_a_snapshot_and_the_later_events_equal_all_events(seen, data):
    cut = data.draw(st.integers(0, len(seen)))
    early = apply_all(RunView(row(), "name = 'digits'"), seen[:cut])
    late = apply_all(RunView.from_snapshot(over_the_wire(early.snapshot())), seen[cut:])
    whole = apply_all(RunView(row(), "name = 'digits'"), seen)
    assert as_bytes(late) == as_bytes(whole)
    assert late.current == whole.current


@settings(max_examples=20)
@given(runs())
def test_a_snapshot_does_not_change_afterwards(seen):
    half = len(seen) // 2
    view = apply_all(RunView(row(), ""), seen[:half])
    snapshot = view.snapshot()
    before = to_wire(Answer(id=1, reply=snapshot))
    apply_all(view, seen[half:])
    assert to_wire(Answer(id=1, reply=snapshot)) == before


# --- the state of a run -----------------------------------------------------------------------------------------------


def test_curve_points_are_appended():
    view = apply_all(RunView(row(), ""), [points(1, "teacher", [1, 2, 3]), points(1, "teacher", [4, 5])])
    curve = view.stages[1, "teacher"].curves["train/total"]
    assert len(curve) == 5
    np.testing.assert_array_equal(curve.steps, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(curve.values, np.sin([1, 2, 3, 4, 5]) + 1)
    np.testing.assert_array_equal(curve.times, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_newest_picture_and_all_matching_errors_are_kept():
    seen = [samples(1, "student", 10), samples(1, "student", 20), matching(1, 10), matching(1, 20)]
    view = apply_all(RunView(row(), ""), seen).stages[1, "student"]
    assert view.samples is seen[1]
    assert view.matching_steps == [10, 20]
    np.testing.assert_allclose(view.matching_errors, [[1 / 11], [1 / 21]])


def test_matching_errors_are_kept_per_stage():
    view = apply_all(
        RunView(row(), ""), [matching(1, 10, "assistant-1"), matching(1, 20, "student"), matching(1, 30, "assistant-1")]
    )
    assert view.stages[1, "assistant-1"].matching_steps == [10, 30]
    assert view.stages[1, "student"].matching_steps == [20]


def test_roles_are_ordered_and_the_usual_ones_before_the_first_seed():
    view = RunView(row(), "")
    assert view.roles() == ["teacher", "student", "baseline"]
    stages: list[Role] = ["student", "assistant-1", "teacher"]
    plans = [events.StagePlan(stage=stage, steps=1, curves=[]) for stage in stages]
    view.apply(events.SeedStarted(run=RUN, seed=1, stages=plans, event_shape=[2]))
    assert view.roles() == ["teacher", "assistant-1", "student"]


def test_a_resumed_stage_drops_everything_after_its_checkpoint():
    seen = [
        seed_started(1),
        events.StageStarted(run=RUN, seed=1, stage="student"),
        points(1, "student", [100, 200, 300]),
        matching(1, 200),
        matching(1, 300),
        density(1, "student", 200),
        samples(1, "student", 300),
        finished(1, "student"),
        events.StageStarted(run=RUN, seed=1, stage="baseline"),
        points(1, "baseline", [100]),
        events.RunFailed(run=RUN, error=events.ErrorInfo(title="It broke", cause="power")),
    ]
    view = apply_all(RunView(row(), ""), seen)
    assert view.error is not None
    again = [
        seed_started(1, resumed=True),
        events.StageStarted(run=RUN, seed=1, stage="student", step=200),
        points(1, "student", [300]),
    ]
    apply_all(view, again)
    stage = view.stages[1, "student"]
    assert stage.curves["train/nll"].steps.tolist() == [100, 200, 300]
    assert stage.matching_steps == [200]
    assert len(stage.matching_errors) == 1
    assert stage.density is seen[5]
    assert stage.samples is None
    assert stage.summary is None
    assert (1, "baseline") not in view.stages
    assert view.current == (1, "student")
    assert view.error is None


def test_plans_pairs_and_summaries():
    view = apply_all(RunView(row(), ""), [seed_started(2), finished(2, "student")])
    student = view.plan(2, "student")
    assert student is not None
    assert student.steps == 100
    assert view.plan(1, "student") is None
    assert [pair.teacher for pair in view.pairs(2)] == ["step4"]
    assert view.pairs(1) == []
    assert [summary.stage for summary in view.summaries()] == ["student"]


def test_the_log_keeps_its_last_lines():
    view = apply_all(RunView(row(), ""), [log_line(str(number)) for number in range(2500)])
    assert len(view.log) == 2000
    assert [view.log[0].text, view.log[-1].text] == ["500", "2499"]


def test_the_current_stage_of_an_old_snapshot_is_its_last():
    view = apply_all(RunView(row(), ""), [events.StageStarted(run=RUN, seed=1, stage="teacher")])
    snapshot = view.snapshot()
    old = Snapshot(row=snapshot.row, config="", seeds=[], stages=snapshot.stages, log=[])
    assert RunView.from_snapshot(old).current == (1, "teacher")


# --- growable arrays --------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(allow_nan=False), max_size=80), max_size=8))
def test_a_growable_array_concatenates_its_pieces(pieces):
    grown = GrowableArray(np.float64)
    for piece in pieces:
        grown.extend(np.array(piece))
    assert grown.values.tolist() == [value for piece in pieces for value in piece]
    assert len(grown) == sum(map(len, pieces))


def test_rows_of_another_shape_are_refused():
    grown = GrowableArray(np.float64, (2,))
    grown.extend(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="broadcast"):
        grown.extend(np.zeros((1, 3)))


def test_a_batch_is_a_copy():
    curve = Curve()
    batch = events.CurveBatch(steps=np.array([1]), values=np.array([2.0]), times=np.array([3.0]))
    curve.extend(batch)
    taken = curve.batch()
    curve.extend(batch)
    assert taken.steps.tolist() == [1]
    assert curve.steps.tolist() == [1, 1]


def test_a_seed_without_a_teacher_of_its_own_has_that_of_the_first_seed() -> None:
    view = RunView(row(), "")
    started: list[tuple[int, Role]] = [(1, "teacher"), (1, "student"), (2, "baseline")]
    for seed, stage in started:
        view.apply(seed_started(seed))
        view.apply(events.StageStarted(run=RUN, seed=seed, stage=stage))
    assert view.find_stage(2, "teacher") is view.stages[1, "teacher"]
    assert view.find_stage(2, "baseline") is view.stages[2, "baseline"]
    assert view.find_stage(2, "student") is None
