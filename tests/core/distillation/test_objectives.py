"""The paper's terms against values computed by hand, and the gradient of every term."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import DistillationConfig, MatchedPair, MatchingConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.distillation.needs import Synthesis, TeacherSamples
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import StepPasses, Synthesized
from nfkd.flows.flow import Flow, Latents, Pass
from nfkd.protocol.records import LayerPair
from tests.core.distillation.steps import backward, config, distiller, generator, generators, gradients, term

MakeFlow = Callable[..., Flow]


def nats(log_prob: torch.Tensor) -> torch.Tensor:
    return -log_prob


def test_terms_of_two_numbers_by_hand() -> None:
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
    # Two examples have one distance, which is its own mean.
    assert value("relational") == pytest.approx(0.0)


def test_nll_is_bits_per_dim_with_the_constant_of_17_levels(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    nats = -student.log_prob(x).mean().item()
    assert term("nll", student, teacher, digits, x) == pytest.approx(nats / 64 / math.log(2) + math.log2(17))


def test_lkd_counts_every_latent_also_those_split_off(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    parts = [flow.encode(x).parts for flow in (student, teacher)]
    assert len(parts[0]) == 2
    squares = sum((a - b).detach().square().sum().item() for a, b in zip(*parts, strict=True))
    assert term("lkd", student, teacher, digits, x) == pytest.approx(squares / (7 * 64))


def test_ilkd_is_the_mean_of_the_pairs_means(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    outputs, targets = student.trace(x), teacher.trace(x)
    names = [("level1.step1", "level1.step3"), ("level2.step1", "level2.step3")]
    means = [(outputs[a][0] - targets[b][0]).detach().square().mean().item() for a, b in names]
    assert outputs["level1.step1"][0].shape != outputs["level2.step1"][0].shape  # the mean of means is not the mean
    assert term("ilkd", student, teacher, digits, x) == pytest.approx(np.mean(means))


WEIGHTED = (("level1.step1", "level1.step2", 0.5), ("level2.step1", "level2.step3", 3.0))


def weighted(name: str) -> DistillationConfig:
    """Return one term alone, on weighted pairs."""
    pairs = tuple(MatchedPair(student=s, teacher=t, weight=weight) for s, t, weight in WEIGHTED)
    rest = {"noisy_reverse": {"noise": 0.0}}
    return config({name: 1}, rest, matching=MatchingConfig(strategy="pairs", pairs=pairs))


def test_ilkd_weighs_its_pairs(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    outputs, targets = student.trace(x), teacher.trace(x)
    means = [(outputs[a][0] - targets[b][0]).detach().square().mean().item() for a, b, _ in WEIGHTED]
    loss = backward(weighted("ilkd"), student, teacher, digits, x)
    assert loss.terms["ilkd"].item() == pytest.approx((0.5 * means[0] + 3 * means[1]) / 3.5)


def test_log_det_weighs_its_pairs(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    outputs, targets = student.trace(x), teacher.trace(x)
    first, whole = ((outputs[a][1] - targets[b][1]).detach().numpy() / 64 for a, b, _ in WEIGHTED)
    expected = np.mean(0.5 * first**2 + 3 * (whole - first) ** 2) / 1.75  # the mean weight
    loss = backward(weighted("log_det"), student, teacher, digits, x)
    assert loss.terms["log_det"].item() == pytest.approx(expected)


def test_noisy_reverse_weighs_its_pairs_and_counts_the_data_as_one(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    loss = backward(weighted("noisy_reverse"), student, teacher, digits, x)
    made = teacher(x, trace=True)
    inverse, trace = student.decode_trace(made.latents)
    at_data = (inverse - x).detach().square().mean().item()
    # The second pair is the student's last layer, where the inverse begins.
    at_pair = (trace["level1.step1"] - made.trace["level1.step2"][0]).detach().square().mean().item()
    assert loss.terms["noisy_reverse"].item() == pytest.approx((at_data + 0.5 * at_pair) / 1.5)


def test_skd_draws_one_noise_for_all_levels_of_both_flows(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    noise = student.draw_noise(5, generator())
    difference = student.synthesize(noise, 0.5) - teacher.synthesize(noise, 0.5)
    value = term("skd", student, teacher, digits, x, temperature=0.5)
    assert value == pytest.approx(difference.abs().mean().item())


@pytest.mark.parametrize("normalized", [True, False])
def test_the_total_is_the_sum_of_the_terms_by_convex_or_raw_weights(normalized, make_flow, digits: Dataset, x) -> None:
    settings = config({"nll": 3.0, "lkd": 1.0}, normalize_weights=normalized)
    loss = backward(settings, make_flow(1, 1), make_flow(2, 2), digits, x)
    total = 3 * loss.terms["nll"].item() + loss.terms["lkd"].item()
    assert loss.total.item() == pytest.approx(total / 4 if normalized else total)


def test_the_teacher_is_frozen_but_lets_gradients_through(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    step = distiller(config({"nll": 1, "lkd": 1, "ilkd": 1, "skd": 1}), student, teacher, digits)
    optimizer = torch.optim.Adam([*student.parameters(), *teacher.parameters()], lr=0.1)
    for _ in range(3):
        step.backward(student, Batch(x), generators())
        optimizer.step()
    assert not teacher.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in teacher.parameters())
    torch.testing.assert_close(dict(teacher.state_dict()), before, rtol=0, atol=0)
    data = x.clone().requires_grad_()
    teacher.log_prob(data).sum().backward()
    assert data.grad is not None
    assert data.grad.abs().sum() > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_of_every_term_agrees_with_finite_differences(name, make_flow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config({name: 1.0}), student, teacher, digits)
    step.backward(student, Batch(x), generators())
    parameters, found = dict(student.named_parameters()), gradients(student)
    direction = {key: torch.randn(p.shape, generator=generator(), dtype=p.dtype) for key, p in parameters.items()}
    slope = sum(float((found[key] * direction[key]).sum()) for key in found)
    values = []
    for move in (1e-6, -2e-6):
        with torch.no_grad():
            for key, parameter in parameters.items():
                parameter += move * direction[key]
        values.append(step.backward(student, Batch(x), generators()).total.item())
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_a_likelihood_is_the_term_nll(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    likelihood = Likelihood(digits).backward(student, Batch(x), generators()).total.item()
    assert likelihood == pytest.approx(term("nll", student, teacher, digits, x))
