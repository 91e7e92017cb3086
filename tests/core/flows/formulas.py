"""Every architecture written again in plain loops over numbers, from the papers' formulas and the saved weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import softmax

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, MAFConfig, NSFConfig

State = Mapping[str, np.ndarray]
GlowLike = GlowConfig | Glow1DConfig
LARGEST_LOG_SCALE = math.log(1000)


def under(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def squeeze(x: np.ndarray) -> np.ndarray:
    channels, height, width = x.shape
    y = np.empty((4 * channels, height // 2, width // 2))
    for c, row, column in np.ndindex(channels, 2, 2):
        y[4 * c + 2 * row + column] = x[c, row::2, column::2]
    return y


def same_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The convolution of one image, padded with zeros. Vectors are images of one pixel."""
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


def actnorm(x: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    if "norm.bias" not in state:
        return x, 0.0
    return normed(x, under(state, "norm.")), x[0].size * float(state["norm.log_scale"].sum())


def mixed(x: np.ndarray, config: GlowLike | NSFConfig, state: State) -> tuple[np.ndarray, float]:
    x, log_det = actnorm(x, state)
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


def outputs(passes: np.ndarray, context: np.ndarray, config: GlowLike, state: State) -> np.ndarray:
    planes = [np.full((1, *passes.shape[1:]), value) for value in context]
    h = np.concatenate([passes, *planes])
    if isinstance(config, Glow1DConfig) and config.network == "residual":
        return residual(h, state, config.depth)
    return perceptron(h, state)


def changed(x: np.ndarray, found: np.ndarray, config: GlowLike) -> tuple[np.ndarray, np.ndarray]:
    """The transformed x, and the log-scale at every pixel."""
    if config.coupling == "additive":
        return x + found, np.zeros_like(x)
    shift, raw = found[0::2], found[1::2]
    scale = 1 / (1 + np.exp(-(raw + 2))) if config.scale == "sigmoid" else np.exp(np.tanh(raw))
    return (x + shift) * scale, np.log(scale)


def step(x: np.ndarray, context: np.ndarray, config: GlowLike, state: State) -> tuple[np.ndarray, float]:
    x, log_det = mixed(x, config, under(state, "mixing."))
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    found = outputs(first, context, config, under(state, "coupling.network."))
    second, log_scale = changed(second, found, config)
    return np.concatenate([first, second]), log_det + float(log_scale.sum())


def checker(
    x: np.ndarray, context: np.ndarray, config: GlowLike, state: State, number: int
) -> tuple[np.ndarray, float]:
    x, log_det = actnorm(x, under(state, "mixing."))
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


def prior(z: np.ndarray, context: np.ndarray, config: GlowLike, state: State) -> float:
    if not config.learned_prior:
        return log_normal(z)
    found = state["network.bias"].copy()
    for feature, value in enumerate(context):
        found += state["network.weight"][:, feature] * value
    found *= np.exp(3 * state["network.log_scale"])
    return log_normal(z, per_channel(found[0::2]), per_channel(found[1::2]))


def glow(config: GlowLike, x: np.ndarray, context: np.ndarray, state: State) -> tuple[list[np.ndarray], float]:
    """The latents and the log-density of one example."""
    number, log_prob, latents = 0, 0.0, []

    def layer() -> State:
        nonlocal number
        number += 1
        return under(state, f"layers.{number - 1}.")

    for level in range(1, config.levels + 1) if isinstance(config, GlowConfig) else [1]:
        if isinstance(config, GlowConfig):
            for index in range(config.checkerboard):
                x, log_det = checker(x, context, config, layer(), index)
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


# --- splines ----------------------------------------------------------------------------------------------------------


def knots(parameters: np.ndarray, bins: int, bound: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The knots as in the paper's code: smallest bin and slope 10⁻³, slope one at both ends."""
    across, up = (
        bound * (2 * np.concatenate([[0.0], np.cumsum(1e-3 + (1 - 1e-3 * bins) * softmax(part))]) - 1)
        for part in (parameters[:bins], parameters[bins : 2 * bins])
    )
    at_zero = math.log(math.exp(1 - 1e-3) - 1)
    inner = np.minimum(1e-3 + np.logaddexp(0.0, parameters[2 * bins :] + at_zero), 1e3)
    return across, up, np.concatenate([[1.0], inner, [1.0]])


def spline(x: float, parameters: np.ndarray, bins: int, bound: float) -> tuple[float, float]:
    """Equations 4 and 5 of Durkan et al. 2019: the image of one number and the slope there."""
    if abs(x) >= bound:
        return x, 1.0
    across, up, slopes = knots(parameters, bins, bound)
    k = min(max(int(np.searchsorted(across, x, side="right")) - 1, 0), bins - 1)
    width, height = across[k + 1] - across[k], up[k + 1] - up[k]
    s, xi = height / width, (x - across[k]) / width
    divisor = s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)
    y = up[k] + height * (s * xi**2 + slopes[k] * xi * (1 - xi)) / divisor
    slope = s**2 * (slopes[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + slopes[k] * (1 - xi) ** 2) / divisor**2
    return float(y), float(slope)


# --- autoregressive layers --------------------------------------------------------------------------------------------


def masked_network(state: State, x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The masked network unit by unit: the parameters of every element."""
    features, depth = len(x), sum(name.startswith("weights.") for name in state) - 1
    values, degrees = [*x, *c], [*range(1, features + 1), *[0] * len(c)]
    lowest = 0 if len(c) else 1
    for layer in range(depth):
        weight, bias = state[f"weights.{layer}"], state[f"biases.{layer}"]
        own = [lowest + unit * (features - lowest) // len(weight) for unit in range(len(weight))]
        new = []
        for unit, degree in enumerate(own):
            inputs = (weight[unit, n] * value for n, value in enumerate(values) if degrees[n] <= degree)
            new.append(max(bias[unit] + sum(inputs), 0.0))
        values, degrees = new, own
    weight, bias = state[f"weights.{depth}"], state[f"biases.{depth}"]
    found = np.array(bias)
    for row in range(len(bias)):
        found[row] += sum(
            weight[row, n] * value for n, value in enumerate(values) if degrees[n] <= row * features // len(bias)
        )
    return found.reshape(features, -1)


def affine(x: float, parameters: np.ndarray) -> tuple[float, float]:
    shift, raw = parameters
    scale = math.exp(LARGEST_LOG_SCALE * math.tanh(raw / LARGEST_LOG_SCALE))
    return x * scale + shift, scale


def autoregressive(config: FlowConfig, x: np.ndarray, context: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    """z = f(x; parameters from x before) feature by feature; for IAF x = f(z; parameters from z before), solved."""
    order, z, log_det = state["order"].tolist(), np.zeros(len(x)), 0.0
    for index, feature in enumerate(order):
        read = z if isinstance(config, IAFConfig) else x  # masks hide the elements that are not known yet
        parameters = masked_network(under(state, "network."), read[order], context)[index]
        if isinstance(config, IAFConfig):
            shift, scale = affine(0.0, parameters)
            z[feature], slope = (x[feature] - shift) / scale, 1 / scale
        elif isinstance(config, NSFConfig):
            z[feature], slope = spline(float(x[feature]), parameters, config.bins, config.tail_bound)
        else:
            z[feature], slope = affine(float(x[feature]), parameters)
        log_det += math.log(slope)
    return z, log_det


def batch_norm(x: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    log_scale = state["log_scale"] - 0.5 * np.log(state["variance"] + 1e-5)
    return (x - state["mean"]) * np.exp(log_scale) + state["bias"], float(log_scale.sum())


def steps_of_vectors(
    config: MAFConfig | IAFConfig | NSFConfig, x: np.ndarray, context: np.ndarray, state: State
) -> tuple[list[np.ndarray], float]:
    """The latent and the log-density of one vector."""
    log_prob, number = 0.0, 0
    while layer := under(state, f"layers.{number}."):
        number += 1
        if "variance" in layer:
            x, log_det = batch_norm(x, layer)
        elif not isinstance(config, NSFConfig):
            x, log_det = autoregressive(config, x, context, layer)
        else:
            mapped, mixing = mixed(x[:, None, None], config, under(layer, "mixing."))
            x, log_det = spline_layer(config, mapped[:, 0, 0], context, under(layer, "coupling."))
            log_det += mixing
        log_prob += log_det
    return [x], log_prob + log_normal(x)


def spline_layer(config: NSFConfig, x: np.ndarray, context: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    """Durkan et al. 2019, section 3: the first half has its own parameters, the second those of the network."""
    if config.transform == "autoregressive":
        return autoregressive(config, x, context, state)
    inputs = np.concatenate([x[: len(x) // 2], context])[:, None, None]
    found = residual(inputs, under(state, "network."), config.depth)
    parameters = [*state["first"], *found.reshape(-1, 3 * config.bins - 1)]
    pairs = [
        spline(float(value), part, config.bins, config.tail_bound) for value, part in zip(x, parameters, strict=True)
    ]
    return np.array([y for y, _ in pairs]), sum(math.log(slope) for _, slope in pairs)


def written_again(
    config: FlowConfig, x: np.ndarray, context: np.ndarray | None, state: State
) -> tuple[list[np.ndarray], float]:
    """The latents and the log-density of one example."""
    context = np.zeros(0) if context is None else context
    if isinstance(config, GlowConfig | Glow1DConfig):
        return glow(config, x if x.ndim == 3 else x[:, None, None], context, state)
    assert isinstance(config, MAFConfig | IAFConfig | NSFConfig)
    return steps_of_vectors(config, x, context, state)
