"""Micro-batches and bf16, against plain training; all training options with every flow for vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.evaluation.likelihood import example_nll, noisy
from nfkd.flows.precision import networks_in
from nfkd.protocol.records import SYSTEM
from nfkd.protocol.roles import Role
from nfkd.runs.reader import CurveData
from tests.core.tiny import digits, moons
from tests.core.training.runs import TrainedRun
from tests.core.training.stage import train

ALL: dict[str, Any] = {
    "optimizer": "adamw", "weight_decay": 0.1, "ema_decay": 0.95, "precision": "bf16", "accumulate": 3,
    "activations": "recompute",
}  # fmt: skip


Curves = Mapping[Role, Mapping[str, CurveData]]


def assert_close_curves(curves: Curves, expected: Curves) -> None:
    for stage, found in curves.items():
        assert found.keys() == expected[stage].keys()
        for name in (name for name in found if not name.startswith(SYSTEM)):
            # Adam makes full steps from gradients that are only rounding errors, so later gradient norms differ.
            some = slice(1) if name == "gradient_norm" else slice(None)
            values, plain = found[name].values[some], expected[stage][name].values[some]
            np.testing.assert_allclose(values, plain, rtol=1e-3, err_msg=f"{stage} {name}")


def test_recomputed_activations_train_like_kept_ones() -> None:
    kept, recomputed = (
        train(digits(training={"activations": name}), 8, torch.float64)[1] for name in ("keep", "recompute")
    )
    for expected, found in zip(kept, recomputed, strict=True):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7)


def test_micro_batches_train_like_the_whole_batch() -> None:
    # In double precision: just after ActNorm's initialisation some gradients are zero except for rounding. Adam divides
    # each gradient by its size, so that in single precision a rounding error would become a whole step.
    runs = (train(digits(training={"accumulate": count}), 8, torch.float64) for count in (1, 5))
    (_, whole), (_, split) = runs
    for expected, found in zip(whole, split, strict=True):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7)


def test_a_run_in_micro_batches_has_the_curves_of_whole_batches(
    trained: Callable[[ExperimentConfig], TrainedRun], tmp_path: Path
) -> None:
    whole = trained(moons()).record.curves
    split = nfkd.run(moons(training={"accumulate": 5}), tmp_path / "run").curves
    assert_close_curves(split, whole)


def test_a_run_with_recomputed_activations_has_the_curves_of_kept_ones(
    trained: Callable[[ExperimentConfig], TrainedRun], tmp_path: Path
) -> None:
    kept = trained(moons()).record.curves
    recomputed = nfkd.run(moons(training={"activations": "recompute"}), tmp_path / "run").curves
    assert_close_curves(recomputed, kept)


def test_norms_are_initialised_from_the_whole_batch() -> None:
    still = {"learning_rate": 1e-12, "warmup_steps": 0}  # the weights stay the first ones
    whole, split = (train(digits(training=still | {"accumulate": count}), 1)[0].flow.state_dict() for count in (1, 4))
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=0, atol=1e-9)


def test_bf16_trains_and_is_evaluated_in_float32(tmp_path: Path) -> None:
    few = {"teacher_steps": 10, "student_steps": 10, "baseline": False}
    config = digits(training=few | {"precision": "bf16"})
    record, plain = nfkd.run(config, tmp_path / "bf16"), nfkd.run(digits(training=few), tmp_path / "float32")
    found, expected = (run.curves["student"]["train/total"].values for run in (record, plain))
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=2e-2)
    dataset, student = load_dataset(config.data), record.load_student().scaled
    summary = next(summary for summary in record.summary if summary.stage == "student")
    assert summary.test == pytest.approx(example_nll(student, dataset, dataset.test).mean(), rel=1e-7)
    with networks_in("bf16"):
        rounded = example_nll(student, dataset, dataset.test).mean()
    assert summary.test != pytest.approx(rounded, rel=1e-7)
    x = noisy(dataset, dataset.test).x
    with torch.no_grad():
        torch.testing.assert_close(student.decode(student.encode(x)), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["maf", "iaf", "nsf", "tarflow"])
def test_every_flow_for_vectors_trains_with_all_options(kind: str, tmp_path: Path) -> None:
    few = {"teacher_steps": 3, "student_steps": 5, "baseline": False}
    record = nfkd.run(moons(student={"kind": kind, "steps": 1, "hidden": 8}, training=ALL | few), tmp_path / "run")
    assert record.row.state == "finished"
    assert all(np.isfinite(summary.test) for summary in record.summary)
