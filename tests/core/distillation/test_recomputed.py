"""Steps that recompute their activations, against steps that keep them, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Loss
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.activations import Activations, activations_in
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generators, gradients

MakeFlow = Callable[..., Flow]
ONCE = [name for name, objective in OBJECTIVES.items() if objective.recomputes]
"""Terms that need first derivatives alone."""


def step(
    settings: DistillationConfig,
    make_flow: MakeFlow,
    dataset: Dataset,
    x: Tensor,
    activations: Activations,
    count: int = 1,
) -> tuple[Loss, dict[str, Tensor]]:
    """Return the loss of a step in micro-batches, and the student's gradient."""
    student, teacher = make_flow(3, 5), make_flow(3, 6)
    loss = distiller(settings, student, teacher, dataset, measure_every=1)
    with activations_in(activations):
        found = loss.backward(student, Batch(x), generators(), micro_batches=count)
    return found, gradients(student)


def compare(settings: DistillationConfig, make_flow: MakeFlow, digits: Dataset, x: Tensor, count: int = 1) -> Loss:
    (kept, expected), (recomputed, found) = (
        step(settings, make_flow, digits, x, name, count) for name in ("keep", "recompute")
    )
    assert recomputed.masked == kept.masked
    for values, others in ((recomputed.terms, kept.terms), (recomputed.norms, kept.norms)):
        assert values.keys() == others.keys()
        torch.testing.assert_close(values, others, rtol=1e-9, atol=1e-12)
    assert found.keys() == expected.keys() != set()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    return recomputed


@pytest.mark.parametrize("name", ONCE)
def test_the_gradient_of_a_term_is_that_of_kept_activations(name, make_flow, digits: Dataset, x: Tensor) -> None:
    compare(config({name: 1.0}), make_flow, digits, x)


@pytest.mark.parametrize("balance", ["none", "gradient_norm"])
def test_the_gradient_of_all_terms_in_micro_batches(balance, make_flow, digits: Dataset, x: Tensor) -> None:
    weights = {name: 1.0 for name in ONCE if name != "relational"}
    loss = compare(config(weights, balance=balance, balance_every=1), make_flow, digits, x, 3)
    assert set(loss.norms) == set(weights)


def test_nonfinite_examples_are_dropped(make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    x[[0, 5]] = math.nan
    loss = compare(config({"nll": 1.0, "ilkd": 1.0, "log_det": 1.0}), make_flow, digits, x)
    assert set(loss.masked.values()) == {2}


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in ONCE])
def test_a_term_with_further_derivatives_cannot_be_computed(name, make_flow, digits: Dataset, x: Tensor) -> None:
    """So `describe` refuses it: no wrong gradient is computed in silence."""
    with pytest.raises(RuntimeError):
        step(config({name: 1.0}), make_flow, digits, x, "recompute")
