"""The time of a run as a sum over its parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.planning.describe import describe
from nfkd.planning.times import UnitTimes, first_shares, rough_units, stage_time, time_estimate
from nfkd.protocol.roles import ROLES, Role
from tests.core.tiny import digits, moons

UNITS: dict[Role, UnitTimes] = {
    role: UnitTimes(
        step=number, evaluation=10.0 * number, picture=100.0, checkpoint=1000.0, pool=7.0 * number, summary=5.0
    )
    for number, role in enumerate(ROLES, 1)
}


def seconds_of_loop(config: ExperimentConfig, steps: int, unit: UnitTimes) -> float:
    """Return the time of a stage by the conditions in the training loop, step by step."""
    monitor, total = config.monitor, unit.pool + unit.summary
    for step in range(1, steps + 1):
        total += unit.step
        total += unit.evaluation * (step % monitor.evaluate_every == 0 or step == steps)
        total += unit.picture * (step % monitor.pictures_every == 0 or step in (1, steps))
        total += unit.checkpoint * (step % config.training.checkpoint_every == 0)
    return total


@given(
    steps=st.integers(1, 60), evaluate=st.integers(1, 70), pictures=st.integers(1, 70), checkpoint=st.integers(1, 70)
)
def test_a_stage_takes_what_its_loop_does(steps: int, evaluate: int, pictures: int, checkpoint: int) -> None:
    config = moons(
        training={"teacher_steps": steps, "checkpoint_every": checkpoint},
        monitor={"evaluate_every": evaluate, "pictures_every": pictures},
    )
    unit = UNITS["teacher"]
    assert stage_time(config, "teacher", unit).seconds == pytest.approx(seconds_of_loop(config, steps, unit))


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, ["teacher", "student", "baseline"]),
        ({"seeds": {"count": 3}}, ["teacher", *["student", "baseline"] * 3]),
        ({"seeds": {"count": 2, "retrain_teacher": True}}, ["teacher", "student", "baseline"] * 2),
        ({"training": {"baseline": False}}, ["teacher", "student"]),
        (
            {"training": {"ablations": True}, "distillation": {"inherit": "blocks"}},
            ["teacher", "student", "baseline", "ablation"],
        ),
    ],
)
def test_a_run_takes_what_the_stages_of_its_seeds_do(changes: dict[str, Any], stages: list[Role]) -> None:
    config = moons(**changes)
    estimate = time_estimate(config, UNITS, preparation=3.0)
    steps = {"teacher": config.training.teacher_steps}
    expected = [seconds_of_loop(config, steps.get(role, config.training.student_steps), UNITS[role]) for role in stages]
    assert estimate.seconds == pytest.approx(3.0 + sum(expected))
    assert [stage.stage for stage in estimate.stages] == stages[: len(estimate.stages)]


def test_a_search_takes_three_baselines_without_pictures() -> None:
    config = moons(training={"baseline_search": True, "optimizer": "adamw"})
    steps, unit = config.training.student_steps, UNITS["baseline"]
    once = steps * unit.step + steps // config.monitor.evaluate_every * unit.evaluation
    assert time_estimate(config, UNITS, 0.0).search == pytest.approx(3 * once)
    assert time_estimate(moons(), UNITS, 0.0).search == 0.0


def test_a_given_teacher_makes_no_steps() -> None:
    config = moons(training={"teacher_weights": "/a/teacher.safetensors"})
    units: dict[Role, UnitTimes] = {**UNITS, "teacher": UnitTimes(step=0.0, summary=2.0)}
    teacher = time_estimate(config, units, 0.0).stages[0]
    assert (teacher.steps, teacher.seconds) == (0, 2.0)


@pytest.mark.parametrize("config", [moons(), digits(distillation={"pool": {"share": 0.5}})])
def test_larger_flows_take_longer_also_where_nothing_is_measured(config: ExperimentConfig) -> None:
    units = rough_units(config, describe(config), load_dataset(config.data))
    assert units["teacher"].step > units["baseline"].step > 0
    assert units["student"].step > units["baseline"].step
    assert units["student"].pool > 0  # the pool, or the teacher's passes over a table
    uncached = config.replace(distillation={"cache": 0})
    without = rough_units(uncached, describe(uncached), load_dataset(config.data))["student"].pool
    assert (without > 0) == (config.distillation.pool.share > 0)


def test_shares_are_those_of_the_weighted_norms_at_the_first_step() -> None:
    terms = {"nll": {"weight": 3.0}, "lkd": {"weight": 1.0}, "ilkd": {"weight": 0.0}, "skd": {"weight": 0.0}}
    norms = {"nll": 0.5, "lkd": 2.0}
    assert first_shares(moons(distillation=terms), norms) == pytest.approx({"nll": 1.5 / 3.5, "lkd": 2.0 / 3.5})
    warm = {"lkd": {"weight": 1.0, "schedule": "warmup", "schedule_span": 0.5}}  # over 10 of the 20 steps
    assert first_shares(moons(distillation=terms | warm), norms) == pytest.approx({"nll": 1.5 / 1.7, "lkd": 0.2 / 1.7})
    balanced = moons(distillation=terms | {"balance": "gradient_norm"})
    assert first_shares(balanced, norms) == pytest.approx({"nll": 0.75, "lkd": 0.25})


def test_shares_that_were_not_measured_are_not_invented() -> None:
    assert first_shares(moons(), {}) == {}
    assert first_shares(moons(), dict.fromkeys(moons().distillation.active_terms(), 0.0)) == {}
    alone = {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}
    assert first_shares(moons(distillation=alone), {}) == {"nll": 1.0}
