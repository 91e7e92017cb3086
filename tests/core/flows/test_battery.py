"""Properties of every flow, with noise on every parameter: a fresh flow passes most tests trivially."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Latents
from nfkd.runs.weights import load_weights, save_weights
from tests.core.flows.flow_cases import (
    Shape,
    batch,
    context_of,
    every_flow,
    generator,
    initialised,
    perturbed,
    priors,
    shared,
    standardised,
)


def one(context: Tensor | None, number: int) -> Tensor | None:
    return None if context is None else context[number : number + 1]


def jacobian_of(function: Callable[[Tensor], Tensor], example: Tensor) -> Tensor:
    """The square matrix of partial derivatives at one example."""
    jacobian = torch.autograd.functional.jacobian(lambda v: function(v[None])[0].flatten(), example, vectorize=True)
    return torch.as_tensor(jacobian).reshape(example.numel(), example.numel())


@every_flow
def test_log_prob_is_the_priors_density_plus_the_log_determinant(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    x, c = batch(shape), context_of(features)
    for flow in (initialised(config, shape, features), shared(config, shape, features)):
        log_prob, latents = flow.log_prob(x, c), flow.encode(x, c)
        assert log_prob.shape == (6,)
        assert torch.isfinite(log_prob).all()
        expected = latents.log_det
        for z, (mean, log_scale) in zip(latents.parts, priors(flow, latents, c), strict=True):
            expected = expected + torch.distributions.Normal(mean, log_scale.exp()).log_prob(z).flatten(1).sum(1)
        torch.testing.assert_close(log_prob, expected)
    if features:  # flow is now the perturbed one
        assert (log_prob - flow.log_prob(x, context_of(features, seed=9))).abs().min() > 1e-6


@every_flow
def test_the_noise_of_an_example_is_mapped_back_to_it_and_has_the_base_density(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow, x, c = shared(config, shape, features), batch(shape), context_of(features)
    noise = flow.noise_of(x, c)
    torch.testing.assert_close(flow.synthesize(noise, context=c), x, rtol=1e-6, atol=1e-6)
    scales = [log_scale.flatten(1).sum(1) for _, log_scale in priors(flow, flow.encode(x, c), c)]
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = sum(standard.log_prob(each).flatten(1).sum(1) for each in noise) - sum(scales)
    torch.testing.assert_close(flow(x, c).base_log_prob, expected)


@every_flow
def test_the_terms_of_the_layers_add_up_to_log_prob_at_a_thousand_points(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow = shared(config, shape, features)
    x, c = batch(shape, 1000, seed=6), context_of(features, 1000)
    with torch.no_grad():
        passed = flow(x, c, trace=True)
        so_far = torch.stack([log_det for _, log_det in passed.trace.values()])
        changes = torch.diff(so_far, dim=0, prepend=torch.zeros_like(so_far[:1]))
        latents, base = flow.encode(x, c), torch.zeros(1000, dtype=torch.float64)
        for z, (mean, log_scale) in zip(latents.parts, priors(flow, latents, c), strict=True):
            base = base + torch.distributions.Normal(mean, log_scale.exp()).log_prob(z).flatten(1).sum(1)
        torch.testing.assert_close(passed.base_log_prob, base, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(base + changes.sum(0), flow.log_prob(x, c), rtol=1e-5, atol=1e-9)


@every_flow
def test_decode_is_the_exact_inverse_of_encode(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), batch(shape), context_of(features)
    assert (flow.decode(flow.encode(x, c), c) - x).abs().max() <= 1e-9
    z = [torch.randn(6, *part, generator=generator(), dtype=torch.float64) for part in flow.latent_shapes]
    back = flow.encode(flow.decode(Latents(tuple(z), torch.zeros(6)), c), c)
    for part, expected in zip(back.parts, z, strict=True):
        assert (part - expected).abs().max() <= 1e-9


@every_flow
def test_log_determinants_of_the_flow_and_of_each_layer_are_autograds(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow, x, c = shared(config, shape, features), batch(shape, 2), context_of(features, 2)
    for n, log_det in enumerate(flow.encode(x, c).log_det):
        jacobian = jacobian_of(lambda v, n=n: flow.encode(v, one(c, n)).flat(), x[n])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det, rtol=1e-8, atol=1e-8)
    x, c = x[:1], one(c, 0)
    before = torch.zeros(1, dtype=torch.float64)
    for layer, info, (after, log_det) in zip(flow.layers, flow.layer_info(), flow.trace(x, c).values(), strict=True):
        increment = torch.zeros(1, dtype=torch.float64)
        if info.kind not in {"split", "squeeze"}:
            increment = torch.linalg.slogdet(jacobian_of(lambda v, layer=layer: layer(v, c)[0], x[0]))[1]
        torch.testing.assert_close(log_det - before, increment.expand(1), rtol=1e-8, atol=1e-8)
        x, before = after, log_det


@every_flow
def test_every_parameter_and_noise_gets_a_gradient(config: FlowConfig, shape: Shape, features: int) -> None:
    flow = shared(config, shape, features)
    named = dict(flow.named_parameters())
    loss = flow.log_prob(batch(shape), context_of(features)).mean()
    for name, gradient in zip(named, torch.autograd.grad(loss, list(named.values())), strict=True):
        used = gradient
        if name.endswith((".lower", ".upper")):  # the other triangle and the diagonal are masked
            used = gradient.tril(-1) if name.endswith(".lower") else gradient.triu(1)
        assert used.abs().sum() > 0, name
    noise = [part.requires_grad_() for part in flow.draw_noise(4, generator())]
    loss = flow.synthesize(noise, context=context_of(features, 4)).square().sum()
    gradients = torch.autograd.grad(loss, [*noise, *named.values()])  # raises where a parameter has no gradient
    assert all(gradient.abs().sum() > 0 for gradient in gradients[: len(noise)])


@every_flow
def test_second_derivatives_and_forward_derivatives_exist(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), batch(shape, 1), context_of(features, 1)

    def score(v: Tensor) -> Tensor:
        return torch.autograd.grad(flow.log_prob(v, c).sum(), v, create_graph=True)[0]

    v, step = x.clone().requires_grad_(), torch.randn(x.shape, generator=generator(8), dtype=torch.float64)
    [product] = torch.autograd.grad((score(v) * step).sum(), v)
    with torch.enable_grad():
        ahead, behind = (score((x + sign * 1e-6 * step).requires_grad_()).detach() for sign in (1, -1))
    torch.testing.assert_close(product, (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-4)
    forward = torch.func.jvp(lambda u: flow.encode(u, c).flat(), (x,), (step,))[1]
    by_matrix = jacobian_of(lambda u: flow.encode(u, c).flat(), x[0]) @ step.flatten()
    torch.testing.assert_close(forward[0], by_matrix, rtol=1e-8, atol=1e-8)


@every_flow
def test_saved_weights_are_loaded_bit_for_bit(config: FlowConfig, shape: Shape, features: int, tmp_path: Path) -> None:
    flow = shared(config, shape, features)
    save_weights(tmp_path / "flow.safetensors", flow.state_dict(), "", {})
    other = build_flow(config, shape, context_features=features, generator=generator(9)).double().eval()
    assert not other.initialized
    load_weights(tmp_path / "flow.safetensors", other)
    assert other.initialized
    torch.testing.assert_close(other.state_dict(), flow.state_dict(), rtol=0, atol=0)
    x, c = batch(shape), context_of(features)
    torch.testing.assert_close(other.log_prob(x, c), flow.log_prob(x, c), rtol=0, atol=0)


@every_flow
def test_synthesize_inverts_encode_and_samples_repeat_and_scale(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow, x, c = shared(config, shape, features), batch(shape, 4), context_of(features, 4)
    noise = standardised(flow, flow.encode(x, c), c)
    torch.testing.assert_close(flow.synthesize(noise, context=c), x, rtol=1e-8, atol=1e-8)
    # Split-off latents too: z = μ(h) + τσ(h)ε, each with its own ε, which teacher and student share.
    noise = flow.draw_noise(4, generator(5))
    found = standardised(flow, flow.encode(flow.synthesize(noise, 0.7, c), c), c)
    for part, expected in zip(found, noise, strict=True):
        torch.testing.assert_close(part, 0.7 * expected, rtol=1e-8, atol=1e-8)
    c = c if c is None else c[:1].expand(4, -1)

    def draw(seed: int, temperature: float = 1.0) -> Tensor:
        return flow.sample(4, temperature=temperature, generator=generator(seed), context=c)

    first = draw(1)
    assert first.shape == (4, *shape)
    torch.testing.assert_close(first, draw(1), rtol=0, atol=0)
    assert not torch.equal(first, draw(2))
    cold = draw(1, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand_as(cold))


@every_flow
def test_the_trace_has_every_layer_in_order(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), batch(shape), context_of(features)
    trace, latents = flow.trace(x, c), flow.encode(x, c)
    infos = flow.layer_info()
    assert list(trace) == [info.name for info in infos]
    for info in infos:
        assert list(trace[info.name][0].shape[1:]) == list(info.shape)
    last, log_det = list(trace.values())[-1]
    torch.testing.assert_close(last, latents.parts[-1])
    torch.testing.assert_close(log_det, latents.log_det)
    assert flow(x, c).trace == {}
    everything = sum(parameter.numel() for parameter in flow.parameters())
    prior = sum(parameter.numel() for parameter in flow.prior.parameters()) if flow.prior is not None else 0
    assert sum(info.parameters for info in infos) == everything - prior


@pytest.mark.parametrize("steps", [1, 4])
def test_a_density_in_the_plane_integrates_to_one(steps: int) -> None:
    flow = perturbed(Glow1DConfig(steps=steps, hidden=6), (2,))
    axis = torch.linspace(-5, 6, 300, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1.0, abs=5e-3)


def test_the_same_generator_builds_the_same_flow() -> None:
    first, second, other = (
        build_flow(GlowConfig(levels=2, steps=2), (1, 8, 8), generator=generator(seed)) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("config", "shape", "features"),
    [
        (GlowConfig(levels=1, steps=1, hidden=3), (1, 4, 4), 0),
        (Glow1DConfig(steps=1, hidden=3), (3,), 2),
        (IAFConfig(steps=1, hidden=3), (1,), 0),
    ],
    ids=["images", "vectors with context", "one feature"],
)
def test_inputs_of_the_wrong_shape_or_dtype_are_refused(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, c = perturbed(config, shape, features), context_of(features)
    with pytest.raises(ValueError, match="this flow takes"):
        flow.log_prob(torch.zeros(6, *shape, 2, dtype=torch.float64), c)
    with pytest.raises(TypeError, match=r"x is torch\.float32; this flow computes in torch\.float64"):
        flow.log_prob(batch(shape).float(), c)
    message = "the context has shape" if features else "not conditional"
    with pytest.raises(ValueError, match=message):
        flow.log_prob(batch(shape), torch.zeros(6, features + 1, dtype=torch.float64))
    if features:
        with pytest.raises(ValueError, match="this flow is conditional"):
            flow.log_prob(batch(shape))
