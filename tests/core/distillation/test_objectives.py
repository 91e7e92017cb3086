"""Each term against a value worked out by hand, and the distiller against the defects of earlier code."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import DistillationConfig, MatchedPair, MatchingConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Likelihood, freeze
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import StepPasses, Synthesis, Synthesized, TeacherSamples
from nfkd.flows.flow import Flow, Latents, Pass
from nfkd.protocol.records import LayerPair
from tests.core.distillation.steps import config, distiller, generator, generators, term

MakeFlow = Callable[..., Flow]


def nats(log_prob: torch.Tensor) -> torch.Tensor:
    return -log_prob


def test_the_terms_by_hand_on_two_numbers() -> None:
    def made(z: list[list[float]], h: list[list[float]], log_prob: list[float], log_det: list[float]) -> Pass:
        zero = torch.zeros(2)
        latents = Latents((torch.tensor(z),), zero)
        trace = {"a": (torch.tensor(h), torch.tensor(log_det)), "b": (torch.tensor(z), zero)}
        return Pass(log_prob=torch.tensor(log_prob), latents=latents, trace=trace)

    passes = StepPasses(
        student=made([[1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [-3.0, -5.0], [2.0, 0.0]),
        teacher=made([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [3.0, 1.0]], [0.0, -4.0], [1.0, 4.0]),
        synthesized={
            Synthesis(1): Synthesized(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.5]])),
            Synthesis(2): Synthesized(densities=(torch.tensor([-1.0, -2.0]), torch.tensor([-4.0, -1.0]))),
        },
        samples={TeacherSamples(2): made([[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2, [-7.0, -1.0], [0.0, 0.0])},
    )

    def value(name: str, **settings: Any) -> float:
        configured = DistillationConfig().terms()[name].model_copy(update=settings)
        pairs = [LayerPair(student=layer, teacher=layer, summary="") for layer in ("a", "b")]
        return OBJECTIVES[name](configured, nll_loss=nats, pairs=pairs)(passes).item()

    assert value("nll") == pytest.approx(4.0)
    assert value("lkd") == pytest.approx((0 + 4 + 1 + 1) / 4)
    assert value("ilkd") == pytest.approx((4 / 4 + 6 / 4) / 2)
    assert value("skd", batch_size=1, distance="l1") == pytest.approx((1 + 2.5) / 2)
    assert value("skd", batch_size=1, distance="l2") == pytest.approx((1 + 6.25) / 2)
    assert value("forward_kl", batch_size=2) == pytest.approx((7 + 1) / 2)
    assert value("reverse_kl", batch_size=2) == pytest.approx(((-1 + 4) + (-2 + 1)) / 2)
    assert value("density") == pytest.approx((1.5**2 + 0.5**2) / 2)
    # Increments (2, −2) against (1, −1), and (0, 0) against (4, −4), over two dimensions.
    assert value("log_det") == pytest.approx((2 * 0.5**2 + 2 * 2**2) / 2)
    # Two examples have one distance, which is its own mean: nothing is left to compare.
    assert value("relational") == pytest.approx(0.0)


def test_nll_is_bits_per_dim_with_the_constant_of_17_levels(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    nats = -student.log_prob(x).mean().item()
    assert term("nll", student, teacher, digits, x) == pytest.approx(nats / 64 / math.log(2) + math.log2(17))


def test_lkd_counts_every_latent_the_split_off_ones_too(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    ours, theirs = student.encode(x).parts, teacher.encode(x).parts
    assert len(ours) == 2
    squares = sum((a - b).detach().square().sum().item() for a, b in zip(ours, theirs, strict=True))
    assert term("lkd", student, teacher, digits, x) == pytest.approx(squares / (7 * 64))


def test_ilkd_is_the_mean_of_the_pairs_means(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    ours, theirs = student.trace(x), teacher.trace(x)
    names = [("level1.step1", "level1.step3"), ("level2.step1", "level2.step3")]
    means = [(ours[a][0] - theirs[b][0]).detach().square().mean().item() for a, b in names]
    assert ours["level1.step1"][0].shape != ours["level2.step1"][0].shape  # so the mean of means is not the mean
    assert term("ilkd", student, teacher, digits, x) == pytest.approx(np.mean(means))


WEIGHTED = (("level1.step1", "level1.step2", 0.5), ("level2.step1", "level2.step3", 3.0))


def weighted(name: str) -> DistillationConfig:
    """Return one term alone on pairs of these weights."""
    pairs = tuple(MatchedPair(student=s, teacher=t, weight=weight) for s, t, weight in WEIGHTED)
    rest = {"noisy_reverse": {"noise": 0.0}}
    return config({name: 1}, rest, matching=MatchingConfig(strategy="pairs", pairs=pairs))


def test_ilkd_weighs_its_pairs(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    loss = distiller(weighted("ilkd"), student, teacher, digits)(student, Batch(x), generators())
    ours, theirs = student.trace(x), teacher.trace(x)
    means = [(ours[a][0] - theirs[b][0]).detach().square().mean().item() for a, b, _ in WEIGHTED]
    assert loss.terms["ilkd"].item() == pytest.approx((0.5 * means[0] + 3 * means[1]) / 3.5)


def test_log_det_weighs_its_pairs(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    loss = distiller(weighted("log_det"), student, teacher, digits)(student, Batch(x), generators())
    ours, theirs = student.trace(x), teacher.trace(x)
    first, whole = ((ours[a][1] - theirs[b][1]).detach().numpy() / 64 for a, b, _ in WEIGHTED)
    expected = np.mean(0.5 * first**2 + 3 * (whole - first) ** 2) / 1.75  # the mean weight
    assert loss.terms["log_det"].item() == pytest.approx(expected)


def test_noisy_reverse_weighs_its_pairs_and_counts_the_data_as_one(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    loss = distiller(weighted("noisy_reverse"), student, teacher, digits)(student, Batch(x), generators())
    made = teacher(x, trace=True)
    back, way = student.decode_trace(made.latents)
    at_data = (back - x).detach().square().mean().item()
    # The second pair is the student's last layer: what is there on the way back does not depend on the student.
    at_pair = (way["level1.step1"] - made.trace["level1.step2"][0]).detach().square().mean().item()
    assert loss.terms["noisy_reverse"].item() == pytest.approx((at_data + 0.5 * at_pair) / 1.5)


def test_skd_draws_one_noise_for_every_level_of_both(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    noise = student.draw_noise(5, generator())
    difference = student.synthesize(noise, 0.5) - teacher.synthesize(noise, 0.5)
    value = term("skd", student, teacher, digits, x, temperature=0.5)
    assert value == pytest.approx(difference.abs().mean().item())


def test_a_student_equal_to_its_teacher_has_no_error(make_flow: MakeFlow, digits: Dataset, x) -> None:
    # Would fail if the split-off latents drew noise of their own, or if x were dequantized twice.
    teacher = make_flow(2, 3)
    student = copy.deepcopy(teacher)
    loss = distiller(config({"lkd": 1, "ilkd": 1, "skd": 1}), student, teacher, digits)(student, Batch(x), generators())
    assert {name: value.item() for name, value in loss.terms.items()} == {"lkd": 0.0, "ilkd": 0.0, "skd": 0.0}


def test_the_total_is_convex_unless_asked(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    raw = config({"nll": 3.0, "lkd": 1.0})
    loss = distiller(raw, student, teacher, digits)(student, Batch(x), generators())
    nll, lkd = loss.terms["nll"].item(), loss.terms["lkd"].item()
    assert loss.total.item() == pytest.approx(0.75 * nll + 0.25 * lkd)
    loss = distiller(config({"nll": 3.0, "lkd": 1.0}, normalize_weights=False), student, teacher, digits)(
        student, Batch(x), generators()
    )
    assert loss.total.item() == pytest.approx(3 * nll + lkd)


def test_a_term_without_weight_costs_no_pass(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config({"nll": 1}), student, teacher, digits)
    teacher.register_forward_pre_hook(lambda *_: pytest.fail("the teacher was asked for nothing"))
    assert step.terms == ("nll",)
    step(student, Batch(x), generators())


def test_the_teacher_is_frozen_but_lets_gradients_through(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    step = distiller(config({"nll": 1, "lkd": 1, "ilkd": 1, "skd": 1}), student, teacher, digits)
    optimizer = torch.optim.Adam([*student.parameters(), *teacher.parameters()], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        step(student, Batch(x), generators()).total.backward()
        optimizer.step()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    data = x.clone().requires_grad_()
    teacher.log_prob(data).sum().backward()
    assert data.grad is not None
    assert data.grad.abs().sum() > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_term_reaches_the_students_parameters_as_finite_differences_say(
    name: str, make_flow: MakeFlow, digits: Dataset, x
) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config({name: 1.0}), student, teacher, digits)
    step(student, Batch(x), generators()).total.backward()
    parameters = list(student.parameters())
    direction = [torch.randn(p.shape, generator=generator(), dtype=p.dtype) for p in parameters]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True) if p.grad is not None)

    def moved(by: float) -> float:
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += by * d
        value = step(student, Batch(x), generators()).total.item()
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p -= by * d
        return value

    assert slope == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-4)


def test_the_likelihood_alone_is_the_distillers_nll(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    alone = Likelihood(digits)(student, Batch(x), generators()).total.item()
    assert alone == pytest.approx(term("nll", student, teacher, digits, x))


def test_every_term_of_the_config_has_its_objective() -> None:
    assert list(OBJECTIVES) == list(DistillationConfig().terms())


def test_freeze_changes_no_weight(make_flow: MakeFlow) -> None:
    flow = make_flow(1, 1)
    before = copy.deepcopy(flow.state_dict())
    freeze(flow)
    torch.testing.assert_close(flow.state_dict(), before, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in flow.parameters())
