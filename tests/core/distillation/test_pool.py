"""The pool: what is drawn and dropped, how batches are mixed, and the passes of the teacher that are looked up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig, PoolConfig
from nfkd.data import Batch, Dataset, DataSplit
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.known_passes import KnownPasses, teacher_passes
from nfkd.distillation.loss import Loss
from nfkd.distillation.matching import match_layers
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.pool import Pool, PoolError, draw_pool
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generator, generators, gradients

MakeFlow = Callable[..., Flow]
Flows = tuple[Flow, Flow]
NO_DATA = DataSplit(np.zeros((1, 1, 8, 8), np.uint8))


@pytest.fixture
def flows(make_flow: MakeFlow) -> Flows:
    """A student and its teacher."""
    return make_flow(1, 5), make_flow(3, 6)


@pytest.fixture
def tame() -> Flow:
    """A teacher whose samples are near 0.5 (standard deviation 0.3), so that none is too large by itself."""
    teacher = build_flow(GlowConfig(levels=2, steps=1, hidden=4), (1, 8, 8), generator=generator()).double()
    teacher.initialize(torch.rand(256, 1, 8, 8, generator=generator()).double())
    return teacher


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_a_pool_is_what_the_teacher_makes_of_plain_noise(make_flow: MakeFlow) -> None:
    teacher = make_flow(2, 3)
    pool, counts = draw_pool(teacher, NO_DATA, 600, torch.Generator().manual_seed(4))
    plain = torch.Generator().manual_seed(4)
    noise = [torch.randn(600, *shape, generator=plain).double() for shape in teacher.latent_shapes]
    with torch.no_grad():
        x = teacher.synthesize(noise)
        log_prob = teacher.log_prob(x).tolist()
    small = [row for row in range(600) if x[row].abs().max() < 2]
    least_likely = sorted(small, key=log_prob.__getitem__)[: len(small) // 100]
    kept = [row for row in small if row not in least_likely]
    assert (counts.drawn, counts.not_finite) == (600, 0)
    assert (counts.too_large, counts.unlikely) == (600 - len(small), len(least_likely))
    assert len(pool) == len(kept) == 600 - counts.dropped
    assert 0 < counts.too_large < 20
    torch.testing.assert_close(pool.x, x[kept])
    for mine, part in zip(pool.noise, noise, strict=True):
        assert torch.equal(mine, part[kept])
    torch.testing.assert_close(teacher.synthesize(pool.noise), pool.x)
    assert pool.context is None


def damage(teacher: Flow, rows: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a value into one pixel of some of the first 256 samples."""
    plain = teacher.synthesize

    def damaged(*arguments, **named):
        x = plain(*arguments, **named)
        for row, value in rows.items():
            x[row, 0, 3, 4] = value
        return x

    monkeypatch.setattr(teacher, "synthesize", damaged)


def test_useless_samples_are_dropped_and_counted(tame: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = tame
    damage(teacher, {3: math.nan, 8: math.inf, 20: 2.0, 21: -2.0, 22: 1.99}, monkeypatch)
    log_prob = torch.arange(200.0).double() + 5
    log_prob[50], log_prob[60], log_prob[70] = -math.inf, math.nan, -1.0

    def found(x, context):
        assert x.isfinite().all()
        rows = [row for row in range(200) if row not in {3, 8, 20, 21}]
        return log_prob[rows]

    monkeypatch.setattr(teacher, "log_prob", found)
    pool, counts = draw_pool(teacher, NO_DATA, 200, generator())
    assert (counts.not_finite, counts.too_large, counts.unlikely) == (4, 2, 1)
    assert counts.dropped == 7
    plain = [torch.randn(200, *shape, generator=plain) for plain in [generator()] for shape in teacher.latent_shapes]
    kept = [row for row in range(200) if row not in {3, 8, 20, 21, 50, 60, 70}]
    assert torch.equal(pool.noise[0], plain[0][kept].double())
    assert counts.summary == (
        "7 of 200 samples of the teacher were dropped: 4 not finite, 2 too large, 1 with the lowest log p"
    )


def test_vectors_may_be_large() -> None:
    teacher = build_flow(Glow1DConfig(steps=1, hidden=4), (2,), generator=generator())
    teacher.initialize(5 * torch.randn(64, 2, generator=generator()))
    pool, counts = draw_pool(teacher, DataSplit(np.zeros((1, 2), np.float32)), 100, generator())
    assert (counts.too_large, len(pool)) == (0, 99)
    assert pool.x.abs().max() > 2


@pytest.mark.parametrize(("bad", "refused"), [(18, False), (20, True)])
def test_more_than_a_tenth_of_the_samples_is_too_many(bad, refused, tame: Flow, monkeypatch) -> None:
    teacher = tame
    damage(teacher, dict.fromkeys(range(bad), 3.0), monkeypatch)
    if refused:
        with pytest.raises(PoolError, match="21 of 200 samples of the teacher were dropped: 0 not finite, 20 too larg"):
            draw_pool(teacher, NO_DATA, 200, generator())
    else:
        assert draw_pool(teacher, NO_DATA, 200, generator())[1].dropped == 19


def test_a_teacher_that_gives_only_nan_is_refused(make_flow: MakeFlow) -> None:
    teacher = make_flow(1, 3)
    with torch.no_grad():
        next(teacher.parameters()).fill_(math.nan)
    with pytest.raises(PoolError, match="200 of 200 samples of the teacher were dropped: 200 not finite"):
        draw_pool(teacher, NO_DATA, 200, generator())


def test_a_teacher_that_cannot_sample_is_refused(make_flow: MakeFlow) -> None:
    teacher = make_flow(1, 3)
    teacher.unsupported["synthesis"] = "it has no inverse"
    with pytest.raises(PoolError, match="cannot sample: it has no inverse"):
        draw_pool(teacher, NO_DATA, 200, generator())


def test_a_teacher_without_log_p_keeps_unlikely_samples(tame: Flow) -> None:
    teacher = tame
    teacher.unsupported["log_prob"] = "it has no way from data to latents"
    pool, counts = draw_pool(teacher, NO_DATA, 200, generator())
    assert (len(pool), counts.dropped) == (200, 0)


def test_contexts_are_those_of_the_training_part_by_their_weights() -> None:
    teacher = build_flow(Glow1DConfig(steps=1, hidden=4), (2,), context_features=2, generator=generator())
    teacher.initialize(torch.randn(64, 2, generator=generator()), torch.zeros(64, 2))
    context = np.array([[0, 9], [1, 8], [2, 7]], np.float32)
    part = DataSplit(np.zeros((3, 2), np.float32), context)
    for weights, expected in ((None, [1 / 3, 1 / 3, 1 / 3]), ([0.0, 2.25, 0.75], [0.0, 0.75, 0.25])):
        weighted = replace(part, weights=None if weights is None else np.array(weights, np.float32))
        pool, _ = draw_pool(teacher, weighted, 3000, generator())
        assert pool.context is not None
        assert torch.equal(pool.context.sum(1), torch.full((2970,), 9.0))
        shares = [(pool.context[:, 0] == value).double().mean().item() for value in range(3)]
        assert shares == pytest.approx(expected, abs=0.03)
        with torch.no_grad():
            torch.testing.assert_close(teacher.synthesize(pool.noise, context=pool.context), pool.x)


def test_drawing_can_be_stopped_between_two_chunks(make_flow: MakeFlow) -> None:
    class StopError(Exception):
        pass

    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise StopError

    with pytest.raises(StopError):
        draw_pool(make_flow(1, 3), NO_DATA, 10_000, generator(), between=stop)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_mixed_batch_has_the_first_real_rows_and_random_rows_of_the_pool() -> None:
    x, context, weights = torch.rand(7, 2), torch.rand(7, 3), torch.linspace(0.4, 1.6, 7)
    pool = Pool(torch.rand(20, 2), (torch.rand(20, 2),), torch.rand(20, 3))
    mixed = pool.mix(Batch(x, context, weights), 3, generator())
    rows = torch.randint(20, (3,), generator=generator())
    assert torch.equal(mixed.x, torch.cat([x[:4], pool.x[rows]]))
    assert mixed.context is not None
    assert pool.context is not None
    assert torch.equal(mixed.context, torch.cat([context[:4], pool.context[rows]]))
    assert mixed.weights is not None
    assert mixed.weights.tolist() == [*weights[:4].tolist(), 1, 1, 1]
    assert mixed.pool_rows is not None
    assert mixed.pool_rows.tolist() == [-1, -1, -1, -1, *rows.tolist()]
    plain = Pool(pool.x, pool.noise).mix(Batch(x), 7, generator())
    assert plain.weights is None
    assert torch.equal(plain.x, pool.x[torch.randint(20, (7,), generator=generator())])


def test_rows_are_drawn_with_replacement() -> None:
    pool = Pool(torch.rand(3, 2), (torch.rand(3, 2),))
    assert len(pool.mix(Batch(torch.rand(50, 2)), 50, generator())) == 50


@pytest.mark.parametrize(("share", "size", "rows"), [(0.5, 128, 64), (0.8, 100, 80), (1.0, 7, 7), (0.3, 5, 2)])
def test_the_rows_of_a_share(share: float, size: int, rows: int) -> None:
    assert PoolConfig(share=share).rows(size) == rows


# --- samples from the same noise --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "distance"), [(1.0, "l1"), (1.0, "l2"), (0.7, "l1")])
def test_skd_reuses_samples_of_the_pool_at_temperature_one(
    temperature: float, distance: str, flows: Flows, digits: Dataset, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = flows
    pool, _ = draw_pool(teacher, NO_DATA, 300, generator())
    settings = {"skd": {"temperature": temperature, "distance": distance}}
    step = distiller(config({"skd": 1.0}, settings, pool=PoolConfig(share=0.5)), *flows, digits, pool=pool)
    calls, synthesize = [], teacher.synthesize
    monkeypatch.setattr(teacher, "synthesize", lambda *rest: calls.append(1) or synthesize(*rest))
    value = step.backward(student, Batch(x), generators(), micro_batches=2).terms["skd"].item()
    assert bool(calls) == (temperature != 1)
    if temperature == 1:
        rows = torch.randint(len(pool), (5,), generator=generator())
        difference = student.synthesize([part[rows] for part in pool.noise]) - pool.x[rows]
        expected = difference.abs().mean() if distance == "l1" else difference.square().mean()
        assert value == pytest.approx(expected.item())


# --- passes of the teacher --------------------------------------------------------------------------------------------


def mixed_step(
    names: list[str], flows: Flows, digits: Dataset, batch: Batch, *, known: bool, micro_batches: int = 1
) -> tuple[Loss, dict[str, Tensor], list[int]]:
    """Return loss and gradients of a step with a pool, and the sizes of the batches that went through the teacher."""
    student, teacher = flows
    settings = config(dict.fromkeys(names, 1.0), pool=PoolConfig(share=0.5))
    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    pool, _ = draw_pool(teacher, NO_DATA, 300, generator())
    passes = teacher_passes(teacher, pool, [pair.teacher for pair in pairs]) if known else None
    step: Distiller = distiller(settings, student, teacher, digits, pool=pool, known=KnownPasses(pool=passes))
    sizes: list[int] = []
    hook = teacher.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    made = generators()
    loss = step.backward(student, step.mix(batch, made), made, micro_batches=micro_batches)
    hook.remove()
    return loss, gradients(student), sizes


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("count", [1, 3])
def test_known_passes_change_no_term(name: str, count: int, flows: Flows, digits: Dataset, x: Tensor) -> None:
    if name == "relational" and count > 1:
        count = 1
    batch = Batch(x, None, torch.linspace(0.1, 1.9, 7).double())
    plain, expected, _ = mixed_step([name, "nll"], flows, digits, batch, known=False, micro_batches=count)
    looked_up, found, _ = mixed_step([name, "nll"], flows, digits, batch, known=True, micro_batches=count)
    torch.testing.assert_close(looked_up.terms, plain.terms)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_the_teacher_passes_only_over_real_rows(flows: Flows, digits: Dataset, x: Tensor) -> None:
    terms = ["nll", "lkd", "ilkd", "log_det", "density"]
    assert mixed_step(terms, flows, digits, Batch(x), known=False)[2] == [7]
    assert mixed_step(terms, flows, digits, Batch(x), known=True)[2] == [3]  # round(0.5 · 7) = 4 are from the pool
    assert mixed_step(terms, flows, digits, Batch(x), known=True, micro_batches=3)[2] == [2, 1]
    assert mixed_step([*terms, "score"], flows, digits, Batch(x), known=True)[2] == [7]  # it needs the graph to x


@pytest.mark.parametrize("known", [False, True])
def test_a_real_example_that_is_not_finite_is_dropped(known: bool, flows: Flows, digits: Dataset, x: Tensor) -> None:
    damaged = x.clone()
    damaged[1] = math.nan
    loss, found, _ = mixed_step(["nll", "lkd", "ilkd"], flows, digits, Batch(damaged), known=known)
    assert loss.masked == {"nll": 1, "lkd": 1, "ilkd": 1}
    _, teacher = flows
    pool, _ = draw_pool(teacher, NO_DATA, 300, generator())
    rows = torch.randint(len(pool), (4,), generator=generator())
    rest = torch.cat([x[[0, 2]], pool.x[rows]])
    plain = distiller(config(dict.fromkeys(["nll", "lkd", "ilkd"], 1.0)), *flows, digits)
    expected = plain.backward(flows[0], Batch(rest), generators())
    torch.testing.assert_close(loss.terms, expected.terms)
    torch.testing.assert_close(found, gradients(flows[0]), rtol=1e-8, atol=1e-10)
