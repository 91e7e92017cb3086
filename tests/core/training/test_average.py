"""The running average of the weights: its values, and that it is validated and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.flows import MAFConfig
from nfkd.data import load_dataset
from nfkd.evaluation.likelihood import example_nll
from nfkd.flows.architectures import build_flow
from nfkd.training.checkpoint import load_checkpoint
from nfkd.training.weight_average import WeightAverage, decay_at
from tests.core.tiny import digits, moons
from tests.core.training.stage import Weights, train


def recursion(history: list[Weights], decay: float) -> Weights:
    """Compute e ← d·e + (1 − d)·θ in float64 from the first weights on; integers and flags are the newest."""
    average = {name: value.double() for name, value in history[0].items()}
    for step, weights in enumerate(history[1:], start=2):
        rate = min(decay, (1 + step) / (10 + step))
        average = {name: rate * average[name] + (1 - rate) * weights[name].double() for name in average}
    return {name: average[name].float() if value.is_floating_point() else value for name, value in history[-1].items()}


BATCH_NORM = {"kind": "maf", "steps": 2, "hidden": 8, "batch_norm": True}


@pytest.mark.parametrize("make", [moons, digits, lambda **changes: moons(teacher=BATCH_NORM, **changes)])
@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_follows_its_recursion(make: Callable[..., ExperimentConfig], decay: float) -> None:
    state, history = train(make(training={"ema_decay": decay, "learning_rate": 0.02}), 25)
    assert state.average is not None
    expected = recursion(history, decay)
    for name, value in state.average.flow.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(expected[name], value) for name, value in history[-1].items())


def test_the_decay_rises_to_its_maximum() -> None:
    assert [decay_at(0.9, step) for step in (1, 8, 71, 72, 1000)] == pytest.approx([2 / 11, 0.5, 72 / 81, 73 / 82, 0.9])


def test_the_average_of_constant_weights_is_exact() -> None:
    flow = build_flow(MAFConfig(steps=2, hidden=6, batch_norm=True), (4,))
    average = WeightAverage(flow, 0.97)
    for step in range(2, 40):
        average.update(step)
    for name, value in average.flow.state_dict().items():
        torch.testing.assert_close(value, flow.state_dict()[name], rtol=0, atol=0)


def test_averaging_does_not_change_training_and_the_average_is_validated_and_kept() -> None:
    plain, history = train(digits(training={"ema_decay": 0.0}), 20)
    averaged, same = train(digits(training={"ema_decay": 0.9}), 20)
    for first, second in zip(history, same, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert plain.average is None
    config = digits()
    dataset = load_dataset(config.data)
    flow = build_flow(config.teacher, dataset.event_shape)
    results = {}
    for step in (5, 10, 15, 20):
        flow.load_state_dict(recursion(history[:step], 0.9))
        results[step] = float(example_nll(flow, dataset, dataset.validation).mean())
    assert averaged.best_step == min(results, key=lambda step: results[step])
    assert averaged.best == pytest.approx(min(results.values()), rel=1e-5)
    expected = recursion(history[: averaged.best_step], 0.9)
    for name, value in averaged.flow.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_a_run_saves_the_average_and_its_checkpoint_has_both(tmp_path: Path) -> None:
    config = moons(training={"ema_decay": 0.95, "learning_rate": 0.01, "schedule": "constant"})
    saved_weights: dict[str, Weights] = {}

    def keep(event: object) -> None:
        checkpoint = load_checkpoint(tmp_path / "run") if type(event).__name__ == "CurvePoints" else None
        if checkpoint is not None and checkpoint.position.stage == "student" and checkpoint.tensors:
            saved_weights.update({name: checkpoint.group(name) for name in ("model", "average", "best")})

    record = nfkd.run(config, tmp_path / "run", on_event=keep)
    assert saved_weights["model"].keys() == saved_weights["average"].keys() == saved_weights["best"].keys()
    assert any(not torch.equal(value, saved_weights["average"][name]) for name, value in saved_weights["model"].items())
    dataset = load_dataset(config.data)
    for summary in record.summary:
        best = record.curves[summary.stage]["validation/nll"].values.min()
        assert summary.validation == pytest.approx(best, rel=1e-5)
    student = record.load_student().scaled
    assert example_nll(student, dataset, dataset.validation).mean() == pytest.approx(record.summary[1].validation)
    saved = load_file(tmp_path / "run" / "student.safetensors")
    assert saved.keys() == saved_weights["average"].keys()


def test_a_stage_without_a_finite_validation_keeps_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfkd.training.loop.example_nll", lambda *_: np.array([np.nan]))
    state, history = train(moons(training={"ema_decay": 0.9}), 12)
    expected = recursion(history, 0.9)
    for name, value in state.flow.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
