"""What distillation requires of two flows: the same noise, and gradients through synthesis."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.layer import Split

PAIRS: list[tuple[FlowConfig, FlowConfig, tuple[int, ...]]] = [
    (GlowConfig(levels=2, steps=3, hidden=7), GlowConfig(levels=2, steps=1, hidden=4), (1, 8, 8)),
    (GlowConfig(levels=3, steps=2, hidden=5), GlowConfig(levels=3, steps=1, hidden=3), (1, 8, 8)),
    (Glow1DConfig(steps=4, hidden=8), Glow1DConfig(steps=2, hidden=4), (5,)),
]
every_pair = pytest.mark.parametrize(("teacher", "student", "shape"), PAIRS, ids=["two levels", "three", "vectors"])
every_flow = pytest.mark.parametrize(
    ("config", "shape"), [(pair[1], pair[2]) for pair in PAIRS], ids=["two levels", "three", "vectors"]
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], count: int, seed: int) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64)


def perturbed(config: FlowConfig, shape: tuple[int, ...], seed: int = 0) -> Flow:
    flow = build_flow(config, shape, generator=generator(seed)).double()
    flow.initialize(batch(shape, 64, seed + 1))
    rng = generator(seed + 2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


def noise_of(flow: Flow, x: Tensor, temperature: float) -> list[Tensor]:
    """Compute ε from samples, from data to latents, the other way from `synthesize`."""
    found = []
    for layer in flow.layers:
        if isinstance(layer, Split):
            x, left = layer(x)
            mean, log_scale = layer.prior(x)
            found.append((left - mean) / (temperature * log_scale.exp()))
        else:
            x, _ = layer(x)
    return [*found, x / temperature]


@every_pair
def test_both_flows_map_the_same_noise_at_every_level(
    teacher: FlowConfig, student: FlowConfig, shape: tuple[int, ...]
) -> None:
    flows = perturbed(teacher, shape, 0), perturbed(student, shape, 10)
    assert flows[0].latent_shapes == flows[1].latent_shapes
    noise = flows[0].draw_noise(6, generator(3))
    for flow, temperature in itertools.product(flows, (0.7, 1.0)):
        found = noise_of(flow, flow.synthesize(noise, temperature), temperature)
        for part, expected in zip(found, noise, strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-8, atol=1e-8)


@every_flow
def test_the_noise_of_every_level_changes_the_sample(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow = perturbed(config, shape)
    noise = flow.draw_noise(2, generator(4))
    sample = flow.synthesize(noise)
    for level in range(len(noise)):
        moved = [part + (number == level) for number, part in enumerate(noise)]
        assert (flow.synthesize(moved) - sample).abs().max() > 1e-3


@every_flow
def test_noise_is_standard_normal_and_repeats(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow = perturbed(config, shape)
    noise = flow.draw_noise(4000, generator(5))
    assert [tuple(part.shape[1:]) for part in noise] == flow.latent_shapes
    flat = torch.cat([part.flatten(1) for part in noise], dim=1)
    assert flat.shape[1] == batch(shape, 1, 0).numel()
    torch.testing.assert_close(flat.T.cov(), torch.eye(flat.shape[1], dtype=torch.float64), rtol=0, atol=0.12)
    for part, again in zip(noise, flow.draw_noise(4000, generator(5)), strict=True):
        torch.testing.assert_close(part, again, rtol=0, atol=0)


@every_flow
def test_gradients_flow_through_a_synthesized_sample(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow = perturbed(config, shape)
    noise = flow.draw_noise(3, generator(6))
    direction = batch(shape, 3, 7)
    flow.synthesize(noise).mul(direction).sum().backward()
    rng = generator(8)
    for name, parameter in flow.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        step = 1e-6 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            values = []
            for sign in (1, -2):  # forward, then backward past the start
                parameter += sign * step
                values.append(flow.synthesize(noise).mul(direction).sum())
            parameter += step
        expected = (values[0] - values[1]) / 2
        torch.testing.assert_close((gradient * step).sum(), expected, rtol=1e-3, atol=1e-10, msg=name)


def moved(config: FlowConfig, shape: tuple[int, ...], seed: int) -> Flow:
    """A flow with ordinary numbers in every parameter, also in ActNorm.

    Initialised by a batch, a nearly constant unit of a tiny network gets a scale of thousands. A small change of its
    bias then saturates the coupling's sigmoid, which float64 cannot invert.
    """
    flow, rng = build_flow(config, shape, generator=generator(seed)).double(), generator(seed + 2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


options = {
    "permutation": st.sampled_from(["lu", "dense", "shuffle", "reverse"]),
    "coupling": st.sampled_from(["affine", "additive"]),
    "scale": st.sampled_from(["sigmoid", "tanh"]),
    "actnorm": st.booleans(),
    "learned_prior": st.booleans(),
}
flows = st.one_of(
    st.tuples(
        st.builds(
            GlowConfig,
            levels=st.integers(1, 2),
            steps=st.integers(1, 3),
            hidden=st.integers(1, 6),
            checkerboard=st.integers(0, 2),
            **options,
        ),
        st.tuples(st.integers(1, 3), st.sampled_from([4, 8, 12]), st.sampled_from([4, 8])),
    ),
    st.tuples(
        st.builds(
            Glow1DConfig,
            steps=st.integers(1, 4),
            hidden=st.integers(1, 6),
            depth=st.integers(1, 3),
            network=st.sampled_from(["mlp", "residual"]),
            **options,
        ),
        st.tuples(st.integers(2, 9)),
    ),
)


@settings(max_examples=25, deadline=None)
@given(flows, st.integers(0, 2**16))
def test_any_flow_is_a_bijection(case: tuple[FlowConfig, tuple[int, ...]], seed: int) -> None:
    config, shape = case
    flow, x = moved(config, shape, seed), batch(shape, 3, seed + 3)
    with torch.no_grad():
        result = flow(x, trace=True)
        assert (flow.decode(result.latents) - x).abs().max() <= 1e-9
        assert result.latents.flat().shape == (3, x[0].numel())
        torch.testing.assert_close(flow.log_prob(x), result.log_prob, rtol=0, atol=0)
        last, log_det = list(result.trace.values())[-1]
    assert last is result.latents.parts[-1]
    assert log_det is result.latents.log_det
