"""Micro-batches: values, gradients and norms against those of the whole batch, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller, Likelihood
from nfkd.distillation.loss import Loss
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import equal_slices
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in
from tests.core.distillation.steps import config, distiller, generator, generators, gradients

MakeFlow = Callable[..., Flow]
Flows = tuple[Flow, Flow]
SPLITTABLE = [name for name in OBJECTIVES if name != "relational"]
ALL = config(dict.fromkeys(SPLITTABLE, 1.0))
WEIGHTS = torch.linspace(0.1, 1.9, 7, dtype=torch.float64)


@pytest.fixture
def flows(make_flow: MakeFlow) -> Flows:
    """A student and its teacher."""
    return make_flow(1, 5), make_flow(3, 6)


def step(loss: Distiller, flow: Flow, batch: Batch, count: int) -> tuple[Loss, dict[str, Tensor]]:
    """Return the loss of a batch in micro-batches, and the gradient."""
    return loss.backward(flow, batch, generators(), micro_batches=count), gradients(flow)


def compare(loss: Distiller, flow: Flow, batch: Batch, count: int) -> None:
    """Compare micro-batches with the whole batch."""
    whole, expected = step(loss, flow, batch, 1)
    split, found = step(loss, flow, batch, count)
    assert split.masked == whole.masked
    assert not split.total.requires_grad
    assert split.total.item() == pytest.approx(whole.total.item(), rel=1e-12)
    terms = {name: value.item() for name, value in split.terms.items()}
    assert terms == pytest.approx({name: value.item() for name, value in whole.terms.items()}, rel=1e-12)
    assert found.keys() == expected.keys() != set()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("count", "weighted"), [(2, False), (3, True), (50, True)])
def test_the_micro_batches_of_every_term_add_up(count, weighted, flows: Flows, digits: Dataset, x: Tensor) -> None:
    batch = Batch(x, None, WEIGHTS if weighted else None)
    compare(distiller(ALL, *flows, digits), flows[0], batch, count)


@pytest.mark.parametrize("count", [3, 50])
def test_the_micro_batches_of_a_likelihood_add_up(count: int, make_flow, digits: Dataset, x: Tensor) -> None:
    compare(Likelihood(digits), make_flow(2, 5), Batch(x, None, WEIGHTS), count)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 2), (5, 5), (6, 5), (50, 5)])
def test_every_micro_batch_has_examples_of_every_source(
    count, expected, flows: Flows, digits: Dataset, x: Tensor
) -> None:
    sizes: list[int] = []
    flows[0].register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    step(distiller(config({"nll": 1, "skd": 1}), *flows, digits), flows[0], Batch(x), count)
    assert (len(sizes), sum(sizes)) == (expected, 7)  # seven examples, and five samples of SKD


def test_random_numbers_do_not_depend_on_the_micro_batches(flows: Flows, digits: Dataset, x: Tensor) -> None:
    states = []
    for count in (1, 3):
        made: dict[str, torch.Generator] = {}

        def by(purpose: str, made: dict[str, torch.Generator] = made) -> torch.Generator:
            return made.setdefault(purpose, generator())

        distiller(ALL, *flows, digits).backward(flows[0], Batch(x), by, micro_batches=count)
        states.append({purpose: used.get_state().tolist() for purpose, used in made.items()})
    assert states[0].keys() == {"synthesis", "teacher samples", "jacobian", "noisy reverse"}
    assert states[0] == states[1]


@pytest.mark.parametrize("count", [1, 3])
def test_nonfinite_examples_are_dropped_from_the_batch(count: int, flows: Flows, digits: Dataset, x: Tensor) -> None:
    """Three of seven examples, all of one micro-batch among them: the mean is over the four that are left."""
    damaged = x.clone()
    damaged[[0, 1, 5]] = math.nan
    terms = ("nll", "lkd", "ilkd", "density", "skd")
    distill = distiller(config(dict.fromkeys(terms, 1.0)), *flows, digits)
    loss, found = step(distill, flows[0], Batch(damaged, None, WEIGHTS), count)
    assert loss.masked == dict.fromkeys(terms[:-1], 3)
    left = [2, 3, 4, 6]
    rest, expected = step(distill, flows[0], Batch(x[left], None, WEIGHTS[left]), 1)
    assert loss.total.item() == pytest.approx(rest.total.item(), rel=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("balance", ["none", "gradient_norm"])
def test_norms_and_balance_are_those_of_the_whole_batch(balance: str, flows: Flows, digits: Dataset, x: Tensor) -> None:
    names = ["nll", "ilkd", "skd", "forward_kl"]
    settings = config(dict.fromkeys(names, 1.0), balance=balance, balance_every=1)
    results = []
    for count in (1, 4):
        running: dict[str, float] = {}
        loss, gradient = step(
            distiller(settings, *flows, digits, measure_every=1, norms=running), flows[0], Batch(x), count
        )
        norms = {name: value.item() for name, value in loss.norms.items()}
        assert list(norms) == names
        assert running == ({} if balance == "none" else pytest.approx(norms))
        expected = sum(loss.weights[name] * value.item() for name, value in loss.terms.items())
        assert loss.total.item() == pytest.approx(expected)
        results.append(((norms, running, dict(loss.weights), loss.total.item()), gradient))
    for split, whole in zip(results[1][0], results[0][0], strict=True):
        assert split == pytest.approx(whole, rel=1e-8)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-8, atol=1e-11)


def test_the_norms_of_bf16_are_close_to_those_of_float32(make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    student, teacher = (make_flow(steps, seed).float() for steps, seed in ((1, 5), (3, 6)))
    settings = config({"nll": 1, "lkd": 1, "skd": 1, "forward_kl": 1}, balance="gradient_norm")

    def norms(precision: Precision, count: int) -> dict[str, float]:
        with networks_in(precision):
            loss, gradient = step(distiller(settings, student, teacher, digits), student, Batch(x.float()), count)
        assert all(torch.isfinite(value).all() and value.dtype == torch.float32 for value in gradient.values())
        return {name: value.item() for name, value in loss.norms.items()}

    rounded = norms("bf16", 3)
    assert rounded == pytest.approx(norms("float32", 1), rel=0.05)
    assert rounded != pytest.approx(norms("float32", 1), rel=1e-6)


def test_a_term_that_compares_examples_has_no_micro_batches(flows: Flows, digits: Dataset, x: Tensor) -> None:
    distill = distiller(config({"nll": 1, "relational": 1}), *flows, digits)
    step(distill, flows[0], Batch(x), 1)
    with pytest.raises(ValueError, match="relational compares the examples of a batch"):
        step(distill, flows[0], Batch(x), 2)


def test_each_sample_keeps_its_context(digits: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    flows = [
        build_flow(Glow1DConfig(steps=steps, hidden=6), (4,), context_features=3, generator=generator).double()
        for steps in (1, 2)
    ]
    x, context = (torch.randn(32, size, generator=generator, dtype=torch.float64) for size in (4, 3))
    for flow in flows:
        flow.initialize(x, context)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    dataset = replace(digits, levels=None)  # vectors: the likelihood in nats
    # Five samples use the contexts of four examples in turn; the second micro-batch must not start again.
    compare(distiller(ALL, flows[0], flows[1], dataset), flows[0], Batch(x[:4], context[:4]), 2)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (7, 3), (128, 4), (5, 5), (65536, 7)])
def test_equal_slices_make_up_the_length(length: int, count: int) -> None:
    sizes = [each.stop - each.start for each in equal_slices(length, count)]
    assert (len(sizes), sum(sizes)) == (count, length)
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)
