"""Glow written a second time, in plain loops over numbers and from the papers' formulas alone.

It also holds the order of channels and outputs still, which saved weights depend on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from nfkd.config import Glow1DConfig, GlowConfig
from tests.core.flows.flow_cases import batch, perturbed

State = Mapping[str, np.ndarray]


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


def glow_step(x: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    channels, places = len(x), x[0].size
    x = (x + per_channel(state["mixing.norm.bias"])) * per_channel(np.exp(state["mixing.norm.log_scale"]))
    log_det = places * state["mixing.norm.log_scale"].sum()
    lower, upper = np.eye(channels), np.zeros((channels, channels))
    for i, j in np.ndindex(channels, channels):
        if i > j:
            lower[i, j] = state["mixing.lower"][i, j]
        elif i < j:
            upper[i, j] = state["mixing.upper"][i, j]
        else:
            upper[i, i] = state["mixing.sign"][i] * math.exp(state["mixing.log_diagonal"][i])
    weight = state["mixing.permutation"] @ lower @ upper
    log_det += places * math.log(abs(np.linalg.det(weight)))
    x = np.einsum("ij,jrc->irc", weight, x)
    first, second = x[: channels // 2], x[channels // 2 :].copy()
    network, h, number = under(state, "coupling.network."), first, 0
    while f"weights.{number}" in network:
        h = same_convolution(h, network[f"weights.{number}"]) + per_channel(network[f"norms.{number}.bias"])
        h = np.maximum(h * per_channel(np.exp(network[f"norms.{number}.log_scale"])), 0)
        number += 1
    outputs = zero_last(h, under(network, "last."))
    for c in range(len(second)):
        scale = 1 / (1 + np.exp(-(outputs[2 * c + 1] + 2)))
        second[c] = (second[c] + outputs[2 * c]) * scale
        log_det += np.log(scale).sum()
    return np.concatenate([first, second]), float(log_det)


def log_normal(z: np.ndarray, mean: np.ndarray | float = 0.0, log_scale: np.ndarray | float = 0.0) -> float:
    density = -0.5 * ((z - mean) / np.exp(log_scale)) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)
    return float(density.sum())


def test_glow_with_a_split_is_what_its_formulas_say() -> None:
    flow, x = perturbed(GlowConfig(levels=2, steps=1, hidden=5), (1, 4, 4)), batch((1, 4, 4), 3)
    state = {name.removeprefix("layers."): value.numpy() for name, value in flow.state_dict().items()}
    found = flow(x)
    for n, image in enumerate(x.numpy()):
        h, first_log_det = glow_step(squeeze(image), under(state, "1."))
        stays, leaves = h[:2], h[2:]
        prior = zero_last(stays, under(state, "2.network."))
        last, second_log_det = glow_step(squeeze(stays), under(state, "4."))
        log_prob = log_normal(leaves, prior[0::2], prior[1::2]) + log_normal(last)
        np.testing.assert_allclose(found.latents.parts[0][n].detach(), leaves, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.latents.parts[1][n].detach(), last, rtol=1e-10, atol=1e-12)
        assert found.log_prob[n].item() == pytest.approx(log_prob + first_log_det + second_log_det, rel=1e-10)


@pytest.mark.parametrize("features", [2, 5])
def test_glow_for_vectors_is_what_its_formulas_say(features: int) -> None:
    flow, x = perturbed(Glow1DConfig(steps=2, hidden=5), (features,)), batch((features,), 3)
    state = {name.removeprefix("layers."): value.numpy() for name, value in flow.state_dict().items()}
    found = flow.log_prob(x)
    for n, vector in enumerate(x.numpy()):
        h, first = glow_step(vector[:, None, None], under(state, "0."))
        z, second = glow_step(h, under(state, "1."))
        assert found[n].item() == pytest.approx(log_normal(z) + first + second, rel=1e-10)
