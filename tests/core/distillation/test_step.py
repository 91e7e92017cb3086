"""One step: each pass once, what is not finite left out and counted, weights that move and balance."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import StepPasses
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generators

MakeFlow = Callable[..., Flow]


def counted(monkeypatch: pytest.MonkeyPatch, **flows: Flow) -> Counter[str]:
    """Return a count, by flow and method, of the passes from now on."""
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


def test_all_twelve_terms_share_their_passes(make_flow: MakeFlow, digits: Dataset, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config(dict.fromkeys(OBJECTIVES, 1.0)), student, teacher, digits)
    counts = counted(monkeypatch, student=student, teacher=teacher)
    step(student, Batch(x), generators()).total.backward()
    assert counts == {
        "student forward": 4,  # the data; the teacher's samples; its own samples; the Jacobian's product
        "teacher forward": 3,  # the data; the student's samples; the Jacobian's product
        "student synthesize": 1,  # SKD's and reverse KL's, which are the same
        "teacher synthesize": 2,  # SKD's; forward KL's own batch
        "student decode_trace": 1,
    }


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
    ],
)
def test_a_step_makes_no_pass_that_no_term_needs(terms, expected, make_flow, digits, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config(dict.fromkeys(terms, 1.0)), student, teacher, digits)
    counts = counted(monkeypatch, student=student, teacher=teacher)
    step(student, Batch(x), generators())
    assert counts == expected


def test_terms_of_unequal_settings_do_not_share(make_flow: MakeFlow, digits: Dataset, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    settings = config({"skd": 1, "reverse_kl": 1}, {"skd": {"temperature": 0.5}})
    step = distiller(settings, student, teacher, digits)
    counts = counted(monkeypatch, student=student)
    step(student, Batch(x), generators())
    assert counts["student synthesize"] == 2


def test_both_flows_see_the_very_same_x(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    seen: list[torch.Tensor] = []
    for flow in (student, teacher):
        flow.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    distiller(config({"nll": 1, "lkd": 1, "ilkd": 1, "skd": 1}), student, teacher, digits)(
        student, Batch(x), generators()
    )
    assert len(seen) == 2
    assert all(value is x for value in seen)


def test_another_term_does_not_disturb_the_draws_of_the_first(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)

    def value(*names: str) -> float:
        step = distiller(config(dict.fromkeys(names, 1.0)), student, teacher, digits)
        return step(student, Batch(x), generators()).terms["skd"].item()

    assert value("skd") == value("skd", "jacobian", "noisy_reverse", "forward_kl", "reverse_kl")


# --- what is not finite -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in {"skd", "forward_kl", "reverse_kl"}])
def test_an_example_that_is_not_finite_is_left_out_and_counted(name, make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    damaged = x.clone()
    damaged[2, 0, 3, 3] = math.nan
    damaged[5, 0, 0, 0] = math.inf
    step = distiller(config({name: 1}, {"noisy_reverse": {"noise": 0.0}}), student, teacher, digits)
    loss = step(student, Batch(damaged), generators())
    assert loss.masked == {name: 2}
    loss.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)
    if name != "jacobian":  # whose directions are drawn for all: the rest keep theirs
        rest = step(student, Batch(x[[0, 1, 3, 4, 6]]), generators())
        torch.testing.assert_close(loss.total, rest.total)


@pytest.mark.parametrize("name", ["skd", "forward_kl", "reverse_kl"])
def test_a_sample_that_is_not_finite_is_left_out_and_counted(name, make_flow, digits, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    drawing = teacher if name == "forward_kl" else student
    plain = drawing.draw_noise

    def damaged(count, generator=None):
        noise = plain(count, generator)
        noise[0][1] = math.inf
        return noise

    monkeypatch.setattr(drawing, "draw_noise", damaged)
    step = distiller(config({name: 1, "nll": 1}), student, teacher, digits)
    loss = step(student, Batch(x), generators())
    assert loss.masked == {name: 1}
    loss.total.backward()
    assert math.isfinite(loss.total.item())
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)


def test_figures_that_add_up_to_no_finite_one_are_left_out(digits: Dataset) -> None:
    nll = OBJECTIVES["nll"](DistillationConfig().nll, nll_loss=digits.nll_loss)
    figures = torch.tensor([1.0, 1e308, 2.0, -1e308, 1e308], dtype=torch.float64)
    assert nll.finite(figures, StepPasses()).tolist() == [True, False, True, False, False]
    several = torch.tensor([[1.0, 2.0], [1e308, 1.0], [1.0, math.nan]], dtype=torch.float64)
    assert nll.finite(several, StepPasses()).tolist() == [True, False, False]


def test_weights_go_with_the_examples_that_are_left(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, weights = make_flow(1, 1), torch.linspace(0.5, 1.5, 7).double()
    damaged = x.clone()
    damaged[0] = math.nan
    loss = Likelihood(digits)(student, Batch(damaged, weights=weights), generators())
    each = digits.nll_loss(student.log_prob(x[1:]))
    assert loss.masked == {"nll": 1}
    assert loss.total.item() == pytest.approx((each * weights[1:]).mean().item())


def test_where_nothing_is_finite_nothing_is_hidden(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config({"nll": 1, "skd": 1}), student, teacher, digits)
    loss = step(student, Batch(x * math.nan), generators())
    assert loss.masked == {}
    assert not math.isfinite(loss.total.item())


def gradient(flow: Flow) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in flow.parameters()]


def break_gradients(flow: Flow, of: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gradient of some examples be infinite from here on, wherever they pass through a flow."""
    forward = flow.forward

    def broken(x, *rest, **named):
        made = forward(x, *rest, **named)
        rows = (x[:, None] == of).flatten(2).all(2).any(1)
        if made.latents.parts[0].requires_grad:
            made.latents.parts[0].register_hook(lambda gradient: gradient.masked_fill(rows.view(-1, 1, 1, 1), math.inf))
        return made

    monkeypatch.setattr(flow, "forward", broken)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["nll", "lkd", "density"])
def test_an_example_whose_gradient_alone_is_not_finite_is_left_out(
    name, count, make_flow, digits, x, monkeypatch
) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    step = distiller(config({name: 1}), student, teacher, digits)
    rest = step.backward(student, Batch(x[[0, 1, 3, 4, 6]]), generators())
    expected = gradient(student)
    break_gradients(student, x[[2, 5]], monkeypatch)
    assert step(student, Batch(x), generators()).masked == {}
    loss = step.backward(student, Batch(x), generators(), count=count)
    assert loss.masked == {name: 2}
    assert loss.gradient_norm.item() == pytest.approx(norm(student))
    torch.testing.assert_close(gradient(student), expected)
    torch.testing.assert_close(loss.total, rest.total)


def test_a_balance_follows_the_gradients_that_are_left(make_flow, digits, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    settings = config({"lkd": 1, "nll": 3}, balance="gradient_norm")
    norms: dict[str, float] = {}
    step = distiller(settings, student, teacher, digits, norms=norms)
    break_gradients(student, x[[4]], monkeypatch)
    loss = step.backward(student, Batch(x), generators())
    assert loss.masked == {"lkd": 1, "nll": 1}
    assert norms == {name: pytest.approx(value.item()) for name, value in loss.norms.items()}
    shares = [loss.weights[name] * norms[name] for name in ("lkd", "nll")]
    assert shares[1] == pytest.approx(3 * shares[0])


def test_where_no_gradient_is_finite_nothing_is_hidden(make_flow, digits, x, monkeypatch) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    break_gradients(student, x, monkeypatch)
    loss = distiller(config({"nll": 1, "lkd": 1}), student, teacher, digits).backward(student, Batch(x), generators())
    assert loss.masked == {}
    assert math.isfinite(loss.total)
    assert not math.isfinite(loss.gradient_norm)


def test_a_gradient_whose_squares_are_too_large_is_a_gradient_still(make_flow, digits, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    far = 1e90 * (x - 0.5)
    loss = distiller(config({"lkd": 1}), student, teacher, digits).backward(student, Batch(far), generators())
    assert loss.masked == {}
    whole = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]).numpy()
    assert abs(whole).max() > 1e160  # whose square float64 does not have
    assert loss.gradient_norm.item() == pytest.approx(math.hypot(*whole))


# --- weights ------------------------------------------------------------------------------------------------------


def test_the_norms_are_those_of_each_terms_own_gradient(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    both = distiller(config({"nll": 3, "lkd": 1}), student, teacher, digits, steps=9, measure_every=4)
    for step in range(6):
        loss = both.backward(student, Batch(x), generators(), step)
        assert set(loss.norms) == ({"nll", "lkd"} if step in (0, 4) else set())
    measured = both.backward(student, Batch(x), generators(), 0).norms
    for name in ("nll", "lkd"):
        distiller(config({name: 1}), student, teacher, digits).backward(student, Batch(x), generators())
        assert measured[name].item() == pytest.approx(norm(student))


def norm(flow: Flow) -> float:
    return math.sqrt(sum(p.grad.square().sum().item() for p in flow.parameters() if p.grad is not None))


def test_measuring_changes_no_gradient(make_flow: MakeFlow, digits: Dataset, x) -> None:
    teacher = make_flow(2, 2)
    gradients = []
    for every in (0, 1):
        student = make_flow(1, 1)
        step = distiller(config(dict.fromkeys(OBJECTIVES, 1.0)), student, teacher, digits, measure_every=every)
        step.backward(student, Batch(x), generators())
        gradients.append([p.grad for p in student.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_a_balance_makes_shares_of_the_weights(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    settings = config({"nll": 3, "lkd": 1}, balance="gradient_norm", balance_every=5)
    norms: dict[str, float] = {}
    step = distiller(settings, student, teacher, digits, steps=10, norms=norms)
    loss = step.backward(student, Batch(x), generators(), 0)
    parts = {name: loss.weights[name] * loss.norms[name].item() for name in ("nll", "lkd")}
    assert parts["nll"] / sum(parts.values()) == pytest.approx(0.75)
    assert sum(loss.weights.values()) == pytest.approx(1.0)
    assert norms == {name: pytest.approx(norm.item()) for name, norm in loss.norms.items()}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1
    assert step.backward(student, Batch(x), generators(), 1).weights == loss.weights  # until it measures again
    later = step.backward(student, Batch(x), generators(), 5)
    for name, value in norms.items():
        assert value == pytest.approx(0.9 * loss.norms[name].item() + 0.1 * later.norms[name].item())


def test_a_balanced_steps_gradient_is_that_of_its_total(make_flow: MakeFlow, digits: Dataset, x) -> None:
    teacher, student = make_flow(2, 2), make_flow(1, 1)
    settings = config({"nll": 3, "lkd": 1, "skd": 1}, balance="gradient_norm")
    loss = distiller(settings, student, teacher, digits).backward(student, Batch(x), generators())
    found = [p.grad.clone() for p in student.parameters() if p.grad is not None]
    plain = config(dict(loss.weights), normalize_weights=False)
    same = distiller(plain, student, teacher, digits).backward(student, Batch(x), generators())
    assert same.total.item() == pytest.approx(loss.total.item())
    expected = [p.grad for p in student.parameters() if p.grad is not None]
    torch.testing.assert_close(found, expected)


def test_a_balance_leaves_a_term_without_gradient_alone(make_flow: MakeFlow, digits: Dataset, x) -> None:
    teacher = make_flow(1, 1)
    student = copy.deepcopy(teacher)
    settings = config({"nll": 1, "lkd": 1}, balance="gradient_norm")
    loss = distiller(settings, student, teacher, digits).backward(student, Batch(x), generators())
    assert loss.weights == pytest.approx({"nll": 0.5, "lkd": 0.5})


def test_schedules_move_the_weights(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    moving = {"lkd": {"schedule": "linear"}, "skd": {"schedule": "warmup", "schedule_span": 0.5}}
    settings = config({"nll": 2, "lkd": 1, "skd": 1}, moving, normalize_weights=False)
    step = distiller(settings, student, teacher, digits, steps=11)
    seen = [step(student, Batch(x), generators(), at) for at in (0, 5, 10)]
    assert [loss.weights["lkd"] for loss in seen] == pytest.approx([1.0, 0.5, 0.0])
    assert [loss.weights["skd"] for loss in seen] == pytest.approx([1 / 5.5, 1.0, 1.0])
    for loss in seen:
        expected = sum(loss.weights[name] * value.item() for name, value in loss.terms.items())
        assert loss.total.item() == pytest.approx(expected)
