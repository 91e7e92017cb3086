"""Runs in which the teacher passes over the training examples once: fewer passes, the same training, resumed runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in
from nfkd.planning.describe import describe
from nfkd.planning.plans import described_cache, stage_costs
from nfkd.planning.teacher_cache import TeacherCache
from nfkd.protocol.events import RunChanged, RunEvent
from nfkd.training.control import Control, LiveWeights
from nfkd.training.job import execute_run
from nfkd.training.measure_teacher import measure_teacher
from nfkd.training.seed_run import seed_checkpoint
from tests.core.tiny import digits, moons
from tests.core.training.runs import TrainedRun, assert_same, stop_run

Trained = Callable[[ExperimentConfig], TrainedRun]
TERMS: dict[str, Any] = {"skd": {"weight": 0.0}, "log_det": {"weight": 0.1}, "density": {"weight": 0.1}}
DRAWS: dict[str, Any] = {"noise_draws": 2, "student_examples": 100}  # 200 rows for 20 steps of 32


def cached(make: Callable[..., ExperimentConfig], **changes: Any) -> ExperimentConfig:
    training = (DRAWS if make is digits else {}) | changes.pop("training", {})
    return make(distillation=TERMS | changes.pop("distillation", {}), training=training, **changes)


def without(make: Callable[..., ExperimentConfig]) -> ExperimentConfig:
    return cached(make, distillation={"cache": 0})


def test_the_cache_changes_the_training_by_rounding_only(trained: Trained) -> None:
    found, plain = trained(cached(digits)).record.curves, trained(without(digits)).record.curves
    for name in ("train/total", "train/nll", "train/lkd", "train/ilkd", "train/log_det", "train/density"):
        values, expected = (curves["student"][name].values for curves in (found, plain))
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)
    values, expected = (curves["baseline"]["train/nll"].values for curves in (found, plain))
    np.testing.assert_array_equal(values, expected)


def test_the_teacher_passes_once_over_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    forward = Flow.forward

    def counted(self: Flow, x: torch.Tensor, *rest: Any, **named: Any):
        if not self.training and not any(value.requires_grad for value in self.parameters()) and "trace" in named:
            passes.append(len(x))
        return forward(self, x, *rest, **named)

    monkeypatch.setattr(Flow, "forward", counted)
    quiet = {"monitor": {"pictures_every": 1_000_000, "evaluate_every": 1_000_000}}
    nfkd.run(cached(moons, **quiet), tmp_path / "cached")
    assert passes[:2] == [256, 24]  # the 280 examples
    assert passes.count(32) == 0
    passes.clear()
    nfkd.run(cached(moons, distillation={"cache": 0}, **quiet), tmp_path / "plain")
    assert passes.count(32) == 20


def test_a_resumed_run_is_the_same_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    config = cached(digits)
    stop_run(tmp_path / "run", config, "student", 13)
    assert execute_run(tmp_path / "run", config, lambda _: None, Control(), resume=True) == "finished"
    assert_same(trained(config).record.path, tmp_path / "run", config)


def test_a_run_that_is_paused_while_the_passes_are_made_gives_its_weights(tmp_path: Path) -> None:
    config, weights, control = cached(moons, seeds={"count": 1}), list[Future[LiveWeights]](), Control()
    stop_run(tmp_path / "run", config, "student", 13)
    checkpoint = seed_checkpoint(tmp_path / "run", config, config.seeds.first)
    assert checkpoint is not None

    def watch(event: RunEvent) -> None:
        if isinstance(event, RunChanged) and event.row.state == "paused":
            weights.append(control.live_weights())
            weights[0].add_done_callback(lambda _: control.resume())

    control.pause()
    assert execute_run(tmp_path / "run", config, watch, control, resume=True) == "finished"
    live = weights[0].result(timeout=0)
    assert (live.stage, live.step) == ("student", 13)
    stored = checkpoint.group("average") or checkpoint.group("model")
    assert live.weights.keys() == stored.keys()
    assert all(torch.equal(value, stored[name]) for name, value in live.weights.items())


def test_what_is_cached_depends_on_size_and_steps() -> None:
    def share(config: ExperimentConfig) -> float:
        return described_cache(config, describe(config), "student").share

    assert share(cached(moons)) == 1
    assert share(cached(moons, distillation={"pool": {"share": 0.5}})) == 1
    assert share(cached(digits)) == 1
    assert share(cached(digits, training={"noise_draws": 0})) == 0
    assert share(cached(digits, training={"noise_draws": 0}, distillation={"pool": {"share": 0.5}})) == 0.5
    assert share(cached(moons, training={"student_steps": 8})) == 0  # 8 steps of 32 are fewer than 280 rows
    assert share(cached(moons, distillation={"score": {"weight": 0.1}})) == 0  # needs the graph to x
    assert share(cached(digits, training={"student_examples": 0, "student_steps": 1000})) == 1
    large = {"student_examples": 0, "student_steps": 10_000, "noise_draws": 1000}
    assert share(cached(digits, training=large, distillation={"cache": 1})) == 0


def test_the_estimates_know_the_cache() -> None:
    with_cache, plain = cached(digits), without(digits)
    costs = [stage_costs(config, describe(config))["student"] for config in (with_cache, plain)]
    nll = digits(distillation={name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}, training=DRAWS)
    assert costs[0] == pytest.approx(stage_costs(nll, describe(nll))["student"])
    assert costs[1] > costs[0]
    memory = [describe(config).student for config in (with_cache, plain)]
    assert memory[0] is not None
    assert memory[1] is not None
    # log p, log-determinant, 64 latents, and the matched layers of 4×4×4 and 8×2×2 with their log-determinants
    assert memory[0].memory - memory[1].memory == 200 * 4 * (2 + 64 + 64 + 1 + 32 + 1)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_measured_passes_have_the_precision_of_training(precision: Precision) -> None:
    dataset = load_dataset(moons().data)
    teacher = build_flow(moons().teacher, (2,), generator=torch.Generator().manual_seed(0)).eval()
    teacher.initialize(torch.randn(64, 2, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        for number, value in enumerate(teacher.parameters()):  # the last layers of new networks are zero
            value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number))

    def timed(work: Callable[[], Any]) -> float:
        work()
        return 1.0

    cache, settings = TeacherCache(train=True), moons().distillation.pool
    some = dataset.with_training_examples(30)
    learnt = measure_teacher(
        teacher, settings, dataset, some, cache, precision=precision, timed=timed, between=lambda: None
    )
    assert learnt.seconds == pytest.approx(len(dataset.train) / 30)
    assert learnt.known.train is not None
    with torch.no_grad(), networks_in(precision):
        expected = teacher.log_prob(some.fixed_batch().x)
    torch.testing.assert_close(learnt.known.train.log_prob, expected)
    assert learnt.known.train.log_prob.equal(teacher.log_prob(some.fixed_batch().x)) is (precision == "float32")


@pytest.mark.parametrize(("ema_decay", "copies"), [(0.0, 3), (0.9, 4)])
def test_the_estimate_has_the_copy_of_the_state_that_values_read_together_need(ema_decay: float, copies: int) -> None:
    """Weights and both moments of Adam, and the average, which does not need moments."""
    single, together = (
        describe(moons(training={"ema_decay": ema_decay}, compute={"device": "cpu", "check_every": every})).teacher
        for every in (1, 16)
    )
    assert single is not None
    assert together is not None
    assert together.memory - single.memory == copies * 4 * single.parameters


def test_the_cache_of_an_older_experiment_is_kept() -> None:
    flow = {"kind": "glow1d"}
    document: dict[str, Any] = {"data": {"kind": "two_moons"}, "teacher": flow, "student": flow}
    config = ExperimentConfig.from_dict(document | {"distillation": {"pool": {"share": 0.5, "cache": 7}}})
    assert config.distillation.cache == 7
    assert config.distillation.pool.share == 0.5
    assert config.notices == []
