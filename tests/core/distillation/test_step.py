"""A training step: shared passes, non-finite examples, and weights that are balanced or scheduled."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
import torch

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import StepPasses
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import backward, config, distiller, generators, gradients

MakeFlow = Callable[..., Flow]
Flows = tuple[Flow, Flow]


@pytest.fixture
def flows(make_flow: MakeFlow) -> Flows:
    """A student and its teacher."""
    return make_flow(1, 1), make_flow(2, 2)


def count_passes(monkeypatch: pytest.MonkeyPatch, **flows: Flow) -> Counter[str]:
    """Count the passes from now on, by flow and method."""
    counts: Counter[str] = Counter()

    def watch(name: str, flow: Flow, method: str) -> None:
        plain = getattr(flow, method)

        def call(*arguments, **named):
            counts[f"{name} {method}"] += 1
            return plain(*arguments, **named)

        monkeypatch.setattr(flow, method, call)

    for name, flow in flows.items():
        for method in ("forward", "synthesize", "decode_trace"):
            watch(name, flow, method)
    return counts


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"nll"}, {"student forward": 1}),
        (
            {"nll", "lkd", "ilkd", "density", "log_det", "score", "relational"},
            {"student forward": 1, "teacher forward": 1},
        ),
        ({"skd"}, {"student synthesize": 1, "teacher synthesize": 1}),
        ({"forward_kl"}, {"teacher synthesize": 1, "student forward": 1}),
        ({"reverse_kl"}, {"student synthesize": 1, "student forward": 1, "teacher forward": 1}),
        ({"jacobian"}, {"student forward": 1, "teacher forward": 1}),
        ({"noisy_reverse"}, {"teacher forward": 1, "student decode_trace": 1}),
        (
            set(OBJECTIVES),
            {
                "student forward": 4,  # data; teacher's samples; its own samples; Jacobian
                "teacher forward": 3,  # data; student's samples; Jacobian
                "student synthesize": 1,  # the same for SKD and reverse KL
                "teacher synthesize": 2,  # SKD; forward KL
                "student decode_trace": 1,
            },
        ),
    ],
)
def test_terms_share_passes_and_make_no_others(terms, expected, flows: Flows, digits: Dataset, x, monkeypatch) -> None:
    counts = count_passes(monkeypatch, student=flows[0], teacher=flows[1])
    backward(config(dict.fromkeys(terms, 1.0)), *flows, digits, x)
    assert counts == expected


def test_terms_with_different_settings_share_no_samples(flows: Flows, digits: Dataset, x, monkeypatch) -> None:
    counts = count_passes(monkeypatch, student=flows[0])
    backward(config({"skd": 1, "reverse_kl": 1}, {"skd": {"temperature": 0.5}}), *flows, digits, x)
    assert counts["student synthesize"] == 2


def test_both_flows_get_the_same_x(flows: Flows, digits: Dataset, x) -> None:
    seen: list[torch.Tensor] = []
    for flow in flows:
        flow.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backward(config({"nll": 1, "lkd": 1, "ilkd": 1, "skd": 1}), *flows, digits, x)
    assert len(seen) == 2
    assert all(value is x for value in seen)


def test_a_terms_random_numbers_do_not_depend_on_other_terms(flows: Flows, digits: Dataset, x) -> None:
    def value(*names: str) -> float:
        return backward(config(dict.fromkeys(names, 1.0)), *flows, digits, x).terms["skd"].item()

    assert value("skd") == value("skd", "jacobian", "noisy_reverse", "forward_kl", "reverse_kl")


# --- examples that are not finite -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in {"skd", "forward_kl", "reverse_kl"}])
def test_an_example_with_nonfinite_values_is_dropped_and_counted(name, flows: Flows, digits: Dataset, x) -> None:
    damaged = x.clone()
    damaged[2, 0, 3, 3] = math.nan
    damaged[5, 0, 0, 0] = math.inf
    settings = config({name: 1}, {"noisy_reverse": {"noise": 0.0}})
    loss = backward(settings, *flows, digits, damaged)
    assert loss.masked == {name: 2}
    assert all(torch.isfinite(gradient).all() for gradient in gradients(flows[0]).values())
    if name != "jacobian":  # its random directions differ in a smaller batch
        torch.testing.assert_close(loss.total, backward(settings, *flows, digits, x[[0, 1, 3, 4, 6]]).total)


@pytest.mark.parametrize("name", ["skd", "forward_kl", "reverse_kl"])
def test_a_sample_with_nonfinite_values_is_dropped_and_counted(name, flows: Flows, digits, x, monkeypatch) -> None:
    drawing = flows[1] if name == "forward_kl" else flows[0]
    plain = drawing.draw_noise

    def damaged(count, generator=None):
        noise = plain(count, generator)
        noise[0][1] = math.inf
        return noise

    monkeypatch.setattr(drawing, "draw_noise", damaged)
    loss = backward(config({name: 1, "nll": 1}), *flows, digits, x)
    assert loss.masked == {name: 1}
    assert math.isfinite(loss.total.item())
    assert all(torch.isfinite(gradient).all() for gradient in gradients(flows[0]).values())


def test_values_too_large_for_a_finite_sum_are_not_finite(digits: Dataset) -> None:
    nll = OBJECTIVES["nll"](DistillationConfig().nll, nll_loss=digits.nll_loss)
    values = torch.tensor([1.0, 1e308, 2.0, -1e308, 1e308], dtype=torch.float64)
    assert nll.finite(values, StepPasses()).tolist() == [True, False, True, False, False]
    several = torch.tensor([[1.0, 2.0], [1e308, 1.0], [1.0, math.nan]], dtype=torch.float64)
    assert nll.finite(several, StepPasses()).tolist() == [True, False, False]


def test_weights_are_those_of_the_examples_that_are_left(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, weights = make_flow(1, 1), torch.linspace(0.5, 1.5, 7).double()
    damaged = x.clone()
    damaged[0] = math.nan
    loss = Likelihood(digits).backward(student, Batch(damaged, weights=weights), generators())
    values = digits.nll_loss(student.log_prob(x[1:]))
    assert loss.masked == {"nll": 1}
    assert loss.total.item() == pytest.approx((values * weights[1:]).mean().item())


@pytest.mark.parametrize("count", [1, 3])
def test_where_no_value_is_finite_the_loss_is_not(count: int, flows: Flows, digits: Dataset, x) -> None:
    step = distiller(config({"nll": 1, "skd": 1}), *flows, digits)
    loss = step.backward(flows[0], Batch(x * math.nan), generators(), micro_batches=count)
    assert loss.masked == {}
    assert not math.isfinite(loss.total.item())


def break_gradients(flow: Flow, examples: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the gradients of some examples infinite from here on."""
    forward = flow.forward

    def broken(x, *rest, **named):
        made = forward(x, *rest, **named)
        rows = (x[:, None] == examples).flatten(2).all(2).any(1)
        if made.latents.parts[0].requires_grad:
            made.latents.parts[0].register_hook(lambda gradient: gradient.masked_fill(rows.view(-1, 1, 1, 1), math.inf))
        return made

    monkeypatch.setattr(flow, "forward", broken)


@pytest.mark.parametrize(
    ("name", "count", "settings"),
    [
        ("nll", 1, {}),
        ("lkd", 1, {}),
        ("density", 3, {}),
        ("lkd", 1, {"normalize": True}),
        ("lkd", 3, {"normalize": True}),
    ],
)
def test_an_example_with_a_nonfinite_gradient_is_dropped(
    name, count, settings, flows: Flows, digits, x, monkeypatch
) -> None:
    student, _ = flows
    step = distiller(config({name: 1}, {name: settings}), *flows, digits)
    rest = step.backward(student, Batch(x[[0, 1, 3, 4, 6]]), generators())
    expected = gradients(student)
    break_gradients(student, x[[2, 5]], monkeypatch)
    loss = step.backward(student, Batch(x), generators(), micro_batches=count)
    assert loss.masked == {name: 2}
    assert loss.gradient_norm.item() == pytest.approx(norm(student))
    torch.testing.assert_close(gradients(student), expected)
    torch.testing.assert_close(loss.total, rest.total)


def test_a_balance_measures_the_gradients_that_are_left(flows: Flows, digits, x, monkeypatch) -> None:
    norms: dict[str, float] = {}
    step = distiller(config({"lkd": 1, "nll": 3}, balance="gradient_norm"), *flows, digits, norms=norms)
    break_gradients(flows[0], x[[4]], monkeypatch)
    loss = step.backward(flows[0], Batch(x), generators())
    assert loss.masked == {"lkd": 1, "nll": 1}
    assert norms == {name: pytest.approx(value.item()) for name, value in loss.norms.items()}
    shares = [loss.weights[name] * norms[name] for name in ("lkd", "nll")]
    assert shares[1] == pytest.approx(3 * shares[0])


def test_where_no_gradient_is_finite_its_norm_is_not(flows: Flows, digits, x, monkeypatch) -> None:
    break_gradients(flows[0], x, monkeypatch)
    loss = backward(config({"nll": 1, "lkd": 1}), *flows, digits, x)
    assert loss.masked == {}
    assert math.isfinite(loss.total)
    assert not math.isfinite(loss.gradient_norm)


def test_a_gradient_norm_is_finite_where_the_squares_overflow(flows: Flows, digits, x) -> None:
    loss = backward(config({"lkd": 1}), *flows, digits, 1e90 * (x - 0.5))
    assert loss.masked == {}
    whole = torch.cat([gradient.flatten() for gradient in gradients(flows[0]).values()]).numpy()
    assert abs(whole).max() > 1e160  # float64 cannot hold its square
    assert loss.gradient_norm.item() == pytest.approx(math.hypot(*whole))


# --- norms and balance ------------------------------------------------------------------------------------------------


def norm(flow: Flow) -> float:
    return math.sqrt(sum(gradient.square().sum().item() for gradient in gradients(flow).values()))


def test_the_norms_are_those_of_each_terms_own_gradient(flows: Flows, digits: Dataset, x) -> None:
    student, _ = flows
    both = distiller(config({"nll": 3, "lkd": 1}), *flows, digits, steps=9, measure_every=4)
    losses = [both.backward(student, Batch(x), generators(), step) for step in (0, 3, 4, 5)]
    assert [set(loss.norms) for loss in losses] == [{"nll", "lkd"}, set(), {"nll", "lkd"}, set()]
    for name in ("nll", "lkd"):
        backward(config({name: 1}), *flows, digits, x)
        assert losses[0].norms[name].item() == pytest.approx(norm(student))


@pytest.mark.parametrize("names", [OBJECTIVES, ("nll", "lkd", "ilkd")], ids=["all", "one pass"])
def test_measuring_changes_no_gradient(names: Iterable[str], flows: Flows, digits: Dataset, x) -> None:
    found = []
    for every in (0, 1):
        step = distiller(config(dict.fromkeys(names, 1.0)), *flows, digits, measure_every=every)
        step.backward(flows[0], Batch(x), generators())
        found.append(gradients(flows[0]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_a_balance_turns_weights_into_gradient_shares(flows: Flows, digits: Dataset, x) -> None:
    student, _ = flows
    settings = config({"nll": 3, "lkd": 1}, balance="gradient_norm", balance_every=5)
    norms: dict[str, float] = {}
    step = distiller(settings, *flows, digits, steps=10, norms=norms)
    loss = step.backward(student, Batch(x), generators(), 0)
    parts = {name: loss.weights[name] * loss.norms[name].item() for name in ("nll", "lkd")}
    assert parts["nll"] / sum(parts.values()) == pytest.approx(0.75)
    assert sum(loss.weights.values()) == pytest.approx(1.0)
    assert norms == {name: pytest.approx(norm.item()) for name, norm in loss.norms.items()}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1
    assert step.backward(student, Batch(x), generators(), 1).weights == loss.weights  # until the next measurement
    later = step.backward(student, Batch(x), generators(), 5)
    for name, value in norms.items():
        assert value == pytest.approx(0.9 * loss.norms[name].item() + 0.1 * later.norms[name].item())


def test_the_gradient_of_a_balanced_step_is_that_of_its_total(flows: Flows, digits: Dataset, x) -> None:
    loss = backward(config({"nll": 3, "lkd": 1, "skd": 1}, balance="gradient_norm"), *flows, digits, x)
    balanced = gradients(flows[0])
    plain = backward(
        config({name: float(weight) for name, weight in loss.weights.items()}, normalize_weights=False),
        *flows,
        digits,
        x,
    )
    assert plain.total.item() == pytest.approx(loss.total.item())
    torch.testing.assert_close(balanced, gradients(flows[0]))


def test_a_balance_ignores_a_term_without_gradient(make_flow: MakeFlow, digits: Dataset, x) -> None:
    teacher = make_flow(1, 1)
    student = copy.deepcopy(teacher)
    loss = backward(config({"nll": 1, "lkd": 1}, balance="gradient_norm"), student, teacher, digits, x)
    assert loss.weights == pytest.approx({"nll": 0.5, "lkd": 0.5})


def test_the_total_follows_the_schedules(flows: Flows, digits: Dataset, x) -> None:
    moving = {"lkd": {"schedule": "linear"}, "skd": {"schedule": "warmup", "schedule_span": 0.5}}
    settings = config({"nll": 2, "lkd": 1, "skd": 1}, moving, normalize_weights=False)
    step = distiller(settings, *flows, digits, steps=11)
    losses = [step.backward(flows[0], Batch(x), generators(), at) for at in (0, 5, 10)]
    assert [loss.weights["lkd"] for loss in losses] == pytest.approx([1.0, 0.5, 0.0])
    assert [loss.weights["skd"] for loss in losses] == pytest.approx([1 / 5.5, 1.0, 1.0])
    for loss in losses:
        expected = sum(loss.weights[name] * value.item() for name, value in loss.terms.items())
        assert loss.total.item() == pytest.approx(expected)
