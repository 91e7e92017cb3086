"""LKD and ILKD relative to the variance of the teacher's latents, against plain computations."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import nfkd
from nfkd.config import DistillationConfig, MatchedPair, MatchingConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.loss import Loss
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import StepPasses
from nfkd.flows.flow import Flow, Latents, Pass
from nfkd.planning.describe import describe
from nfkd.planning.plans import stage_costs
from nfkd.protocol.records import LayerPair
from tests.core.distillation.steps import backward, config, distiller, generators, gradients, term
from tests.core.tiny import moons
from tests.core.training.runs import assert_same, stop_run

MakeFlow = Callable[..., Flow]
Flows = tuple[Flow, Flow]
NORMALIZED = {"lkd": {"normalize": True}, "ilkd": {"normalize": True}}
WEIGHTED = (("level1.step1", "level1.step2", 0.5), ("level2.step1", "level2.step3", 3.0))


@pytest.fixture
def flows(make_flow: MakeFlow) -> Flows:
    """A student and its teacher."""
    return make_flow(1, 5), make_flow(3, 6)


def settings(**others: Any) -> DistillationConfig:
    pairs = tuple(MatchedPair(student=s, teacher=t, weight=weight) for s, t, weight in WEIGHTED)
    matching = MatchingConfig(strategy="pairs", pairs=pairs)
    return config({"nll": 1, "lkd": 1, "ilkd": 1}, NORMALIZED, matching=matching, **others)


def expected_terms(student: Flow, teacher: Flow, x: Tensor) -> dict[str, float]:
    """Compute both terms in numpy."""
    z = [[part.detach().numpy() for part in flow.encode(x).parts] for flow in (student, teacher)]
    relative = [((s - t) ** 2 / np.var(t)).reshape(len(x), -1) for s, t in zip(*z, strict=True)]
    assert np.var(z[1][0]) != pytest.approx(np.var(z[1][1]), rel=0.01)
    outputs, targets = student.trace(x), teacher.trace(x)
    ilkd = 0.0
    for a, b, weight in WEIGHTED:
        h_student, h_teacher = (found[0].detach().numpy() for found in (outputs[a], targets[b]))
        ilkd += float(weight * np.mean((h_student - h_teacher) ** 2) / np.var(h_teacher))
    return {"lkd": float(np.concatenate(relative, axis=1).mean()), "ilkd": ilkd / 3.5}


def test_each_level_is_divided_by_the_teachers_variance(flows: Flows, digits: Dataset, x: Tensor) -> None:
    loss = backward(settings(), *flows, digits, x)
    found = {name: loss.terms[name].item() for name in ("lkd", "ilkd")}
    assert found == pytest.approx(expected_terms(*flows, x), rel=1e-9)


def test_the_variance_is_a_constant_of_the_gradient(flows: Flows, digits: Dataset, x: Tensor) -> None:
    student, teacher = flows
    targets = [part.detach() for part in teacher.encode(x).parts]
    parts = student.encode(x).parts
    squares = [((s - t).square() / t.var(correction=0)).sum() for s, t in zip(parts, targets, strict=True)]
    value = torch.stack(squares).sum() / (7 * 64)
    parameters = dict(student.named_parameters())
    expected = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    assert term("lkd", student, teacher, digits, x, normalize=True) == pytest.approx(value.item())
    found = gradients(student)
    for name, gradient in zip(parameters, expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-11)


def value(name: str, student: Tensor, teacher: Tensor) -> float:
    """Return a normalised term of latents that are given."""
    passes = [
        Pass(torch.zeros(len(z)), Latents((z,), torch.zeros(len(z))), {"a": (z, torch.zeros(len(z)))})
        for z in (student, teacher)
    ]
    configured = DistillationConfig().terms()[name].model_copy(update={"normalize": True})
    objective = OBJECTIVES[name](configured, pairs=[LayerPair(student="a", teacher="a", summary="")])
    return objective(StepPasses(student=passes[0], teacher=passes[1])).item()


@pytest.mark.parametrize("name", ["lkd", "ilkd"])
def test_values_by_hand(name: str) -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([[1.0, 5.0], [1.0, 1.0]])
    assert value(name, student, teacher) == pytest.approx((0 + 9 + 1 + 4) / 4 / 3.0)  # 1, 5, 1, 1 have variance 3
    assert value(name, 100 * student, 100 * teacher) == pytest.approx(14 / 12)  # whatever the scale
    assert value(name, student, torch.ones(2, 2)) == pytest.approx((0 + 1 + 1 + 4) / 4 / 1e-6)  # a constant teacher


# --- micro-batches and examples that are not finite -------------------------------------------------------------------


def step(flows: Flows, dataset: Dataset, batch: Batch, count: int, **others: Any) -> tuple[Loss, dict[str, Tensor]]:
    loss = distiller(settings(**others), *flows, dataset).backward(flows[0], batch, generators(), micro_batches=count)
    return loss, gradients(flows[0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [2, 3, 50])
def test_micro_batches_use_the_variance_of_the_whole_batch(
    count: int, weighted: bool, flows: Flows, digits: Dataset, x: Tensor
) -> None:
    batch = Batch(x, None, torch.linspace(0.1, 1.9, 7, dtype=torch.float64) if weighted else None)
    whole, expected = step(flows, digits, batch, 1)
    split, found = step(flows, digits, batch, count)
    terms = {name: term.item() for name, term in split.terms.items()}
    assert terms == pytest.approx({name: term.item() for name, term in whole.terms.items()}, rel=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("count", [1, 3])
def test_dropped_examples_do_not_count_in_the_variance(count: int, flows: Flows, digits: Dataset, x: Tensor) -> None:
    damaged = x.clone()
    damaged[[0, 5]] = math.nan
    loss, found = step(flows, digits, Batch(damaged), count)
    assert loss.masked == dict.fromkeys(("nll", "lkd", "ilkd"), 2)
    left = [1, 2, 3, 4, 6]
    rest, expected = step(flows, digits, Batch(x[left]), 1)
    assert loss.total.item() == pytest.approx(rest.total.item(), rel=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_stopped_run_with_micro_batches_is_resumed_exactly(tmp_path: Path) -> None:
    training = {"teacher_steps": 4, "student_steps": 10, "baseline": False, "accumulate": 3}
    normalized = moons(distillation=NORMALIZED, training=training)
    stop_run(tmp_path / "stopped", normalized, "student", 5)
    nfkd.run(normalized, tmp_path / "stopped", resume=True)
    record = nfkd.run(normalized, tmp_path / "whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole", normalized)
    [plan] = [plan for plan in record.seeds[1].started.stages if plan.stage == "student"]
    units = {curve.name: curve.unit for curve in plan.curves}
    assert units["train/lkd"] == units["train/ilkd"] == "teacher's variance"


def test_the_estimate_has_the_pass_that_micro_batches_need() -> None:
    terms = {"skd": {"weight": 0.0}}
    description = describe(moons())
    assert description.teacher is not None
    costs = [
        stage_costs(moons(distillation=terms | changes, training={"accumulate": count}), description)["student"]
        for count in (1, 2)
        for changes in ({}, NORMALIZED)
    ]
    assert costs == [costs[0], costs[0], costs[0], costs[0] + description.teacher.multiply_adds]
