"""Pruned coupling networks: units that add nothing are removed, and the last layer is the ridge regression's."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.data import Batch
from nfkd.distillation.inherit_narrower import network_inputs, prune_network
from nfkd.distillation.inheritance import Inheritance
from nfkd.flows.architectures import build_flow
from nfkd.flows.networks import CouplingNetwork
from tests.core.flows.flow_cases import batch, context_of, generator

KINDS: dict[str, dict[str, Any]] = {
    "image": {"kernels": (3, 1), "last_kernel": 3},
    "vector": {"kernels": (None, None), "last_kernel": None},
}
KEPT = [0, 2, 3, 6]


def network(kind: str, hidden: int, seed: int) -> CouplingNetwork:
    """Return a network with noise on every parameter."""
    made, rng = CouplingNetwork(2, hidden, 3, generator=generator(seed), **KINDS[kind]).double(), generator(seed + 1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return made


def activate(network: CouplingNetwork, x: Tensor) -> None:
    """Give every hidden unit the mean 0 before its ReLU, so that none is always off."""
    for norm in cast("Any", network.norms):
        torch.nn.init.zeros_(norm.bias)
    network.initialize(x)


def inputs_of(kind: str, count: int = 40) -> Tensor:
    shape = (count, 2, 5, 4) if kind == "image" else (20 * count, 2)
    return torch.randn(shape, generator=generator(3), dtype=torch.float64)


def relative_error(outputs: Tensor, expected: Tensor) -> float:
    return float((outputs - expected).norm() / (expected - expected.mean()).norm())


def last_weight(network: CouplingNetwork) -> Tensor:
    assert network.last.weight is not None
    return network.last.weight


@pytest.mark.parametrize("kind", KINDS)
def test_units_without_an_effect_are_removed(kind: str) -> None:
    teacher, student, x = network(kind, 8, 1), network(kind, 4, 5), inputs_of(kind)
    dead = [unit for unit in range(8) if unit not in KEPT]
    with torch.no_grad():
        teacher.weights[1][:, dead] = 0  # of the first hidden layer
        last_weight(teacher)[:, dead] = 0  # of the second
    activate(teacher, x)
    prune_network(student, teacher, x)
    assert torch.equal(student.weights[0], teacher.weights[0][KEPT])
    assert torch.equal(student.weights[1], teacher.weights[1][KEPT][:, KEPT])
    for mine, theirs in zip(cast("Any", student.norms), cast("Any", teacher.norms), strict=True):
        torch.testing.assert_close(mine.bias, theirs.bias[KEPT])
        assert torch.equal(mine.log_scale, theirs.log_scale[KEPT])
    outputs, expected = student(x).detach(), teacher(x).detach()
    assert float((outputs - expected).norm()) < 0.02 * float(
        (expected - expected.mean()).norm()
    )  # what the ridge costs


@pytest.mark.parametrize("kind", KINDS)
def test_constant_units_become_a_bias(kind: str) -> None:
    teacher, student, x = network(kind, 8, 1), network(kind, 4, 5), inputs_of(kind)
    constant = [unit for unit in range(8) if unit not in KEPT]
    norms = cast("Any", teacher.norms)
    activate(teacher, x)
    with torch.no_grad():
        teacher.weights[0][constant] = 0
        norms[0].bias[constant] = torch.tensor([0.1, 0.2, 0.1, 0.3]).double()
        last_weight(teacher)[:, constant] = 0
    prune_network(student, teacher, x)
    assert torch.equal(student.weights[0], teacher.weights[0][KEPT])
    values = norms[0].bias[constant] * norms[0].log_scale[constant].exp()
    added = teacher.weights[1].flatten(1)[KEPT][:, constant] @ values
    torch.testing.assert_close(cast("Any", student.norms)[1].bias, norms[1].bias[KEPT] + added)
    outputs, expected = student(x).detach(), teacher(x).detach()
    assert relative_error(outputs, expected) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_is_that_of_a_ridge_regression(kind: str) -> None:
    teacher, student, x = network(kind, 8, 1), network(kind, 3, 5), inputs_of(kind)
    prune_network(student, teacher, x)
    seen: list[Tensor] = []
    hook = student.last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    outputs = student(x).detach()
    hook.remove()
    if kind == "vector":
        features = seen[0].numpy()
    else:  # every channel's 3×3 window around every pixel, with zeros outside
        padded = np.pad(seen[0].numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        features = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * 9)
    targets = teacher(x).detach().movedim(1, -1).reshape(-1, 3).numpy()
    strength = 1e-3 * features.var(axis=0).mean() * len(features)
    fitted = Ridge(alpha=strength).fit(features, targets).predict(features)
    torch.testing.assert_close(outputs.movedim(1, -1).reshape(-1, 3), torch.from_numpy(fitted), rtol=1e-7, atol=1e-7)


def test_a_narrower_student_is_closer_to_its_teacher_than_a_fresh_one() -> None:
    teacher_config = Glow1DConfig(steps=2, hidden=12)
    config = teacher_config.model_copy(update={"hidden": 6})
    teacher = build_flow(teacher_config, (4,), generator=generator(1)).double()
    x = batch((4,), 256, seed=5)
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if ".mixing.norm." not in name:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator(2), dtype=torch.float64)
    teacher.initialize_outer(x)
    student, fresh = (build_flow(config, (4,), generator=generator(9)).double() for _ in range(2))
    Inheritance("blocks", configs=(config, teacher_config)).apply(student, teacher, Batch(x))
    fresh.initialize(x)
    new = batch((4,), 64, seed=6)
    errors = [(flow.log_prob(new) - teacher.log_prob(new)).abs().mean().item() for flow in (student, fresh)]
    assert errors[0] < 0.5 * errors[1]


def test_a_network_sees_its_inputs_with_the_context() -> None:
    config = GlowConfig(levels=1, steps=2, hidden=4)
    flow = build_flow(config, (1, 4, 4), context_features=3, generator=generator(1)).double()
    flow.initialize(batch((1, 4, 4), 16), context_of(3, 16))
    x, context = batch((1, 4, 4)), context_of(3)
    assert context is not None
    inputs = network_inputs(flow, Batch(x, context))
    first = cast("Any", flow.layers[1])
    mixed = first.mixing(flow.trace(x, context)["level1.squeeze"][0])[0].detach()
    seen = inputs[first.coupling.network]
    torch.testing.assert_close(seen[:, :2], mixed[:, :2])
    torch.testing.assert_close(seen[:, 2:], context[:, :, None, None].expand(6, 3, 2, 2))
    assert len(inputs) == 2
    assert not any(module._forward_pre_hooks for module in flow.modules())
