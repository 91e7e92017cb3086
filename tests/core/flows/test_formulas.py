"""Glow and RealNVP written a second time, in plain loops over numbers and from the papers' formulas alone.

It also holds the order of channels and outputs still, which saved weights depend on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nfkd.config import Glow1DConfig, GlowConfig
from tests.core.flows.flow_cases import Shape, batch, given, perturbed

State = Mapping[str, np.ndarray]
Config = GlowConfig | Glow1DConfig


def under(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def squeeze(x: np.ndarray) -> np.ndarray:
    channels, height, width = x.shape
    y = np.empty((4 * channels, height // 2, width // 2))
    for c, row, column in np.ndindex(channels, 2, 2):
        y[4 * c + 2 * row + column] = x[c, row::2, column::2]
    return y


def same_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The convolution of one image; zeros beyond its sides. Vectors are images of one place."""
    weight = weight.reshape(*weight.shape[:2], *(weight.shape[2:] or (1, 1)))
    outputs, inputs, size, _ = weight.shape
    _, height, width = x.shape
    y = np.zeros((outputs, height, width))
    for o, i, r, c, dr, dc in np.ndindex(outputs, inputs, height, width, size, size):
        row, column = r + dr - size // 2, c + dc - size // 2
        if 0 <= row < height and 0 <= column < width:
            y[o, r, c] += weight[o, i, dr, dc] * x[i, row, column]
    return y


def per_channel(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


def zero_last(h: np.ndarray, state: State) -> np.ndarray:
    y = same_convolution(h, state["weight"]) + per_channel(state["bias"])
    return y * per_channel(np.exp(3 * state["log_scale"]))


def normed(x: np.ndarray, state: State) -> np.ndarray:
    return (x + per_channel(state["bias"])) * per_channel(np.exp(state["log_scale"]))


def lu_matrix(state: State) -> np.ndarray:
    channels = len(state["sign"])
    lower, upper = np.eye(channels), np.zeros((channels, channels))
    for i, j in np.ndindex(channels, channels):
        if i > j:
            lower[i, j] = state["lower"][i, j]
        elif i < j:
            upper[i, j] = state["upper"][i, j]
        else:
            upper[i, i] = state["sign"][i] * math.exp(state["log_diagonal"][i])
    return state["permutation"] @ lower @ upper


def actnorm(x: np.ndarray, config: Config, state: State) -> tuple[np.ndarray, float]:
    if not config.actnorm:
        return x, 0.0
    return normed(x, under(state, "norm.")), x[0].size * float(state["norm.log_scale"].sum())


def mixed(x: np.ndarray, config: Config, state: State) -> tuple[np.ndarray, float]:
    x, log_det = actnorm(x, config, state)
    if config.permutation == "reverse":
        return x[::-1], log_det
    if config.permutation == "shuffle":
        assert sorted(state["order"]) == list(range(len(x)))
        return np.stack([x[source] for source in state["order"]]), log_det
    weight = lu_matrix(state) if config.permutation == "lu" else state["matrix"]
    return np.einsum("ij,jrc->irc", weight, x), log_det + x[0].size * math.log(abs(np.linalg.det(weight)))


def perceptron(h: np.ndarray, state: State) -> np.ndarray:
    number = 0
    while f"weights.{number}" in state:
        h = normed(same_convolution(h, state[f"weights.{number}"]), under(state, f"norms.{number}."))
        h, number = np.maximum(h, 0), number + 1
    assert number
    return zero_last(h, under(state, "last."))


def residual(h: np.ndarray, state: State, blocks: int) -> np.ndarray:
    h = normed(same_convolution(h, state["first"]), under(state, "norm."))
    for number in range(blocks):
        block = under(state, f"blocks.{number}.")
        inner = normed(same_convolution(np.maximum(h, 0), block["first"]), under(block, "norm."))
        h = h + same_convolution(np.maximum(inner, 0), block["second"]) + per_channel(block["bias"])
    return zero_last(np.maximum(h, 0), under(state, "last."))


def outputs(passes: np.ndarray, context: np.ndarray, config: Config, state: State) -> np.ndarray:
    planes = [np.full((1, *passes.shape[1:]), value) for value in context]
    h = np.concatenate([passes, *planes])
    if isinstance(config, Glow1DConfig) and config.network == "residual":
        return residual(h, state, config.depth)
    return perceptron(h, state)


def changed(x: np.ndarray, found: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of x, and the log-scale at every place."""
    if config.coupling == "additive":
        return x + found, np.zeros_like(x)
    shift, raw = found[0::2], found[1::2]
    scale = 1 / (1 + np.exp(-(raw + 2))) if config.scale == "sigmoid" else np.exp(np.tanh(raw))
    return (x + shift) * scale, np.log(scale)


def step(x: np.ndarray, context: np.ndarray, config: Config, state: State) -> tuple[np.ndarray, float]:
    x, log_det = mixed(x, config, under(state, "mixing."))
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    found = outputs(first, context, config, under(state, "coupling.network."))
    second, log_scale = changed(second, found, config)
    return np.concatenate([first, second]), log_det + float(log_scale.sum())


def checker(x: np.ndarray, context: np.ndarray, config: Config, state: State, number: int) -> tuple[np.ndarray, float]:
    x, log_det = actnorm(x, config, under(state, "mixing."))
    light = x.copy()
    for row, column in np.ndindex(x.shape[1:]):
        if (row + column) % 2 == number % 2:
            light[:, row, column] = 0
    y, log_scale = changed(x, outputs(light, context, config, under(state, "coupling.network.")), config)
    result = x.copy()
    for row, column in np.ndindex(x.shape[1:]):
        if (row + column) % 2 == number % 2:
            result[:, row, column] = y[:, row, column]
            log_det += float(log_scale[:, row, column].sum())
    return result, log_det


def log_normal(z: np.ndarray, mean: np.ndarray | float = 0.0, log_scale: np.ndarray | float = 0.0) -> float:
    density = -0.5 * ((z - mean) / np.exp(log_scale)) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)
    return float(density.sum())


def prior(z: np.ndarray, context: np.ndarray, config: Config, state: State) -> float:
    if not config.learned_prior:
        return log_normal(z)
    found = state["network.bias"].copy()
    for feature, value in enumerate(context):
        found += state["network.weight"][:, feature] * value
    found *= np.exp(3 * state["network.log_scale"])
    return log_normal(z, per_channel(found[0::2]), per_channel(found[1::2]))


def written_again(config: Config, x: np.ndarray, context: np.ndarray, state: State) -> tuple[list[np.ndarray], float]:
    """The latents and the log-density of one example."""
    number, log_prob, latents = 0, 0.0, []

    def layer() -> State:
        nonlocal number
        number += 1
        return under(state, f"layers.{number - 1}.")

    for level in range(1, config.levels + 1) if isinstance(config, GlowConfig) else [1]:
        if isinstance(config, GlowConfig):
            for place in range(config.checkerboard):
                x, log_det = checker(x, context, config, layer(), place)
                log_prob += log_det
            assert not layer()
            x = squeeze(x)
        for _ in range(config.steps):
            x, log_det = step(x, context, config, layer())
            log_prob += log_det
        if isinstance(config, GlowConfig) and level < config.levels:
            half = len(x) // 2
            x, leaves = x[:half], x[half:]
            found = zero_last(x, under(layer(), "network."))
            log_prob += log_normal(leaves, found[0::2], found[1::2])
            latents.append(leaves)
    return [*latents, x], log_prob + prior(x, context, config, under(state, "prior."))


def small(**options: Any) -> GlowConfig:
    return GlowConfig(**{"levels": 1, "steps": 2, "hidden": 3, **options})


def plain(**options: Any) -> Glow1DConfig:
    return Glow1DConfig(steps=2, hidden=5, **options)


CASES: dict[str, tuple[Config, Shape, int]] = {
    "Glow with a split": (small(levels=2, steps=1, hidden=5), (1, 4, 4), 0),
    "dense": (small(permutation="dense", scale="tanh"), (1, 4, 2), 0),
    "shuffle": (small(permutation="shuffle", coupling="additive"), (1, 4, 2), 0),
    "RealNVP": (small(permutation="reverse", checkerboard=2, scale="tanh"), (1, 4, 4), 0),
    "in colour": (small(levels=2, steps=1, permutation="reverse", checkerboard=1, learned_prior=True), (2, 4, 4), 2),
    "NICE": (small(permutation="reverse", coupling="additive", checkerboard=3, actnorm=False), (1, 4, 2), 1),
    "no norm": (small(actnorm=False, learned_prior=True), (1, 4, 2), 0),
    "plane": (plain(), (2,), 0),
    "odd": (plain(), (5,), 0),
    "dense vectors": (plain(permutation="dense", actnorm=False, depth=1), (3,), 3),
    "shuffled vectors": (plain(permutation="shuffle", coupling="additive"), (5,), 3),
    "residual": (plain(permutation="reverse", network="residual", scale="tanh"), (4,), 0),
    "residual with a prior": (plain(network="residual", depth=1, learned_prior=True), (3,), 3),
    "a prior without a context": (plain(learned_prior=True), (3,), 0),
}


@pytest.mark.parametrize(("config", "shape", "features"), CASES.values(), ids=CASES)
def test_a_flow_is_what_its_formulas_say(config: Config, shape: Shape, features: int) -> None:
    flow, x, c = perturbed(config, shape, features), batch(shape, 3), given(features, 3)
    state = {name: value.numpy() for name, value in flow.state_dict().items()}
    found = flow(x, c)
    for n in range(len(x)):
        image = x[n].numpy() if len(shape) == 3 else x[n].numpy()[:, None, None]
        context = np.zeros(0) if c is None else c[n].numpy()
        latents, log_prob = written_again(config, image, context, state)
        for part, expected in zip(found.latents.parts, latents, strict=True):
            np.testing.assert_allclose(part[n].detach().flatten(), expected.flatten(), rtol=1e-9, atol=1e-12)
        assert found.log_prob[n].item() == pytest.approx(log_prob, rel=1e-10)
