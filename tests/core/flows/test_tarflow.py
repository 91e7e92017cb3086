"""TarFlow: compared with the formulas of its paper, written plainly; guidance and denoising of its samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nfkd.config import GlowConfig
from nfkd.config.flows import JetConfig, TarFlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.denoising import denoised
from nfkd.flows.flow import Flow
from nfkd.flows.transformer import Tokens
from tests.core.flows.flow_cases import batch, context_of, generator, perturbed

CONFIG = TarFlowConfig(steps=2, hidden=128, depth=2)
SHAPE = (3, 4, 6)
TOKENS, WIDTH = 6, 12

Network = Callable[[Tensor, Tensor | None, float], Tensor]


def gentle(features: int = 0) -> Flow:
    """A flow with noise on every parameter, whose samples stay finite."""
    flow = perturbed(CONFIG, SHAPE, features)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if ".network.outputs." in name:
                parameter *= 0.1
    return flow


def patches(x: Tensor) -> Tensor:
    """The tokens of images by a convolution's own order of its inputs."""
    return functional.unfold(x, 2, stride=2).mT


def images(tokens: Tensor) -> Tensor:
    return functional.fold(tokens.mT, SHAPE[1:], 2, stride=2)


def plain_network(flow: Flow, step: int) -> Network:
    """Every parameter of a block by name: what its tokens give to the tokens that follow, with torch's attention."""
    state = {name.removeprefix(f"layers.{step}.network."): value for name, value in flow.state_dict().items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def apply(tokens: Tensor, context: Tensor | None, temperature: float) -> Tensor:
        count = tokens.shape[1]
        h = linear("inputs", tokens) + state["positions"][:count]
        if context is not None:
            h = h + (context @ state["context"].T)[:, None]
        for layer in range(2):
            name = f"transformer.layers.{layer}"
            parts = linear(f"{name}.attention.inputs", norm(f"{name}.attention_norm", h)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (2, 64)).transpose(1, 2) for part in parts)
            scale = 1 / (8 * temperature)
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
            h = h + linear(f"{name}.attention.outputs", attended.transpose(1, 2).flatten(2))
            inner = functional.gelu(linear(f"{name}.mlp_inputs", norm(f"{name}.mlp_norm", h)))
            h = h + linear(f"{name}.mlp_outputs", inner)
        return linear("outputs", h)

    return apply


def plain_samples(
    flow: Flow, noise: Tensor, context: Tensor | None, weight: float, temperature: float | None
) -> Tensor:
    """Samples without a cache, the whole sequence for each token, with guidance as in the paper."""
    x = noise
    for step in (2, 1):
        network, z = plain_network(flow, step), patches(x)
        z = z.flip(1) if step == 2 else z
        done = z[:, :1]
        for index in range(1, TOKENS):
            a, b = network(done, context, 1.0)[:, -1].chunk(2, dim=-1)
            mean = None if context is None else torch.full_like(context, 1 / context.shape[1])
            weaker = network(done, context, temperature) if temperature else network(done, mean, 1.0)
            a_weaker, b_weaker = weaker[:, -1].chunk(2, dim=-1)
            share = weight * index / (TOKENS - 1)
            a, b = a + share * (a - a_weaker), b + share * (b - b_weaker)
            done = torch.cat([done, (z[:, index] * a.exp() + b)[:, None]], dim=1)
        x = images(done.flip(1) if step == 2 else done)
    return (x + 1) / 2


def test_density_and_states_are_those_of_the_paper() -> None:
    flow, x, c = gentle(3), batch(SHAPE), context_of(3)
    trace, state, log_det = flow.trace(x, c), 2 * x - 1, torch.full((6,), 72 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(trace["scale"], (state, log_det))
    for step in (1, 2):
        tokens = patches(state)
        tokens = tokens.flip(1) if step == 2 else tokens
        a, b = plain_network(flow, step)(tokens[:, :-1], c, 1.0).chunk(2, dim=-1)
        moved = torch.cat([tokens[:, :1], (tokens[:, 1:] - b) * (-a).exp()], dim=1)
        state, log_det = images(moved.flip(1) if step == 2 else moved), log_det - a.sum((1, 2))
        torch.testing.assert_close(trace[f"step{step}"], (state, log_det))


def test_a_new_flow_changes_only_by_its_last_biases() -> None:
    flow = build_flow(CONFIG, SHAPE, generator=generator())
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if name.endswith("network.outputs.bias"):
                parameter.zero_()
    x = batch(SHAPE).float()
    torch.testing.assert_close(flow.encode(x).flat(), (2 * x - 1).flatten(1))


def test_tokens_of_vectors_are_neighbouring_features() -> None:
    tokens, x = Tokens((6,), 2), torch.arange(12.0).view(2, 6)
    assert (tokens.count, tokens.width) == (3, 2)
    assert tokens.split(x)[1].tolist() == [[6, 7], [8, 9], [10, 11]]
    torch.testing.assert_close(tokens.join(tokens.split(x)), x, rtol=0, atol=0)


def classes(count: int = 5) -> Tensor:
    return torch.eye(3, dtype=torch.float64)[torch.arange(count) % 3]


@pytest.mark.parametrize("method", ["exact", "jacobi"])
@pytest.mark.parametrize(
    ("features", "weight", "temperature"), [(0, 0.0, None), (3, 1.5, None), (3, 0.7, 0.3), (0, 0.7, 0.3)]
)
def test_samples_with_and_without_guidance_are_the_papers(
    features: int, weight: float, temperature: float | None, method: str
) -> None:
    flow, context = gentle(features), classes() if features else None
    settings = {"guidance": weight, "attention_temperature": temperature, "method": method, "tolerance": 0.0}
    found = flow.sample(5, 1.0, generator(2), context, **settings)  # type: ignore[arg-type]
    [noise] = flow.draw_noise(5, generator(2))
    expected = plain_samples(flow, noise, context, weight, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    if weight:
        assert (found - flow.sample(5, 1.0, generator(2), context)).abs().max() > 1e-3


def test_guidance_without_classes_or_without_tarflow_is_refused() -> None:
    flow = gentle()
    with pytest.raises(ValueError, match="guidance needs classes, and this flow has no context: give attention_temp"):
        flow.sample(2, guidance=1.0)
    conditional = gentle(3)
    with pytest.raises(ValueError, match="the context is not a class in one-hot code"):
        conditional.sample(6, guidance=1.0, context=context_of(3))
    with pytest.raises(ValueError, match="only TarFlow does, so give guidance = 0"):
        perturbed(GlowConfig(levels=1, steps=1, hidden=4), (1, 4, 4)).sample(2, guidance=1.0)
    with pytest.raises(ValueError, match="guidance is -1: give a number from 0"):
        flow.sample(2, guidance=-1, attention_temperature=0.3)
    with pytest.raises(ValueError, match="attention_temperature is 0: give a number above 0"):
        flow.sample(2, guidance=1.0, attention_temperature=0)
    with pytest.raises(TypeError, match="guidance is '2'"):
        flow.sample(2, guidance="2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attention_temperature has no effect without guidance: give guidance"):
        flow.sample(2, attention_temperature=0.3)


@pytest.mark.parametrize("config", [TarFlowConfig(steps=1, hidden=4, depth=1), JetConfig(steps=2, hidden=4)])
def test_a_context_that_the_flow_does_not_have_is_refused(config: TarFlowConfig | JetConfig) -> None:
    flow, context = perturbed(config, (1, 4, 4)), torch.eye(3, dtype=torch.float64)
    for call in (lambda: flow.sample(3, context=context), lambda: flow.log_prob(batch((1, 4, 4), 3, 0), context)):
        with pytest.raises(ValueError, match="not conditional and takes no context: leave it out"):
            call()
    conditional = perturbed(config, (1, 4, 4), 3)
    with pytest.raises(ValueError, match=r"this flow is conditional: it takes a context of shape \(2, 3\)"):
        conditional.sample(2)
    with pytest.raises(ValueError, match=r"the context has shape \(2, 4\); this flow takes \(2, 3\)"):
        conditional.sample(2, context=torch.eye(4, dtype=torch.float64)[:2])


def test_denoising_gives_the_posterior_mean_of_a_gaussian() -> None:
    centre, spread, noise = 0.3, 0.5, 0.2
    x = torch.randn(300, 4, generator=generator(), dtype=torch.float64)

    def log_prob(value: Tensor, _: Tensor | None) -> Tensor:
        return torch.distributions.Normal(centre, math.hypot(spread, noise)).log_prob(value).sum(1)

    with torch.no_grad():
        found = denoised(log_prob, x, noise)
    share = spread**2 / (spread**2 + noise**2)
    torch.testing.assert_close(found, centre + share * (x - centre))


def test_denoised_samples_follow_the_flows_own_score() -> None:
    flow, context = gentle(3), classes()
    noisy = flow.sample(5, 1.0, generator(3), context)
    clean = flow.sample(5, 1.0, generator(3), context, denoise=0.1)
    step, direction = 1e-5, torch.randn(noisy.shape, generator=generator(4), dtype=torch.float64)
    ahead, behind = (flow.log_prob(noisy + sign * step * direction, context) for sign in (1, -1))
    slope = ((clean - noisy) / 0.01 * direction).flatten(1).sum(1)
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)
