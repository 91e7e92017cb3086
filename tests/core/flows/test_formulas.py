"""Every architecture against the formulas of its paper, and against weights saved by earlier versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, MAFConfig, NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from tests.core.flows.flow_cases import Shape, batch, context_of, generator, perturbed
from tests.core.flows.formulas import written_again


def assert_as_written_again(config: FlowConfig, flow: Flow, shape: Shape, features: int) -> None:
    x, c = batch(shape, 3), context_of(features, 3)
    state = {name: value.numpy() for name, value in flow.state_dict().items()}
    with torch.no_grad():
        found = flow(x, c)
    for n in range(len(x)):
        latents, log_prob = written_again(config, x[n].numpy(), None if c is None else c[n].numpy(), state)
        for part, expected in zip(found.latents.parts, latents, strict=True):
            np.testing.assert_allclose(part[n].flatten(), expected.flatten(), rtol=1e-9, atol=1e-12)
        assert found.log_prob[n].item() == pytest.approx(log_prob, rel=1e-10)


def small(**options: Any) -> GlowConfig:
    return GlowConfig(**{"levels": 1, "steps": 2, "hidden": 3, **options})


def plain(**options: Any) -> Glow1DConfig:
    return Glow1DConfig(steps=2, hidden=5, **options)


def splines(**options: Any) -> NSFConfig:
    return NSFConfig(steps=2, hidden=6, bins=4, **options)


CASES: dict[str, tuple[FlowConfig, Shape, int]] = {
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
    "MAF": (MAFConfig(steps=2, hidden=9, order="permuted", batch_norm=True), (5,), 0),
    "MAF with a context": (MAFConfig(steps=1, hidden=9, order="permuted"), (5,), 3),
    "IAF": (IAFConfig(steps=1, hidden=9, order="permuted"), (5,), 0),
    "IAF with a context": (IAFConfig(steps=2, hidden=9, batch_norm=True), (5,), 3),
    "spline couplings": (splines(), (5,), 3),
    "dense spline couplings": (splines(permutation="dense"), (4,), 0),
    "autoregressive splines": (splines(transform="autoregressive", permutation="shuffle"), (4,), 3),
}


@pytest.mark.parametrize(("config", "shape", "features"), CASES.values(), ids=CASES)
def test_a_flow_is_what_its_formulas_say(config: FlowConfig, shape: Shape, features: int) -> None:
    assert_as_written_again(config, perturbed(config, shape, features), shape, features)


# --- saved weights ----------------------------------------------------------------------------------------------------


def norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.bias": (size,), f"{name}.log_scale": (size,)}


def lu(name: str, size: int) -> dict[str, Shape]:
    square = {f"{name}.{part}": (size, size) for part in ("lower", "upper", "permutation")}
    return square | {f"{name}.log_diagonal": (size,), f"{name}.sign": (size,)} | norm(f"{name}.norm", size)


def convolutions(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {
        f"{name}.weights.0": (3, inputs, 3, 3),
        f"{name}.weights.1": (3, 3, 1, 1),
        f"{name}.last.weight": (outputs, 3, 3, 3),
        f"{name}.last.bias": (outputs,),
        f"{name}.last.log_scale": (outputs,),
        **norm(f"{name}.norms.0", 3),
        **norm(f"{name}.norms.1", 3),
    }


def residual_network(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {
        f"{name}.first": (3, inputs),
        f"{name}.blocks.0.first": (3, 3),
        f"{name}.blocks.0.second": (3, 3),
        f"{name}.blocks.0.bias": (3,),
        f"{name}.last.weight": (outputs, 3),
        f"{name}.last.bias": (outputs,),
        f"{name}.last.log_scale": (outputs,),
        **norm(f"{name}.norm", 3),
        **norm(f"{name}.blocks.0.norm", 3),
    }


SAVED: dict[str, tuple[FlowConfig, Shape, int, dict[str, Shape]]] = {
    "Glow": (
        GlowConfig(levels=2, steps=1, hidden=3, checkerboard=1, learned_prior=True),
        (1, 4, 4),
        0,
        {
            **norm("layers.0.mixing.norm", 1),
            **convolutions("layers.0.coupling.network", 1, 2),
            **lu("layers.2.mixing", 4),
            **convolutions("layers.2.coupling.network", 2, 4),
            "layers.3.network.weight": (4, 2, 3, 3),
            "layers.3.network.bias": (4,),
            "layers.3.network.log_scale": (4,),
            **norm("layers.4.mixing.norm", 2),
            **convolutions("layers.4.coupling.network", 2, 4),
            **lu("layers.6.mixing", 8),
            **convolutions("layers.6.coupling.network", 4, 8),
            "prior.network.bias": (16,),
            "prior.network.log_scale": (16,),
        },
    ),
    "additive": (
        Glow1DConfig(steps=1, hidden=3, depth=1, permutation="shuffle", coupling="additive"),
        (3,),
        0,
        {
            "layers.0.mixing.order": (3,),
            **norm("layers.0.mixing.norm", 3),
            "layers.0.coupling.network.weights.0": (3, 1),
            **norm("layers.0.coupling.network.norms.0", 3),
            "layers.0.coupling.network.last.weight": (2, 3),
            **{f"layers.0.coupling.network.last.{name}": (2,) for name in ("bias", "log_scale")},
        },
    ),
    "residual": (
        Glow1DConfig(steps=1, hidden=3, depth=1, permutation="dense", network="residual", scale="tanh"),
        (3,),
        1,
        {
            "layers.0.mixing.matrix": (3, 3),
            **norm("layers.0.mixing.norm", 3),
            **residual_network("layers.0.coupling.network", 2, 4),
        },
    ),
    "spline coupling": (
        NSFConfig(steps=1, hidden=3, depth=1, bins=2),
        (3,),
        0,
        {
            **lu("layers.0.mixing", 3),
            "layers.0.coupling.first": (1, 5),
            **residual_network("layers.0.coupling.network", 1, 10),
        },
    ),
    "autoregressive splines": (
        NSFConfig(steps=1, hidden=3, depth=1, bins=2, transform="autoregressive", permutation="shuffle"),
        (3,),
        0,
        {
            "layers.0.mixing.order": (3,),
            **norm("layers.0.mixing.norm", 3),
            "layers.0.coupling.order": (3,),
            "layers.0.coupling.network.weights.0": (3, 3),
            "layers.0.coupling.network.weights.1": (15, 3),
            "layers.0.coupling.network.biases.0": (3,),
            "layers.0.coupling.network.biases.1": (15,),
        },
    ),
    "MAF": (
        MAFConfig(steps=2, hidden=3, depth=1, batch_norm=True),
        (3,),
        1,
        {
            **{f"layers.{layer}.order": (3,) for layer in (0, 2)},
            **{f"layers.{layer}.network.weights.0": (3, 4) for layer in (0, 2)},
            **{f"layers.{layer}.network.weights.1": (6, 3) for layer in (0, 2)},
            **{f"layers.{layer}.network.biases.0": (3,) for layer in (0, 2)},
            **{f"layers.{layer}.network.biases.1": (6,) for layer in (0, 2)},
            **{f"layers.1.{name}": (3,) for name in ("log_scale", "bias", "mean", "variance")},
        },
    ),
    "IAF": (
        IAFConfig(steps=1, hidden=3, depth=1),
        (3,),
        0,
        {
            "layers.0.order": (3,),
            "layers.0.network.weights.0": (3, 3),
            "layers.0.network.weights.1": (6, 3),
            "layers.0.network.biases.0": (3,),
            "layers.0.network.biases.1": (6,),
        },
    ),
}
"""Names and shapes of the tensors in weights files that users have."""


def saved_value(name: str, shape: Shape, rng: torch.Generator) -> Tensor:
    match name.rpartition(".")[2]:
        case "order":
            return torch.randperm(shape[0], generator=rng)
        case "permutation":
            return torch.eye(shape[0], dtype=torch.float64)[torch.randperm(shape[0], generator=rng)]
        case "sign":
            return torch.randint(0, 2, shape, generator=rng).double() * 2 - 1
        case "variance":
            return torch.rand(shape, generator=rng, dtype=torch.float64) + 0.5
        case _:
            return 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(("config", "shape", "features", "saved"), SAVED.values(), ids=SAVED)
def test_saved_weights_are_loaded_and_mean_the_same(
    config: FlowConfig, shape: Shape, features: int, saved: dict[str, Shape]
) -> None:
    rng = generator(11)
    state = {name: saved_value(name, size, rng) for name, size in saved.items()}
    flow = build_flow(config, shape, context_features=features).double()
    flow.load_state_dict(state | {"_initialized": torch.tensor(1, dtype=torch.uint8)})
    assert flow.initialized
    assert_as_written_again(config, flow.eval(), shape, features)
