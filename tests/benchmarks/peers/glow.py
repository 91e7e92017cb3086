"""Glow on 3×32×32 images: 8 steps at each of 3 levels, width 128."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nfkd.config import GlowConfig
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in
from tests.benchmarks.peers.case import Case, Work, count_parameters, timed
from tests.benchmarks.peers.libraries import FreiaGlow, normflows_multiscale_glow
from tests.benchmarks.peers.steps import normal_examples, own_flow, training, without_gradients
from tests.benchmarks.peers.timing import Action

SHAPE = (3, 32, 32)
GLOW = GlowConfig(levels=3, steps=8, hidden=128)


def _others(x: Tensor) -> tuple[Any, FreiaGlow]:
    """Return normflows' and FrEIA's flow, after data-dependent initialisation where there is one."""
    torch.manual_seed(0)
    normflows, freia = normflows_multiscale_glow(GLOW, SHAPE), FreiaGlow(GLOW, SHAPE)
    with torch.no_grad():
        normflows.log_prob(x, None)
    return normflows, freia


def _in(precision: Precision, action: Action) -> Action:
    def run() -> None:
        with networks_in(precision):
            action()

    return run


def _train(count: int, precision: Precision) -> Work:
    x = normal_examples(count, *SHAPE)
    flow, (normflows, freia) = own_flow(GLOW, x), _others(x)
    convolutions = Convolutions(GLOW, SHAPE)
    rivals = {
        "normflows": training(normflows, lambda x: normflows.log_prob(x, None), x),
        "FrEIA": training(freia, freia.log_prob, x),
        "its convolutions alone": convolutions.action(count),
    }
    if precision == "bf16":  # beside the others' float32
        del rivals["FrEIA"], rivals["its convolutions alone"]
    parameters = {
        "ours": count_parameters(flow),
        "normflows": count_parameters(normflows),
        "FrEIA": count_parameters(freia),
        "convolutions": count_parameters(convolutions),
    }
    return Work(_in(precision, training(flow, flow.log_prob, x)), rivals, parameters)


def _evaluate(ours: Callable[[Flow, Tensor], object], theirs: Callable[[Any, Tensor], object]) -> Work:
    x = normal_examples(32, *SHAPE)
    flow, normflows = own_flow(GLOW, x).eval(), _others(x)[0].eval()
    return Work(
        without_gradients(lambda: ours(flow, x)),
        {"normflows": without_gradients(lambda: theirs(normflows, x))},
        {"ours": count_parameters(flow), "normflows": count_parameters(normflows)},
    )


class Convolutions(nn.Module):
    """The convolutions of the networks of a Glow, with biases and without anything between them.

    The 1×1 convolutions are matrix products and the channels are last, which is the fastest of torch's layouts here.
    """

    def __init__(self, config: GlowConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList()
        self._inputs: list[tuple[int, int, int]] = []
        channels, height, width = shape
        for _ in range(config.levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            for _ in range(config.steps):
                first = nn.Conv2d(channels // 2, config.hidden, 3, padding=1)
                last = nn.Conv2d(config.hidden, channels, 3, padding=1)
                layers = [first, nn.Linear(config.hidden, config.hidden), last]
                self.networks.append(nn.ModuleList(layers))
                self._inputs.append((channels // 2, height, width))
            channels //= 2
        for weight in self.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def action(self, count: int) -> Action:
        """Return one pass of each network, forwards and backwards, with gradients of inputs and weights."""
        inputs = [
            torch.randn(count, *shape).contiguous(memory_format=torch.channels_last).requires_grad_()
            for shape in self._inputs
        ]
        gradients = [torch.randn(count, 2 * shape[0], *shape[1:]) for shape in self._inputs]
        gradients = [gradient.contiguous(memory_format=torch.channels_last) for gradient in gradients]

        def run() -> None:
            self.zero_grad(set_to_none=True)
            for network, x, gradient in zip(self.networks, inputs, gradients, strict=True):
                first, middle, last = network.children()
                h = middle(first(x).movedim(1, -1)).movedim(-1, 1)
                x.grad = None
                last(h).backward(gradient)

        return run


CASES = (
    Case(
        "training step of Glow, batch 8",
        {"normflows": 0.76, "its convolutions alone": 1.15, "FrEIA": None},
        timed(partial(_train, 8, "float32")),
        {"normflows": 1.00, "its convolutions alone": 1.52},
    ),
    Case(
        "training step of Glow, batch 32",
        {"normflows": 0.80, "its convolutions alone": 1.12, "FrEIA": None},
        timed(partial(_train, 32, "float32")),
        {"normflows": 0.88, "its convolutions alone": 1.24},
    ),
    Case(
        "the same, networks in bf16, theirs in float32",
        {"normflows": 0.45},
        timed(partial(_train, 32, "bf16")),
        {"normflows": 0.56},
    ),
    Case(
        "32 samples of Glow",
        {"normflows": 0.75},
        timed(partial(_evaluate, lambda flow, x: flow.sample(len(x)), lambda flow, x: flow.sample(len(x)))),
    ),
    Case(
        "log_prob of Glow, batch 32",
        {"normflows": 0.75},
        timed(partial(_evaluate, lambda flow, x: flow.log_prob(x), lambda flow, x: flow.log_prob(x, None))),
    ),
)
