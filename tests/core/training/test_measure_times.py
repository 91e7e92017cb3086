"""The measurement of an experiment's parts before it runs."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
import torch

import nfkd
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.planning.plans import run_roles
from nfkd.planning.times import time_estimate
from nfkd.training.measure_times import MeasurementStopped, measure_times
from tests.core.tiny import digits, moons
from tests.core.training.runs import every_term, with_assistants

SECONDS = 0.4


@pytest.mark.parametrize(
    "config",
    [
        moons(seeds={"count": 2}),
        with_assistants(distillation={"pool": {"share": 0.5, "size": 300}, "inherit": "blocks"}),
        every_term(),
        digits(data={"class_labels": True}, distillation={"pool": {"share": 0.5, "size": 64}}),
    ],
    ids=["moons", "assistants and pool", "every term", "conditional"],
)
def test_every_stage_takes_time(config: ExperimentConfig) -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    measured = measure_times(config, seconds=SECONDS)
    estimate = time_estimate(config, measured.units, measured.preparation, measured.guessed)
    assert [stage.stage for stage in estimate.stages] == run_roles(config)
    for stage in estimate.stages:
        assert stage.step_seconds > 0
        assert stage.summary > 0
        assert (stage.pool > 0.001) >= (config.distillation.pool.share > 0 and stage.stage == "student")
    if "student" not in measured.guessed:  # a busy machine has no time for it
        assert set(measured.norms) == set(config.distillation.active_terms())
    assert all(norm > 0 for norm in measured.norms.values())
    assert estimate.seconds > sum(stage.seconds for stage in estimate.stages)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_stages_without_time_are_guessed() -> None:
    measured = measure_times(moons(), seconds=1e-9)
    assert measured.guessed == ("student", "baseline", "ablation")
    assert measured.units["teacher"].step > measured.units["student"].step / 10 > 0
    assert not measured.norms


def test_a_given_teacher_is_not_trained(tmp_path: Path) -> None:
    steps = {"teacher_steps": 2, "student_steps": 2, "baseline": False}
    nfkd.run(moons(training=steps), tmp_path / "run")
    config = moons(training=steps | {"teacher_weights": str(tmp_path / "run")})
    measured = measure_times(config, seconds=SECONDS)
    assert measured.units["teacher"].step == 0
    assert measured.units["teacher"].summary > 0
    assert measured.units["student"].step > 0


def test_a_measurement_can_be_stopped_and_problems_are_reported() -> None:
    calls = count()
    with pytest.raises(MeasurementStopped):
        measure_times(moons(), lambda: next(calls) == 3)
    with pytest.raises(ConfigError, match=r"training\.baseline_search"):
        measure_times(moons(training={"baseline_search": True}))
