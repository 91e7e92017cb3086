"""Positions over the stages of a seed, pictures at a position, one request at a time, and back to live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from nfkd.protocol.requests import ReadPictures
from nfkd.protocol.roles import Role
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.timeline import Position, Timeline
from tests.gui.scripted_engine import ScriptRefusal, summary_of

DIGITS = ExperimentConfig.load("digits").to_toml()
RUN = "/runs/digits"
ALPHA = np.linspace(0, 1, 2)
Do = Callable[[Any], Any]


def draw(script: Any, stage: Role, *steps: int, seed: int = 1, final: bool = False, run: str = RUN) -> None:
    """Send samples and interpolations whose values are their step."""
    for step in steps:
        fields: Any = {"run": run, "seed": seed, "stage": stage, "step": step, "final": final}
        samples = np.full((4, 1, 8, 8), step, np.float32)
        script.emit(events.SamplesDrawn(**fields, temperature=0.7, samples=samples))
        images = np.full((1, 2, 1, 8, 8), step, np.float32)
        script.emit(events.InterpolationDrawn(**fields, mode="linear", alpha=ALPHA, images=images))


def finish(script: Any, stage: Role, best: int, seed: int = 1) -> None:
    draw(script, stage, best, seed=seed, final=True)
    script.emit(events.StageFinished(run=RUN, seed=seed, stage=stage, summary=summary_of(stage, seed, 2.5)))


def trained(script: Any, seeds: int = 1) -> None:
    """Train teacher and student; the baseline has begun."""
    script.begin(RUN, DIGITS, seeds=seeds)
    draw(script, "teacher", 0, 10, 20)
    finish(script, "teacher", 10)
    script.emit(events.StageStarted(run=RUN, seed=1, stage="student"))
    draw(script, "student", 0, 10)
    finish(script, "student", 10)
    script.emit(events.StageStarted(run=RUN, seed=1, stage="baseline"))
    draw(script, "baseline", 0)


POSITIONS = [
    Position("teacher", 0),
    Position("teacher", 10),
    Position("teacher", 20),
    Position("teacher", 10, final=True),
    Position("student", 0),
    Position("student", 10),
    Position("student", 10, final=True),
    Position("baseline", 0),
]


def shown(timeline: Timeline, kind: Any = "samples") -> list[tuple[int, bool] | None]:
    """Return the step of the picture of teacher, student and baseline, and whether it is final."""
    pictures = [timeline.picture(stage, kind) for stage in ("teacher", "student", "baseline")]
    return [None if picture is None else (picture.step, picture.final) for picture in pictures]


def reads(script: Any) -> list[tuple[str, int | None]]:
    return [(request.stage, request.step) for request in script.asked if isinstance(request, ReadPictures)]


@pytest.fixture
def timeline(ready: Studio) -> Timeline:
    return ready.timeline


@pytest.fixture
def client(ready: Studio) -> Any:
    return ready.clients[-1]  # type: ignore[attr-defined]


@pytest.fixture
def opened(ready: Studio, script: Any, do: Do, client: Any) -> Timeline:
    """The timeline of a run that was opened after it had trained."""

    async def scenario() -> None:
        trained(script)
        ready.open_run(RUN)
        await client.settled()

    do(scenario())
    return ready.timeline


def test_an_opened_run_has_the_positions_of_all_stages_in_their_order(opened: Timeline, script: Any) -> None:
    assert opened.positions == POSITIONS
    assert opened.is_live
    assert opened.index is None
    assert reads(script) == []


@pytest.mark.parametrize(
    ("index", "samples"),
    [
        (0, [(0, False), None, None]),
        (2, [(20, False), None, None]),
        (3, [(10, True), None, None]),
        (4, [(10, True), (0, False), None]),
        (6, [(10, True), (10, True), None]),
        (7, [(10, True), (10, True), (0, False)]),
    ],
)
def test_a_position_shows_ended_stages_as_they_ended_and_no_later_ones(
    opened: Timeline, client: Any, do: Do, index: int, samples: list[Any]
) -> None:
    async def scenario() -> None:
        opened.choose(index)
        assert opened.loading
        await client.settled()

    do(scenario())
    assert not opened.loading
    assert opened.index == index
    for kind in ("samples", "interpolation"):
        assert shown(opened, kind) == samples
    assert shown(opened, "density") == [None, None, None]
    picture = opened.picture(POSITIONS[index].stage, "samples")
    assert isinstance(picture, events.SamplesDrawn)
    assert (picture.samples == POSITIONS[index].step).all()


def test_live_shows_the_newest_pictures_again(opened: Timeline, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        opened.choose(0)
        await client.settled()
        draw(script, "baseline", 10)
        assert shown(opened) == [(0, False), None, None]
        opened.live()
        assert opened.is_live
        assert shown(opened) == [(10, True), (10, True), (10, False)]

    do(scenario())


def test_only_the_newest_position_is_asked_while_a_request_is_open(
    opened: Timeline, client: Any, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        changes = []
        opened.changed.connect(lambda: changes.append(opened.position))
        client.slow = (ReadPictures,)
        for index in range(6):
            opened.choose(index)
        assert len(client.waiting) == 1
        client.release()
        assert reads(script) == [("teacher", 0)]
        assert opened.loading
        client.release()
        assert reads(script) == [("teacher", 0), ("student", 10)]
        assert not client.waiting
        assert shown(opened) == [(10, True), (10, False), None]
        assert changes == [*POSITIONS[:6], POSITIONS[5]]

    do(scenario())


def test_pictures_are_cached(opened: Timeline, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for index in (0, 1, 0, 1):
            opened.choose(index)
            await client.settled()
            assert shown(opened)[0] == (POSITIONS[index].step, False)

    do(scenario())
    assert reads(script) == [("teacher", 0), ("teacher", 10)]


def test_the_cache_is_bounded(ready: Studio, client: Any, script: Any, do: Do) -> None:
    one = 4 * 64 * 4 + 2 * 64 * 4 + ALPHA.nbytes  # samples, one path of two steps, alpha
    timeline = Timeline(ready, ready, cache_bytes=2 * one)

    async def scenario() -> None:
        trained(script)
        ready.open_run(RUN)
        await client.settled()
        for index in (0, 1, 2, 1, 2, 0):
            timeline.choose(index)
            await client.settled()

    do(scenario())
    assert reads(script) == [("teacher", 0), ("teacher", 10), ("teacher", 20), ("teacher", 0)]


def test_positions_grow_while_the_run_trains_and_the_chosen_one_stays(
    ready: Studio, timeline: Timeline, client: Any, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await client.settled()
        assert timeline.positions == []
        draw(script, "teacher", 0, 10)
        assert timeline.positions == POSITIONS[:2]
        timeline.choose(1)
        await client.settled()
        draw(script, "teacher", 20)
        finish(script, "teacher", 10)
        script.emit(events.StageStarted(run=RUN, seed=1, stage="student"))
        draw(script, "student", 0)
        await client.settled()
        assert timeline.positions == POSITIONS[:5]
        assert timeline.index == 1
        assert shown(timeline) == [(10, False), None, None]

    do(scenario())


def test_a_resumed_stage_loses_its_later_positions(
    ready: Studio, opened: Timeline, client: Any, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        opened.choose(2)
        await client.settled()
        script.emit(events.StageStarted(run=RUN, seed=1, stage="teacher", step=10))
        await client.settled()
        assert opened.positions == POSITIONS[:2]
        assert opened.is_live

    do(scenario())


def test_pictures_from_before_a_resume_are_not_shown(opened: Timeline, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        client.slow = (ReadPictures,)
        opened.choose(0)
        script.emit(events.StageStarted(run=RUN, seed=1, stage="teacher", step=0))
        client.release()
        assert opened.loading
        assert shown(opened) == [None, None, None]  # still live
        client.release()
        assert shown(opened) == [(0, False), None, None]
        draw(script, "teacher", 10)
        assert opened.positions == POSITIONS[:2]

    do(scenario())


def test_another_seed_has_its_own_positions_and_shares_the_teacher(
    ready: Studio, client: Any, script: Any, do: Do
) -> None:
    timeline = ready.timeline

    async def scenario() -> None:
        trained(script, seeds=2)
        script.roles = ("student", "baseline")
        seed_stages = [events.StagePlan(stage=role, steps=100, curves=[]) for role in script.roles]
        script.emit(events.SeedStarted(run=RUN, seed=2, stages=seed_stages, event_shape=[1, 8, 8]))
        script.emit(events.StageStarted(run=RUN, seed=2, stage="student"))
        draw(script, "student", 0, 30, seed=2)
        ready.open_run(RUN)
        await client.settled()
        assert ready.seed == 2
        assert timeline.positions == [Position("student", 0), Position("student", 30)]
        timeline.choose(0)
        await client.settled()
        assert shown(timeline) == [(10, True), (0, False), None]
        ready.choose_seed(1)
        await client.settled()
        assert timeline.is_live
        assert timeline.positions == POSITIONS

    do(scenario())


def test_another_run_starts_live(opened: Timeline, ready: Studio, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        opened.choose(0)
        await client.settled()
        script.begin("/runs/other", DIGITS)
        draw(script, "teacher", 5, run="/runs/other")
        ready.open_run("/runs/other")
        await client.settled()
        assert opened.is_live
        assert opened.positions == [Position("teacher", 5)]
        ready.close_run()
        assert opened.positions == []
        assert shown(opened) == [None, None, None]

    do(scenario())


def test_a_snapshot_after_lost_events_keeps_the_position(opened: Timeline, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        opened.choose(1)
        await client.settled()
        script.emit(events.Gap())
        await client.settled()
        assert opened.index == 1
        assert shown(opened) == [(10, False), None, None]

    do(scenario())


def test_a_damaged_file_is_one_error_and_live_still_works(
    opened: Timeline, client: Any, script: Any, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = events.ErrorInfo(title="The run cannot be read", cause="run.h5 is damaged.")

    def refuse(request: Any) -> None:
        raise ScriptRefusal(error)

    async def scenario() -> None:
        opened.choose(0)
        await client.settled()
        monkeypatch.setattr(script, "_readpictures", refuse)
        opened.choose(4)
        await client.settled()
        assert opened.error is error
        assert not opened.loading
        assert shown(opened) == [(0, False), None, None]
        opened.live()
        assert opened.error is None
        assert shown(opened) == [(10, True), (10, True), (0, False)]

    do(scenario())


def test_matching_errors_are_those_of_the_position(opened: Timeline, client: Any, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for step in (0, 10, 20):
            script.emit(
                events.MatchingMeasured(run=RUN, seed=1, stage="student", step=step, error=np.array([step / 10]))
            )
        assert opened.matching("student") == (20, np.array([2.0]))
        assert opened.matching("baseline") is None
        for index, expected in ((0, None), (4, (0, [0.0])), (5, (10, [1.0])), (7, (20, [2.0]))):
            opened.choose(index)
            await client.settled()
            found = opened.matching("student")
            assert (None if found is None else (found[0], found[1].tolist())) == expected

    do(scenario())
