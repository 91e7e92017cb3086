"""What `describe` says of the terms, and what a run says of examples that are not finite."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import DigitsConfig, DistillationConfig, ExperimentConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, MAFConfig, NSFConfig
from nfkd.data import Batch, DataSplit, load_dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.planning.costs import extra_examples
from nfkd.planning.describe import describe
from nfkd.protocol.requests import FlowDescription
from nfkd.protocol.roles import USUAL
from nfkd.runs.log import read_log
from nfkd.training.generators import named_generator
from tests.core.distillation.steps import config, distiller, generator, generators
from tests.core.tiny import moons


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table of twelve features."""
    path = tmp_path / "table.csv"
    rows = np.random.default_rng(0).normal(size=(200, 12))
    path.write_text("\n".join(",".join(f"{value:.4f}" for value in row) for row in rows))
    return str(path)


def warnings(experiment: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(experiment).warnings}


@pytest.mark.parametrize(
    ("student", "slow", "quick"),
    [
        (MAFConfig(steps=2, hidden=8), {"skd", "reverse_kl", "noisy_reverse"}, {"lkd", "density"}),
        (NSFConfig(steps=2, hidden=8, bins=4, transform="autoregressive"), {"skd"}, {"lkd"}),
        (IAFConfig(steps=2, hidden=8), {"lkd", "density", "reverse_kl"}, set()),
    ],
)
def test_what_a_flow_serves_feature_by_feature_is_told_with_an_estimate(student, slow, quick, table) -> None:
    for name in slow | quick:
        terms = {term: {"weight": 0.0} for term in OBJECTIVES} | {name: {"weight": 1.0}}
        experiment = moons(
            data={"kind": "table", "path": table},
            student=student.model_dump(),
            teacher={"kind": "glow1d", "steps": 3, "hidden": 8},
            distillation=terms,
        )
        told = warnings(experiment).get(f"distillation.{name}.weight", "")
        assert ("feature by feature, 12 one after another" in told) == (name in slow), (name, told)


def test_slow_terms_do_not_hide_each_other(table) -> None:
    def told(student: FlowConfig, *terms: str) -> dict[str, str]:
        weights = {name: {"weight": float(name in terms)} for name in OBJECTIVES}
        data, teacher = {"kind": "table", "path": table}, {"kind": "glow1d", "steps": 3, "hidden": 8}
        found = warnings(moons(data=data, student=student.model_dump(), teacher=teacher, distillation=weights))
        return {path.split(".")[1]: words for path, words in found.items() if "feature by feature" in words}

    maf, iaf = MAFConfig(steps=2, hidden=8), IAFConfig(steps=2, hidden=8)
    both = told(maf, "nll", "skd", "reverse_kl")  # which share their samples
    assert both.keys() == {"skd", "reverse_kl"}
    assert "times as long, with Reverse KL, as if all came at once" in both["skd"]
    assert told(maf, "nll", "skd", "noisy_reverse", "forward_kl").keys() == {"skd", "noisy_reverse"}
    assert told(iaf, "nll", "lkd", "ilkd").keys() == {"nll", "lkd", "ilkd"}
    assert told(iaf, "nll").keys() == {"nll"}


@pytest.mark.parametrize("terms", [("nll",), ("nll", "lkd")])
def test_a_schedule_that_convex_weights_undo_is_told_of(terms: tuple[str, ...]) -> None:
    moving = {"weight": 1.0, "schedule": "linear", "schedule_end": 0.2}
    weights: dict[str, Any] = {name: {"weight": 0.0} for name in OBJECTIVES} | dict.fromkeys(terms, moving)
    assert "convex weights" in warnings(moons(distillation=weights))["distillation.nll.schedule"]
    free = warnings(moons(distillation=weights | {"normalize_weights": False}))
    assert "distillation.nll.schedule" not in free
    beside = warnings(moons(distillation=weights | {"ilkd": {"weight": 1.0}}))
    assert "distillation.nll.schedule" not in beside


def test_flows_that_take_all_features_at_once_are_not_told_of() -> None:
    terms = {name: {"weight": 1.0} for name in OBJECTIVES}
    assert not [path for path in warnings(moons(distillation=terms)) if path.endswith(".weight")]


def test_an_example_that_is_never_finite_is_counted_told_of_and_does_not_end_the_run(tmp_path, monkeypatch) -> None:
    config, dataset = moons(), load_dataset(moons().data)
    count = len(dataset.train)
    orders = [torch.randperm(count, generator=named_generator(1, role, "order")).tolist() for role in USUAL[:2]]
    bad = next(index for index in range(count) if all(32 <= order.index(index) < 256 for order in orders))
    values = dataset.train.values[:].copy()
    values[bad] = np.nan
    damaged = replace(dataset, train=DataSplit(values))
    monkeypatch.setattr("nfkd.training.experiment.load_dataset", lambda _: damaged)
    record = nfkd.run(config, tmp_path / "run")
    assert record.row.state == "finished"
    for role in ("teacher", "student", "baseline"):
        curve = record.curves[role]["masked"]
        expected = orders[0 if role == "teacher" else 1].index(bad) // 32 + 1
        assert curve.steps[curve.values > 0][0] == expected  # the step whose batch holds it
        assert np.isfinite(record.curves[role]["train/total"].values).all()
    told = [line.text for line in read_log(tmp_path / "run") if line.level == "warning"]
    assert len([words for words in told if "student: LKD: 1 example of step" in words]) == 1
    assert len([words for words in told if "baseline: NLL: 1 example of step" in words]) == 1
    assert not [words for words in told if "SKD" in words]


def test_the_samples_that_the_terms_draw_count_in_the_memory() -> None:
    alike: dict[str, Any] = {"kind": "glow1d", "steps": 2, "hidden": 8}

    def memory(**terms: dict) -> int:
        off = {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}
        student = describe(moons(distillation=off | terms, student=alike, teacher=alike)).student
        assert student is not None
        return student.memory

    plain = memory()
    one = memory(forward_kl={"weight": 1.0, "batch_size": 64}) - plain
    assert one > 0
    assert memory(skd={"weight": 1.0, "batch_size": 64}) - plain == one
    assert memory(reverse_kl={"weight": 1.0, "batch_size": 64}) - plain == 3 * one  # made, and judged by both
    shared = {"skd": {"weight": 1.0, "batch_size": 64}, "reverse_kl": {"weight": 1.0, "batch_size": 64}}
    assert memory(**shared) - plain == 3 * one


def test_a_term_that_compares_examples_is_refused_in_micro_batches() -> None:
    def problems(weight: float, count: int) -> dict[str, str]:
        terms = {"relational": {"weight": weight}}
        found = describe(moons(distillation=terms, training={"accumulate": count})).problems
        return {problem.path: problem.message for problem in found}

    assert problems(0.0, 2) == problems(0.1, 1) == {}
    assert list(problems(0.1, 2)) == ["distillation.relational.weight"]
    assert "compares the examples of a batch with each other" in problems(0.1, 2)["distillation.relational.weight"]


def test_the_memory_follows_the_samples_of_a_piece_and_the_gradients_that_are_kept() -> None:
    off = {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}

    def student(terms: dict[str, Any], training: dict[str, Any] | None = None, every: int = 0) -> FlowDescription:
        settings: dict[str, Any] = {"training": training or {}, "monitor": {"shares_every": every}}
        described = describe(moons(distillation=off | terms, **settings)).student
        assert described is not None
        return described

    samples = {"forward_kl": {"weight": 1.0, "batch_size": 64}}
    halved = {"batch_size": 64, "accumulate": 2}
    pieces = student(samples, halved)
    assert pieces.memory == student({"forward_kl": {"weight": 1.0, "batch_size": 32}}, {"batch_size": 32}).memory
    gradients = 2 * 4 * pieces.parameters
    assert student(samples, halved, every=10).memory == pieces.memory + gradients
    plain = student(samples).memory
    assert student(samples, every=10).memory == plain
    assert student(samples | {"balance": "gradient_norm"}).memory == plain + gradients


def test_the_term_with_the_fewest_samples_says_how_many_pieces_there_are() -> None:
    terms = {"forward_kl": {"weight": 0.1, "batch_size": 2}, "skd": {"batch_size": 3}}
    told = warnings(moons(distillation=terms, training={"accumulate": 4}))["training.accumulate"]
    assert told.startswith("Forward KL draws 2 samples a step")


def kept_bytes(settings: DistillationConfig, student: Flow, teacher: Flow, batch: Batch) -> int:
    """Return what autograd really keeps for the backward pass of a step."""
    kept: dict[int, tuple[int, int]] = {}

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor, storage = tensor, tensor.untyped_storage()
            kept[id(self)] = storage._cdata, storage.nbytes()

        def __del__(self) -> None:
            kept.pop(id(self), None)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda saved: saved.tensor):
        loss = distiller(settings, student, teacher, load_dataset(DigitsConfig()))(student, batch, generators())
        gc.collect()
        size = sum(dict(kept.values()).values())
    assert loss.total.requires_grad
    return size


@pytest.mark.parametrize("name", ["lkd", "density", "skd", "forward_kl", "jacobian", "score", "noisy_reverse"])
def test_the_memory_of_a_term_is_what_autograd_keeps(name: str) -> None:
    student, teacher = (
        build_flow(GlowConfig(levels=2, steps=steps, hidden=32), (1, 8, 8), generator=generator()) for steps in (2, 1)
    )
    batch = Batch(torch.rand(32, 1, 8, 8, generator=generator()))
    student.initialize(batch.x)
    teacher.initialize(batch.x)
    samples = {"batch_size": 32} if name in {"skd", "forward_kl"} else {}
    settings = config({"nll": 1, name: 1}, {name: samples})
    plain = kept_bytes(config({"nll": 1}), student, teacher, batch)
    measured = kept_bytes(settings, student, teacher, batch) / plain - 1
    assert extra_examples(settings, 32) / 32 == pytest.approx(measured, rel=0.3, abs=0.05)
