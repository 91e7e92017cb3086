"""One battery for every flow, after every parameter has been moved: a fresh flow passes most of it trivially."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow, Latents
from nfkd.runs.weights import load_weights, save_weights

CASES: list[tuple[FlowConfig, tuple[int, ...]]] = [
    (GlowConfig(levels=1, steps=2, hidden=5), (1, 4, 4)),
    (GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8)),
    (GlowConfig(levels=2, steps=1, hidden=4), (3, 4, 4)),
    (GlowConfig(levels=3, steps=1, hidden=4), (1, 8, 8)),
    (Glow1DConfig(steps=3, hidden=6), (2,)),
    (Glow1DConfig(steps=2, hidden=6, depth=1), (3,)),
    (Glow1DConfig(steps=2, hidden=6, depth=3), (5,)),
]


def name_of(case: object) -> str:
    return f"{case.kind}-{case.steps}" if isinstance(case, (GlowConfig, Glow1DConfig)) else "x".join(map(str, case))  # type: ignore[arg-type]


every_flow = pytest.mark.parametrize(("config", "shape"), CASES, ids=name_of)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], count: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64)


def perturbed(config: FlowConfig, shape: tuple[int, ...]) -> Flow:
    flow = build_flow(config, shape, generator=generator()).double()
    flow.initialize(batch(shape, 64, seed=2))
    rng = generator(3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


@every_flow
def test_log_prob_has_one_number_an_example(config: FlowConfig, shape: tuple[int, ...]) -> None:
    log_prob = perturbed(config, shape).log_prob(batch(shape))
    assert log_prob.shape == (6,)
    assert torch.isfinite(log_prob).all()


@every_flow
def test_decode_is_the_exact_inverse_of_encode(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow, x = perturbed(config, shape), batch(shape)
    assert (flow.decode(flow.encode(x)) - x).abs().max() <= 1e-9
    z = [torch.randn(6, *part, generator=generator(), dtype=torch.float64) for part in flow.latent_shapes]
    back = flow.encode(flow.decode(Latents(tuple(z), torch.zeros(6))))
    for part, expected in zip(back.parts, z, strict=True):
        assert (part - expected).abs().max() <= 1e-9


@every_flow
def test_the_log_determinant_is_autograds(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow, x = perturbed(config, shape), batch(shape, 2)
    for example, log_det in zip(x, flow.encode(x).log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.encode(v[None]).flat()[0], example)
        square = torch.as_tensor(jacobian).reshape(x[0].numel(), x[0].numel())
        torch.testing.assert_close(torch.linalg.slogdet(square)[1], log_det, rtol=1e-8, atol=1e-8)


@every_flow
def test_every_parameter_gets_a_gradient(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow = perturbed(config, shape)
    flow.log_prob(batch(shape)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        used = parameter.grad
        if name.endswith((".lower", ".upper")):  # the other triangle and the diagonal are not parameters
            used = used.tril(-1) if name.endswith(".lower") else used.triu(1)
        assert used.abs().sum() > 0, name


@every_flow
def test_saved_weights_come_back_bit_for_bit(config: FlowConfig, shape: tuple[int, ...], tmp_path: Path) -> None:
    flow = perturbed(config, shape)
    save_weights(tmp_path / "flow.safetensors", flow.state_dict(), "", {})
    other = build_flow(config, shape, generator=generator(9)).double()
    assert not other.initialized
    load_weights(tmp_path / "flow.safetensors", other)
    assert other.initialized
    torch.testing.assert_close(other.log_prob(batch(shape)), flow.log_prob(batch(shape)), rtol=0, atol=0)


@every_flow
def test_log_prob_is_the_priors_density_and_the_log_determinant(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow, x = perturbed(config, shape), batch(shape)
    latents = flow.encode(x)
    noise = standardised(flow, latents)
    scales = split_scales(flow, latents)
    dims = math.prod(shape)
    flat = torch.cat([part.flatten(1) for part in noise], 1)
    expected = -0.5 * flat.square().sum(1) - 0.5 * dims * math.log(2 * math.pi) - scales + latents.log_det
    torch.testing.assert_close(flow.log_prob(x), expected)


def hidden_halves(flow: Flow, latents: Latents) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (mean, log-scale, latent) of every split, by walking back from the last latent."""
    from nfkd.flows.flow import Split

    *left, x = latents.parts
    found = []
    for layer in reversed(flow.layers):
        if isinstance(layer, Split):
            z = left.pop()
            found.append((*layer.prior(x), z))
            x = layer.inverse(x, z)
        else:
            x = layer.inverse(x)  # type: ignore[operator]
    return found[::-1]


def standardised(flow: Flow, latents: Latents) -> list[Tensor]:
    halves = [(z - mean) * (-log_scale).exp() for mean, log_scale, z in hidden_halves(flow, latents)]
    return [*halves, latents.parts[-1]]


def split_scales(flow: Flow, latents: Latents) -> Tensor:
    zero = torch.zeros(len(latents.log_det), dtype=torch.float64)
    return sum((log_scale.flatten(1).sum(1) for _, log_scale, _ in hidden_halves(flow, latents)), zero)


@every_flow
def test_synthesize_gives_the_example_of_its_standardised_noise(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow, x = perturbed(config, shape), batch(shape)
    noise = standardised(flow, flow.encode(x))
    torch.testing.assert_close(flow.synthesize(noise), x, rtol=1e-8, atol=1e-8)


@every_flow
def test_the_trace_is_every_layer_in_order(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow, x = perturbed(config, shape), batch(shape)
    trace, latents = flow.trace(x), flow.encode(x)
    infos = flow.layer_info()
    assert list(trace) == [info.name for info in infos]
    for info in infos:
        assert list(trace[info.name][0].shape[1:]) == list(info.shape)
    last, log_det = list(trace.values())[-1]
    torch.testing.assert_close(last, latents.parts[-1])
    torch.testing.assert_close(log_det, latents.log_det)
    assert sum(info.parameters for info in infos) == sum(parameter.numel() for parameter in flow.parameters())


@every_flow
def test_actnorm_is_initialised_from_the_first_batch_and_never_again(
    config: FlowConfig, shape: tuple[int, ...]
) -> None:
    flow, x = build_flow(config, shape, generator=generator()).double(), 5 + 3 * batch(shape, 200)
    flow.initialize(x)
    assert flow.initialized
    *_, (last, _) = flow.trace(x).values()
    # The last coupling changes half of the channels; what passes is a rotation of normalised channels.
    passes = last[:, : last.shape[1] // 2]
    dimensions = [0, *range(2, passes.dim())]
    torch.testing.assert_close(
        passes.mean(dimensions), torch.zeros(passes.shape[1], dtype=torch.float64), atol=1e-4, rtol=0
    )
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.initialize(10 * x)
    flow.train().log_prob(10 * x)
    torch.testing.assert_close(flow.state_dict(), before, rtol=0, atol=0)


def test_actnorm_makes_mean_zero_and_deviation_one() -> None:
    from nfkd.flows.bijections import NormedMixing

    x = 5 + torch.randn(500, 4, 3, 3, generator=generator(), dtype=torch.float64) * torch.tensor([1.0, 2, 3, 4]).view(
        1, 4, 1, 1
    )
    layer = NormedMixing(4, generator()).double()
    layer.initialize(x)
    normed = (x + layer.norm.bias.view(1, -1, 1, 1)) * layer.norm.log_scale.exp().view(1, -1, 1, 1)
    torch.testing.assert_close(normed.mean([0, 2, 3]), torch.zeros(4, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        normed.std([0, 2, 3], correction=0), torch.ones(4, dtype=torch.float64), atol=1e-4, rtol=0
    )


@every_flow
def test_samples_repeat_by_their_generator_and_follow_the_temperature(
    config: FlowConfig, shape: tuple[int, ...]
) -> None:
    flow = perturbed(config, shape)
    first, second = flow.sample(4, generator=generator(1)), flow.sample(4, generator=generator(1))
    assert first.shape == (4, *shape)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first, flow.sample(4, generator=generator(2)))
    cold = flow.sample(4, temperature=0.0, generator=generator(1))
    torch.testing.assert_close(cold, cold[:1].expand_as(cold))


@pytest.mark.parametrize("steps", [1, 4])
def test_a_density_in_the_plane_integrates_to_one(steps: int) -> None:
    flow = perturbed(Glow1DConfig(steps=steps, hidden=6), (2,))
    axis = torch.linspace(-5, 6, 700, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1.0, abs=5e-3)


def test_the_same_generator_builds_the_same_flow() -> None:
    first, second, other = (build_flow(CASES[1][0], CASES[1][1], generator=generator(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@every_flow
def test_what_is_not_an_example_is_refused(config: FlowConfig, shape: tuple[int, ...]) -> None:
    flow = perturbed(config, shape)
    with pytest.raises(ValueError, match="this flow takes"):
        flow.log_prob(torch.zeros(3, *shape, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="not conditional"):
        flow.log_prob(batch(shape), torch.zeros(6, 1))


def test_a_step_is_what_its_documentation_says() -> None:
    """An independent evaluation of one Glow level, written from the formulas."""
    import torch.nn.functional as F

    flow = perturbed(GlowConfig(levels=1, steps=1, hidden=5), (1, 4, 4))
    state, x = flow.state_dict(), batch((1, 4, 4), 3)
    squeezed = torch.stack([x[:, 0, row::2, column::2] for row in (0, 1) for column in (0, 1)], dim=1)
    p = "layers.1."
    normed = (squeezed + state[p + "mixing.norm.bias"].view(1, 4, 1, 1)) * state[
        p + "mixing.norm.log_scale"
    ].exp().view(1, 4, 1, 1)
    lower = torch.tril(state[p + "mixing.lower"], -1) + torch.eye(4)
    upper = torch.triu(state[p + "mixing.upper"], 1) + torch.diag(
        state[p + "mixing.sign"] * state[p + "mixing.log_diagonal"].exp()
    )
    weight = state[p + "mixing.permutation"] @ lower @ upper
    mixed = torch.einsum("ij,bjhw->bihw", weight, normed)
    h = mixed[:, :2]
    for number in (0, 1):
        h = F.conv2d(h, state[f"{p}coupling.network.weights.{number}"], padding="same")
        h = (h + state[f"{p}coupling.network.norms.{number}.bias"].view(1, -1, 1, 1)) * state[
            f"{p}coupling.network.norms.{number}.log_scale"
        ].exp().view(1, -1, 1, 1)
        h = torch.relu(h)
    last = p + "coupling.network.last."
    out = F.conv2d(h, state[last + "weight"], state[last + "bias"], padding="same")
    out = out * (3 * state[last + "log_scale"]).exp().view(1, -1, 1, 1)
    scale = torch.sigmoid(out[:, 1::2] + 2)
    z = torch.cat([mixed[:, :2], (mixed[:, 2:] + out[:, 0::2]) * scale], dim=1)
    log_det = (
        4 * torch.linalg.slogdet(weight)[1] + 4 * state[p + "mixing.norm.log_scale"].sum() + scale.log().sum([1, 2, 3])
    )
    torch.testing.assert_close(flow.encode(x).parts[0], z)
    prior = torch.distributions.Normal(0, 1).log_prob(z).sum([1, 2, 3])
    torch.testing.assert_close(flow.log_prob(x), prior + log_det)
