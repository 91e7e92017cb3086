"""Passes of the teacher over training examples that come again: the same loss and gradient as passes made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nfkd.config import PoolConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Loss, freeze
from nfkd.distillation.known_passes import KnownPasses, pass_over, teacher_passes
from nfkd.distillation.matching import match_layers
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.pool import draw_pool
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generator, generators, gradients

MakeFlow = Callable[..., Flow]
Step = tuple[Loss, dict[str, torch.Tensor], list[int]]
ROWS, PER_ROW = 300, ["nll", "lkd", "ilkd", "log_det", "density"]


@pytest.fixture
def flows(make_flow: MakeFlow) -> tuple[Flow, Flow]:
    return make_flow(1, 5), make_flow(3, 6)


@pytest.fixture
def rows() -> Batch:
    """Rows of which batches consist; every third is weighted."""
    x = torch.rand(ROWS, 1, 8, 8, generator=generator()).double()
    return Batch(x, None, torch.linspace(0.1, 1.9, ROWS).double())


def step(
    names: list[str],
    flows: tuple[Flow, Flow],
    digits: Dataset,
    rows: Batch,
    *,
    known: str = "",
    micro_batches: int = 1,
    share: float = 0.0,
    damaged: bool = False,
) -> Step:
    """Return loss and gradients of a step over seven rows, and the sizes of the batches that the teacher computed."""
    student, teacher = flows
    settings = config(dict.fromkeys(names, 1.0), pool=PoolConfig(share=share))
    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    layers, pool = [pair.teacher for pair in pairs], None
    if share:
        pool, _ = draw_pool(teacher, digits.train, 300, generator())
    passes = KnownPasses(
        pool=teacher_passes(teacher, pool, layers) if pool is not None and "pool" in known else None,
        train=teacher_passes(teacher, rows, layers) if "train" in known else None,
    )
    index = torch.randperm(ROWS, generator=generator())[:7]
    batch = replace(rows.take(index), train_rows=index)
    if damaged:
        batch.x[2] = torch.nan
    loss = distiller(settings, student, teacher, digits, pool=pool, known=passes)
    sizes: list[int] = []
    hook = teacher.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    made = generators()
    found = loss.backward(student, loss.mix(batch, made), made, micro_batches=micro_batches)
    hook.remove()
    return found, gradients(student), sizes


def assert_equal(found: Step, expected: Step) -> None:
    torch.testing.assert_close(found[0].terms, expected[0].terms)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-8, atol=1e-10)
    assert found[0].masked == expected[0].masked


@pytest.mark.parametrize("name", OBJECTIVES)
def test_known_passes_over_training_examples_change_no_term(
    name: str, flows: tuple[Flow, Flow], digits: Dataset, rows: Batch
) -> None:
    count = 1 if name == "relational" else 3
    plain = step([name, "nll"], flows, digits, rows, micro_batches=count)
    assert_equal(step([name, "nll"], flows, digits, rows, known="train", micro_batches=count), plain)


@pytest.mark.parametrize(("known", "sizes"), [("", [7]), ("pool", [3]), ("train", [4]), ("pool train", [])])
def test_the_teacher_passes_only_over_what_is_not_known(
    known: str, sizes: list[int], flows: tuple[Flow, Flow], digits: Dataset, rows: Batch
) -> None:
    found = step(PER_ROW, flows, digits, rows, known=known, share=0.5)  # round(0.5 · 7) = 4 are from the pool
    assert found[2] == sizes
    assert_equal(found, step(PER_ROW, flows, digits, rows, share=0.5))


def test_normalised_terms_take_the_variances_of_the_whole_batch(
    flows: tuple[Flow, Flow], digits: Dataset, rows: Batch
) -> None:
    student, teacher = flows
    settings = config({"lkd": 1.0, "ilkd": 1.0}, {name: {"normalize": True} for name in ("lkd", "ilkd")})
    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    passes = KnownPasses(train=teacher_passes(teacher, rows, [pair.teacher for pair in pairs]))
    index = torch.arange(7)
    batch = replace(rows.take(index), train_rows=index)
    found = [
        distiller(settings, student, teacher, digits, known=known).backward(student, batch, generators(), 0, parts)
        for known in (KnownPasses(), passes)
        for parts in (1, 3)
    ]
    for each in found[1:]:
        torch.testing.assert_close(each.terms, found[0].terms)


def test_a_single_known_row_is_the_row_of_every_example(flows: tuple[Flow, Flow], rows: Batch) -> None:
    teacher = freeze(flows[1])
    known = KnownPasses(train=teacher_passes(teacher, rows.take(slice(0, 1)), ["level1.step1"]))
    index = torch.zeros(3, dtype=torch.long)
    batch = replace(rows.take(index), train_rows=index)
    with torch.no_grad():
        expected = teacher(batch.x, trace=True)
        found = pass_over(teacher, batch, known, trace=True)
    torch.testing.assert_close(found.log_prob, expected.log_prob)
    torch.testing.assert_close(found.latents.parts, expected.latents.parts)
    torch.testing.assert_close(found.trace["level1.step1"], expected.trace["level1.step1"])


def test_a_term_that_differentiates_the_teacher_lets_it_pass(
    flows: tuple[Flow, Flow], digits: Dataset, rows: Batch
) -> None:
    assert step([*PER_ROW, "score"], flows, digits, rows, known="train")[2] == [7]


def test_an_example_that_is_not_finite_is_dropped(flows: tuple[Flow, Flow], digits: Dataset, rows: Batch) -> None:
    plain = step(["nll", "lkd", "ilkd"], flows, digits, rows, damaged=True)
    assert plain[0].masked == {"nll": 1, "lkd": 1, "ilkd": 1}
    found = step(["nll", "lkd", "ilkd"], flows, digits, rows, known="train", damaged=True)
    torch.testing.assert_close(found[0].terms, plain[0].terms)
    torch.testing.assert_close(found[1], plain[1], rtol=1e-8, atol=1e-10)


def test_single_precision_differs_by_rounding_only(digits: Dataset, make_flow: MakeFlow) -> None:
    teacher = make_flow(3, 6).float()
    values = np.arange(600)
    batch = digits.training_batch(values, generator(), generator())
    known, made = teacher_passes(teacher, batch, []), teacher(batch.x)
    torch.testing.assert_close(known.log_prob, made.log_prob, rtol=1e-5, atol=1e-4)
    for part, expected in zip(known.latents.parts, made.latents.parts, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)
