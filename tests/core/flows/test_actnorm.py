"""The initialisation of every ActNorm by the first batch, exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import Module, functional

import nfkd
from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork, Norm, ResidualBlock, ResidualNetwork
from nfkd.training import seed_run
from tests.core.flows.flow_cases import Shape, batch, generator
from tests.core.tiny import moons

Means = dict[Norm, Tensor]
"""The wanted means of the channels after the first batch."""

every_glow = pytest.mark.parametrize(
    ("config", "shape"),
    [
        (GlowConfig(levels=1, steps=2, hidden=5), (1, 4, 4)),
        (GlowConfig(levels=2, steps=1, hidden=4), (3, 4, 4)),
        (GlowConfig(levels=3, steps=1, hidden=4), (1, 8, 8)),
        (Glow1DConfig(steps=3, hidden=6), (2,)),
        (Glow1DConfig(steps=2, hidden=6, depth=3), (5,)),
        (GlowConfig(levels=1, steps=2, hidden=5, permutation="dense"), (1, 4, 4)),
        (GlowConfig(levels=2, steps=1, hidden=4, permutation="reverse", checkerboard=2), (3, 4, 4)),
        (Glow1DConfig(steps=2, hidden=6, permutation="shuffle", network="residual"), (5,)),
    ],
    ids=["one level", "two", "three", "plane", "five features", "dense", "checkerboard", "residual"],
)


State = dict[str, Tensor]


def state_of(flow: Flow) -> State:
    return {name: value.clone() for name, value in flow.state_dict().items()}


def assert_standardised(x: Tensor, norm: Norm, mean: Tensor) -> Tensor:
    """Check that (x + b)·exp(s) has a mean, and deviation 1 in every channel that is not constant."""
    shape = (1, -1, *[1] * (x.dim() - 2))
    y = (x + norm.bias.detach().view(shape)) * norm.log_scale.detach().exp().view(shape)
    dimensions = [0, *range(2, x.dim())]
    varies = x.std(dimensions) > 1e-3
    assert varies.any()
    torch.testing.assert_close(y.mean(dimensions), mean, atol=1e-9, rtol=1e-5)
    deviation = y.std(dimensions, correction=0)[varies]
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=2e-3, rtol=0)
    return y


@every_glow
def test_every_norm_standardises_the_first_batch(config: FlowConfig, shape: Shape) -> None:
    flow, x = build_flow(config, shape, generator=generator()).double(), 5 + 3 * batch(shape, 200)
    assert not flow.initialized
    means = {norm: norm.bias.detach().clone() for norm in flow.modules() if isinstance(norm, Norm)}
    flow.initialize(x)
    assert flow.initialized
    for layer, (name, (after, _)) in zip(flow.layers, flow.trace(x).items(), strict=True):
        if isinstance(layer, FlowStep):
            norm = layer.mixing.get_submodule("norm")
            assert isinstance(norm, Norm)
            assert not means[norm].any()
            assert_standardised(x, norm, means[norm])
            assert isinstance(layer.coupling, Coupling)
            assert_network_standardised(layer.coupling, kept(layer.mixing(x)[0], name), means)
        x = after


def kept(x: Tensor, name: str) -> Tensor:
    """The part of x that the coupling keeps and its network sees: half of the channels, or every other square."""
    _, checker, number = name.partition(".checker")
    if not checker:
        return x[:, : x.shape[1] // 2]
    squares = torch.arange(x.shape[2])[:, None] + torch.arange(x.shape[3])
    return torch.where(squares % 2 == int(number) % 2, x, torch.zeros_like(x))


def assert_network_standardised(coupling: Coupling, x: Tensor, means: Means) -> None:
    network = coupling.network
    if isinstance(network, ResidualNetwork):
        x = assert_layer_standardised(x, network.first, network.norm, means)
        for block in network.blocks:
            assert isinstance(block, ResidualBlock)
            assert_layer_standardised(x.relu(), block.first, block.norm, means)
            torch.testing.assert_close(block(x), x, rtol=0, atol=0)  # every block starts as the identity
        return
    assert isinstance(network, CouplingNetwork)
    for weight, norm in zip(network.weights, network.norms, strict=True):
        x = assert_layer_standardised(x, weight, norm, means).relu()


def assert_layer_standardised(x: Tensor, weight: Tensor, norm: Module, means: Means) -> Tensor:
    assert isinstance(norm, Norm)
    if x.dim() == 4:
        assert not means[norm].any()
        plain = functional.conv2d(x, weight, padding="same")
    else:  # else all units of a single input would have the same kink
        assert means[norm].abs().max() <= 2
        assert len(means[norm].unique()) == len(means[norm])
        length = weight.norm(dim=1)  # short rows would get scales of thousands
        torch.testing.assert_close(length, torch.full_like(length, 0.05 * weight.shape[1] ** 0.5))
        plain = functional.linear(x, weight)
    return assert_standardised(plain, norm, means[norm])


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (GlowConfig(levels=2, steps=1, hidden=4, permutation="reverse", checkerboard=2), (3, 4, 4)),
        (Glow1DConfig(steps=2, hidden=6, permutation="shuffle", network="residual"), (5,)),
    ],
    ids=["checkerboard", "residual"],
)
def test_a_second_initialisation_has_no_effect(config: FlowConfig, shape: Shape) -> None:
    flow, x = build_flow(config, shape, generator=generator()).double(), batch(shape, 50)
    flow.initialize(x)
    before = state_of(flow)
    flow.initialize(10 * x)
    flow.train().log_prob(10 * x)
    torch.testing.assert_close(state_of(flow), before, rtol=0, atol=0)
    other = build_flow(config, shape, generator=generator(9)).double()
    other.load_state_dict(flow.state_dict())
    other.initialize(10 * x)
    torch.testing.assert_close(state_of(other), before, rtol=0, atol=0)


def test_a_forward_pass_does_not_initialise() -> None:
    flow = build_flow(GlowConfig(levels=1, steps=1, hidden=4), (1, 4, 4), generator=generator())
    before = state_of(flow)
    flow.train()(torch.rand(8, 1, 4, 4, generator=generator()))
    assert not flow.initialized
    torch.testing.assert_close(state_of(flow), before, rtol=0, atol=0)


def test_a_run_initialises_each_flow_with_its_first_batch_and_does_not_change_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Flow, Tensor]] = []
    seen: dict[int, Tensor] = {}
    teachers: list[tuple[Flow, State]] = []
    initialize, forward, freeze = Flow.initialize, Flow.forward, seed_run.freeze

    def spy_on_initialize(flow: Flow, x: Tensor, context: Tensor | None = None) -> None:
        calls.append((flow, x))
        initialize(flow, x, context)

    def spy_on_forward(flow: Flow, x: Tensor, *arguments: object, **named: object) -> object:
        if flow.training and torch.is_grad_enabled() and any(p.requires_grad for p in flow.parameters()):
            seen.setdefault(id(flow), x)
        return forward(flow, x, *arguments, **named)  # type: ignore[arg-type]

    def spy_on_freeze(flow: Flow) -> Flow:
        teachers.append((freeze(flow), state_of(flow)))
        return teachers[-1][0]

    monkeypatch.setattr(Flow, "initialize", spy_on_initialize)
    monkeypatch.setattr(Flow, "forward", spy_on_forward)
    monkeypatch.setattr(seed_run, "freeze", spy_on_freeze)
    maf = {"kind": "maf", "hidden": 8, "steps": 3, "batch_norm": True}
    training = {"teacher_steps": 5, "student_steps": 5, "batch_size": 32}
    record = nfkd.run(moons(teacher=maf, training=training), tmp_path / "run")
    assert len({id(flow) for flow, _ in calls}) == len(calls) == 3  # teacher, student and baseline, once each
    for flow, x in calls:
        assert len(x) == 32
        torch.testing.assert_close(seen[id(flow)], x, rtol=0, atol=0)  # the batch of the first step
    [(teacher, before)] = teachers
    assert not teacher.training
    stored = record.load_teacher().scaled
    for flow in (teacher, stored):
        torch.testing.assert_close(state_of(flow), before, rtol=0, atol=0)
    assert stored.state_dict()["layers.1.mean"].abs().max() > 0  # the running means were saved
