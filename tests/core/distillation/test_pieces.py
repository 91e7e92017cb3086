"""A batch in pieces: values, gradients and their norms against those of the batch as a whole, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller, Likelihood, Loss
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import cuts
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in
from tests.core.distillation.steps import config, distiller, generators

MakeFlow = Callable[..., Flow]
PIECED = [name for name in OBJECTIVES if name != "relational"]
ALL = config(dict.fromkeys(PIECED, 1.0))
WEIGHTS = torch.linspace(0.1, 1.9, 7, dtype=torch.float64)


def made(loss: Distiller, flow: Flow, batch: Batch, count: int) -> tuple[Loss, dict[str, Tensor]]:
    """Return the loss of a batch in pieces and the gradient."""
    parts = loss.backward(flow, batch, generators(), 0, count)
    return parts, {name: value.grad.clone() for name, value in flow.named_parameters() if value.grad is not None}


def compare(loss: Distiller, flow: Flow, batch: Batch, count: int) -> None:
    """Hold pieces to `__call__` of the whole batch, which knows of none."""
    flow.zero_grad()
    whole = loss(flow, batch, generators())
    whole.total.backward()
    expected = {name: value.grad.clone() for name, value in flow.named_parameters() if value.grad is not None}
    parts, found = made(loss, flow, batch, count)
    assert parts.masked == whole.masked
    assert not parts.total.requires_grad
    assert parts.total.item() == pytest.approx(whole.total.item(), rel=1e-12)
    terms = {name: value.item() for name, value in parts.terms.items()}
    assert terms == pytest.approx({name: value.item() for name, value in whole.terms.items()}, rel=1e-12)
    assert found.keys() == expected.keys() != set()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_pieces_of_a_distillation_add_up(
    count: int, weighted: bool, make_flow: MakeFlow, digits: Dataset, x: Tensor
) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    batch = Batch(x, None, WEIGHTS if weighted else None)
    compare(distiller(ALL, student, teacher, digits), student, batch, count)


@pytest.mark.parametrize("name", PIECED)
def test_the_pieces_of_every_term_add_up(name: str, make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    compare(distiller(config({name: 1}), student, teacher, digits), student, Batch(x, None, WEIGHTS), 3)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_pieces_of_a_likelihood_add_up(count: int, make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    compare(Likelihood(digits), make_flow(2, 5), Batch(x, None, WEIGHTS), count)


@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (2, 2), (5, 5), (6, 5), (50, 5)])
def test_there_are_as_many_pieces_as_examples_of_each_source_allow(
    count: int, pieces: int, make_flow: MakeFlow, digits: Dataset, x: Tensor
) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    sizes: list[int] = []
    student.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    # Seven examples, and SKD's five samples.
    distiller(config({"nll": 1, "skd": 1}), student, teacher, digits).backward(
        student, Batch(x), generators(), 0, count
    )
    assert (len(sizes), sum(sizes)) == (pieces, 7)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_drawn_does_not_depend_on_the_pieces(
    count: int, make_flow: MakeFlow, digits: Dataset, x: Tensor
) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    draws: dict[str, torch.Generator] = {}

    def by(purpose: str) -> torch.Generator:
        return draws.setdefault(purpose, torch.Generator().manual_seed(5))

    distiller(ALL, student, teacher, digits).backward(student, Batch(x), by, 0, count)
    plain = generators()
    distiller(ALL, student, teacher, digits)(student, Batch(x), plain)
    assert draws.keys() == {"synthesis", "teacher samples", "jacobian", "noisy reverse"}
    assert all(torch.equal(draw.get_state(), plain(purpose).get_state()) for purpose, draw in draws.items())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_what_is_not_finite_is_left_out_of_the_whole_batch(
    count: int, make_flow: MakeFlow, digits: Dataset, x: Tensor
) -> None:
    """Three of seven examples, all of one piece among them: the mean is over the four that are left, not by pieces."""
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    damaged = x.clone()
    damaged[[0, 1, 5]] = math.nan
    terms = ("nll", "lkd", "ilkd", "density", "skd")
    step = distiller(config(dict.fromkeys(terms, 1.0)), student, teacher, digits)
    loss, found = made(step, student, Batch(damaged, None, WEIGHTS), count)
    assert loss.masked == dict.fromkeys(terms[:-1], 3)
    left = [2, 3, 4, 6]
    rest, expected = made(step, student, Batch(x[left], None, WEIGHTS[left]), 1)
    assert loss.total.item() == pytest.approx(rest.total.item(), rel=1e-12)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-11)
    compare(step, student, Batch(damaged, None, WEIGHTS), count)


@pytest.mark.parametrize("count", [1, 3])
def test_where_nothing_is_finite_nothing_is_hidden(count: int, make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    loss = Likelihood(digits).backward(make_flow(1, 5), Batch(x * math.nan), generators(), 0, count)
    assert loss.masked == {}
    assert not math.isfinite(loss.total.item())


@pytest.mark.parametrize("balance", ["none", "gradient_norm"])
def test_norms_and_balance_are_those_of_the_whole_batch(
    balance: str, make_flow: MakeFlow, digits: Dataset, x: Tensor
) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    settings = config(dict.fromkeys(PIECED, 1.0), balance=balance, balance_every=1)
    found = {}
    for count in (1, 4):
        running: dict[str, float] = {}
        step = distiller(settings, student, teacher, digits, measure_every=1, norms=running)
        loss, gradient = made(step, student, Batch(x), count)
        norms = {name: value.item() for name, value in loss.norms.items()}
        found[count] = norms, running, dict(loss.weights), loss.total.item()
        assert norms.keys() == set(PIECED)
        assert running == ({} if balance == "none" else pytest.approx(norms))
        expected = [sum(loss.weights[name] * value.item() for name, value in loss.terms.items())]
        assert [loss.total.item()] == pytest.approx(expected)
        found[count] += (gradient,)
    for ours, theirs in zip(found[4][:4], found[1][:4], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8)
    for name, value in found[4][4].items():
        torch.testing.assert_close(value, found[1][4][name], rtol=1e-8, atol=1e-11)


def test_shares_and_balance_in_bf16_follow_those_of_float32(make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    student, teacher = (make_flow(steps, seed).float() for steps, seed in ((1, 5), (3, 6)))
    settings = config({"nll": 1, "lkd": 1, "skd": 1, "forward_kl": 1}, balance="gradient_norm")

    def norms(precision: Precision, count: int) -> dict[str, float]:
        step = distiller(settings, student, teacher, digits)
        with networks_in(precision):
            loss, gradient = made(step, student, Batch(x.float()), count)
        assert all(torch.isfinite(value).all() and value.dtype == torch.float32 for value in gradient.values())
        return {name: value.item() for name, value in loss.norms.items()}

    rounded = norms("bf16", 3)
    assert rounded == pytest.approx(norms("float32", 1), rel=0.05)
    assert rounded != pytest.approx(norms("float32", 1), rel=1e-6)


def test_a_term_that_compares_examples_has_no_pieces(make_flow: MakeFlow, digits: Dataset, x: Tensor) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    step = distiller(config({"nll": 1, "relational": 1}), student, teacher, digits)
    step.backward(student, Batch(x), generators(), 0, 1)
    with pytest.raises(ValueError, match="relational compares the examples of a batch"):
        step.backward(student, Batch(x), generators(), 0, 2)


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
    # Five samples take the contexts of four examples in turn: the second piece's samples must not begin again.
    compare(distiller(ALL, flows[0], flows[1], dataset), flows[0], Batch(x[:4], context[:4]), 2)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (7, 3), (128, 4), (5, 5), (65536, 7)])
def test_cuts_make_up_the_length(length: int, count: int) -> None:
    sizes = [part.stop - part.start for part in cuts(length, count)]
    assert (len(sizes), sum(sizes)) == (count, length)
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)
