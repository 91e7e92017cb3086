"""The other terms against autograd or a plain loop, and all terms with every architecture."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from nfkd.config import DigitsConfig
from nfkd.config.flows import MAFConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import ARCHITECTURES, build_flow
from nfkd.flows.flow import Flow, Latents
from nfkd.flows.foreign import wrap_teacher
from tests.core.distillation.steps import backward, config, distiller, generator, generators, gradients, term
from tests.core.tiny import moons

MakeFlow = Callable[..., Flow]
BITS = 64 * math.log(2)


def test_forward_kl_is_the_likelihood_of_the_teachers_own_samples(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    noise = [0.8 * torch.randn(5, *shape, generator=g) for g in [generator()] for shape in teacher.latent_shapes]
    samples = teacher.synthesize([part.double() for part in noise])
    expected = -student.log_prob(samples).mean().item() / BITS + math.log2(17)
    assert term("forward_kl", student, teacher, digits, x, temperature=0.8) == pytest.approx(expected, rel=1e-6)


def test_reverse_kl_agrees_with_the_change_of_variables(make_flow: MakeFlow, digits: Dataset, x) -> None:
    # log p_S(g_S(u)) by the log-determinant of autograd's Jacobian, not by the flow's own log_prob.
    student, teacher = make_flow(1, 1, levels=1), make_flow(2, 2, levels=1)
    [noise] = student.draw_noise(5, generator())
    values = []
    for u in noise:
        back = jacobian(lambda z: student.synthesize([z.view(1, 4, 4, 4)]).flatten(), u.flatten())
        normal = -0.5 * (u.square().sum() + 64 * math.log(2 * math.pi))
        sample = student.synthesize([u[None]])
        values.append((normal - torch.linalg.slogdet(back)[1] - teacher.log_prob(sample)[0]).item())
    assert term("reverse_kl", student, teacher, digits, x) == pytest.approx(np.mean(values) / BITS, rel=1e-6)


def test_density_is_per_dimension(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    difference = (student.log_prob(x) - teacher.log_prob(x)).detach().numpy() / 64
    assert term("density", student, teacher, digits, x) == pytest.approx(np.mean(difference**2))


def test_log_det_compares_the_increments_between_matched_layers(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(3, 2)
    outputs, targets = student.trace(x), teacher.trace(x)
    first = outputs["level1.step1"][1] - targets["level1.step3"][1]
    whole = outputs["level2.step1"][1] - targets["level2.step3"][1]
    expected = ((first / 64) ** 2 + ((whole - first) / 64) ** 2).mean().item()
    assert term("log_det", student, teacher, digits, x) == pytest.approx(expected)


def test_score_is_the_gradient_by_finite_differences(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    x = x[:2]

    def score(flow: Flow, example: torch.Tensor) -> torch.Tensor:
        steps = 1e-6 * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
        return (flow.log_prob(example + steps) - flow.log_prob(example - steps)) / 2e-6

    with torch.no_grad():
        errors = [(score(student, example) - score(teacher, example)).square().sum().item() / 64 for example in x]
    assert term("score", student, teacher, digits, x) == pytest.approx(np.mean(errors), rel=1e-6)


def test_jacobian_is_the_product_with_the_whole_jacobian(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    x = x[:2]
    signs = 2 * torch.randint(2, x.shape, generator=generator()).double() - 1
    errors = []
    for example, direction in zip(x, signs, strict=True):
        whole = [
            jacobian(lambda value, flow=flow: flow.encode(value[None]).flat()[0], example).flatten(1)
            for flow in (student, teacher)
        ]
        errors.append(((whole[0] - whole[1]) @ direction.flatten()).square().sum().item() / 64)
    assert term("jacobian", student, teacher, digits, x) == pytest.approx(np.mean(errors))


def test_relational_by_plain_loops(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    z = [flow.encode(x).flat().detach().numpy() for flow in (student, teacher)]
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    distances = [{(i, j): np.linalg.norm(each[i] - each[j]) for i, j in pairs} for each in z]
    means = [np.mean(list(each.values())) for each in distances]
    differences = [abs(distances[0][pair] / means[0] - distances[1][pair] / means[1]) for pair in pairs]
    huber = [0.5 * d**2 if d <= 1 else d - 0.5 for d in differences]
    assert term("relational", student, teacher, digits, x) == pytest.approx(np.mean(huber))


def test_relational_has_a_finite_gradient_where_two_examples_are_equal(make_flow: MakeFlow, digits, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    backward(config({"relational": 1}), student, teacher, digits, torch.cat([x, x[:1]]))
    assert all(torch.isfinite(gradient).all() for gradient in gradients(student).values())


def test_noisy_reverse_by_single_layers(make_flow: MakeFlow, digits: Dataset, x) -> None:
    student, teacher = make_flow(1, 1), make_flow(2, 2)
    made, g = teacher(x, trace=True), generator()
    scale = (0.3 * torch.rand(7, generator=g)).view(7, 1, 1, 1).double()
    noise = [torch.randn(part.shape, generator=g).double() for part in made.latents.parts]
    left, last = (part + scale * epsilon for part, epsilon in zip(made.latents.parts, noise, strict=True))
    names = [info.name for info in student.layer_info()]
    layers: dict[str, Any] = dict(zip(names, student.layers, strict=True))
    h = layers["level2.squeeze"].inverse(layers["level2.step1"].inverse(last))
    h = layers["level1.split"].inverse(h, left)  # the output of the student's first level
    data = layers["level1.squeeze"].inverse(layers["level1.step1"].inverse(h))
    errors = [(h - made.trace["level1.step2"][0]).square().mean().item(), (data - x).square().mean().item()]
    assert term("noisy_reverse", student, teacher, digits, x) == pytest.approx(np.mean(errors), rel=1e-6)
    assert term("noisy_reverse", student, copy.deepcopy(student), digits, x, noise=0.0) == pytest.approx(0, abs=1e-20)


def test_a_student_equal_to_its_teacher_has_no_error(make_flow: MakeFlow, digits: Dataset, x) -> None:
    # LKD, ILKD and SKD are exactly zero: both flows see the same x, and the same noise for the split-off latents.
    teacher = make_flow(2, 3)
    bounds = {"lkd": 0, "ilkd": 0, "skd": 0, "noisy_reverse": 1e-20}
    bounds |= dict.fromkeys(("density", "log_det", "score", "jacobian", "relational", "reverse_kl"), 1e-12)
    settings = config(dict.fromkeys(bounds, 1.0), {"noisy_reverse": {"noise": 0.0}})
    loss = backward(settings, copy.deepcopy(teacher), teacher, digits, x)
    assert all(abs(loss.terms[name].item()) <= bound for name, bound in bounds.items())


def test_decode_trace_agrees_with_trace(make_flow: MakeFlow, x) -> None:
    flow = make_flow(2, 1)
    made = flow(x, trace=True)
    inverse, trace = flow.decode_trace(Latents(made.latents.parts, made.latents.log_det))
    torch.testing.assert_close(inverse, x)
    assert list(trace) == list(made.trace)[::-1]
    for name, value in trace.items():
        torch.testing.assert_close(value, made.trace[name][0])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_learns_by_every_term(kind: str) -> None:
    [case, *_] = [case for case in ARCHITECTURES[kind].cases() if not getattr(case[0], "batch_norm", False)]
    settings, shape, context_features = case
    dataset = load_dataset(DigitsConfig()) if len(shape) == 3 else load_dataset(moons().data)
    student, teacher = (
        build_flow(settings, shape, context_features=context_features, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 2)
    )
    batch = Batch(
        torch.rand(6, *shape, generator=generator()),
        torch.rand(6, context_features, generator=generator()) if context_features else None,
    )
    for flow in (student, teacher):
        flow.initialize(batch.x, batch.context)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator())
    step = distiller(config(dict.fromkeys(OBJECTIVES, 1.0)), student, teacher, dataset, measure_every=1)
    loss = step.backward(student, batch, generators())
    assert loss.masked == {}
    assert loss.norms.keys() == OBJECTIVES.keys()
    assert all(torch.isfinite(norm) and norm > 0 for norm in loss.norms.values())
    assert all(torch.isfinite(gradient).all() for gradient in gradients(student).values())
    assert gradients(teacher) == {}


@pytest.mark.parametrize("name", ["score", "jacobian"])
def test_derivatives_by_x_use_the_running_means_of_batch_norm(name: str) -> None:
    settings = MAFConfig(steps=2, hidden=8, batch_norm=True)
    student, teacher = (build_flow(settings, (2,), generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    x = torch.randn(9, 2, generator=generator())
    for flow in (student, teacher):
        flow.initialize(x)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator())
    step = distiller(config({name: 1}), student, teacher, load_dataset(moons().data))
    trained = step.backward(student, Batch(x), generators())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in student.parameters())
    assert student.training
    student.eval()
    evaluated = step.backward(student, Batch(x), generators())
    assert trained.total.item() == pytest.approx(evaluated.total.item(), rel=0.2)  # the running means moved a little
    assert name != "jacobian" or trained.total.item() == evaluated.total.item()


def test_a_teacher_of_another_library_serves_every_term() -> None:
    import zuko

    torch.manual_seed(3)
    teacher = wrap_teacher(zuko.flows.NSF(2, transforms=2, hidden_features=[8]))
    student = build_flow(moons().student, (2,), generator=generator())
    x = torch.randn(6, 2, generator=generator())
    student.initialize(x)
    dataset, settings = load_dataset(moons().data), config(dict.fromkeys(OBJECTIVES, 1.0))
    loss = backward(settings, student, teacher, dataset, x)
    assert all(torch.isfinite(value) for value in loss.terms.values())
    for name, term_config in settings.terms().items():
        assert OBJECTIVES[name](term_config).problems(student, teacher, dataset) == []
