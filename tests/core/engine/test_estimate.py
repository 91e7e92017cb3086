"""Requests for the time of an experiment: measured, kept, stopped, or refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nfkd.engine.core import Refused
from nfkd.engine.estimate_service import cache_key
from nfkd.protocol import requests as ask
from nfkd.protocol.times import EstimateTime, TimeEstimate
from tests.core.engine.test_engine import LONG, Watched, refusal, run_engine
from tests.core.tiny import moons


async def estimate(watched: Watched, **changes: object) -> TimeEstimate:
    reply = await watched.engine.answer(EstimateTime(config=moons(**changes).to_toml()))
    assert isinstance(reply, TimeEstimate)
    return reply


def test_a_time_is_measured_once_and_kept_for_other_budgets_names_and_seeds() -> None:
    async def scenario(watched: Watched) -> None:
        first = await estimate(watched)
        assert not first.cached
        assert [(stage.stage, stage.steps) for stage in first.stages] == [
            ("teacher", 30),
            ("student", 20),
            ("baseline", 20),
        ]
        again = await estimate(watched, name="other", seeds={"count": 3}, training={"teacher_steps": 3000})
        assert again.cached
        assert again.stages[0].steps == 3000
        assert [stage.step_seconds for stage in again.stages] == [stage.step_seconds for stage in first.stages]
        assert again.stages[1] is not first.stages[1]
        assert again.seconds > first.seconds

    run_engine(scenario)


def test_gradient_shares_follow_the_weights_without_another_measurement() -> None:
    off = {"ilkd": {"weight": 0.0}, "skd": {"weight": 0.0}}

    async def scenario(watched: Watched) -> None:
        first = await estimate(watched, distillation=off | {"nll": {"weight": 1.0}, "lkd": {"weight": 1.0}})
        ratio = first.shares["lkd"] / first.shares["nll"]
        again = await estimate(watched, distillation=off | {"nll": {"weight": 1.0}, "lkd": {"weight": 0.25}})
        assert again.cached
        assert again.shares["lkd"] / again.shares["nll"] == pytest.approx(ratio / 4)
        assert sum(again.shares.values()) == pytest.approx(1)

    run_engine(scenario)


def test_only_what_the_times_depend_on_is_part_of_the_key() -> None:
    same = moons(description="x", training={"learning_rate": 0.5, "ablations": True}, monitor={"temperature": 0.5})
    assert cache_key(same) == cache_key(moons())
    for other in (
        moons(training={"batch_size": 64}),
        moons(teacher={"steps": 4}),
        moons(compute={"threads": 2}),
        moons(distillation={"lkd": {"weight": 0.0}}),
        moons(monitor={"sample_count": 9}),
    ):
        assert cache_key(other) != cache_key(moons())


def test_an_experiment_with_problems_is_refused_like_a_run(tmp_path: Path) -> None:
    text = moons(training={"baseline_search": True}).to_toml()

    async def scenario(watched: Watched) -> None:
        description = await watched.engine.answer(ask.Describe(config=text))
        assert isinstance(description, ask.Description)
        refused = await refusal(watched.engine, EstimateTime(config=text))
        assert refused.problems == description.problems != []
        run = await refusal(watched.engine, ask.Run(config=text, folder=str(tmp_path)))
        assert (run.error.title, run.error.cause) == (refused.error.title, refused.error.cause)

    run_engine(scenario)


def test_nothing_is_measured_while_a_run_trains(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        await estimate(watched)
        run = await watched.start(moons(**LONG), tmp_path)
        await watched.state(run, "running")
        assert (await estimate(watched)).cached
        refused = await refusal(watched.engine, EstimateTime(config=moons(teacher={"steps": 4}).to_toml()))
        assert "A run is training" in refused.error.cause
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.ended(run)

    run_engine(scenario)


@pytest.mark.parametrize("newer", ["estimate", "run"])
def test_a_newer_request_and_a_run_stop_a_measurement(newer: str, tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        first = asyncio.create_task(estimate(watched, data={"kind": "two_moons", "count": 500}))
        await asyncio.sleep(0)  # it begins
        status = await watched.engine.answer(ask.Status())  # is answered meanwhile
        assert isinstance(status, ask.EngineStatus)
        assert not first.done()
        if newer == "estimate":
            assert not (await estimate(watched)).cached
            reason = "A newer request asked for another experiment."
        else:
            run = await watched.start(moons(training={"teacher_steps": 1, "student_steps": 1}), tmp_path)
            await watched.ended(run)
            reason = "A run"
        with pytest.raises(Refused) as refused:
            await first
        assert refused.value.error.cause.startswith(reason)

    run_engine(scenario)


def test_two_requests_for_one_experiment_share_a_measurement() -> None:
    async def scenario(watched: Watched) -> None:
        first, second = await asyncio.gather(estimate(watched), estimate(watched, name="other"))
        assert first.stages[0].step_seconds == second.stages[0].step_seconds

    run_engine(scenario)
