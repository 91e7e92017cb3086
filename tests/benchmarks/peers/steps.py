"""A training step that is the same for the flows of all libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.fused import gradients_by_backward
from nfkd.training.optimizers import GatheredAdam
from tests.benchmarks.peers.timing import Action

RATE = 1e-6
"""So low that thousands of steps on one batch do not change the work."""


def own_flow(config: FlowConfig, x: Tensor) -> Flow:
    """Return a flow of ours after its data-dependent initialisation."""
    flow = build_flow(config, x.shape[1:], generator=torch.Generator().manual_seed(0))
    flow.initialize(x)
    return flow


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's fused Adam, for all other libraries: its default one takes longer with many small parameters."""
    return torch.optim.Adam(parameters, RATE, fused=True)


def own_adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the Adam of our trainer: the same kernel, with less overhead for many small parameters."""
    return GatheredAdam(parameters, RATE)


def training(model: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Action:
    """Return a maximum-likelihood step: clear the gradients, mean log-density, backward, Adam.

    Ours takes the gradients as our trainer does.
    """
    own = isinstance(model, Flow)
    optimizer = (own_adam if own else adam)(model.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with gradients_by_backward() if own else nullcontext():
            loss = -log_prob(x).mean()
        loss.backward()
        optimizer.step()

    return step


def without_gradients(action: Action) -> Action:
    """Return an action under ``no_grad``."""

    def run() -> None:
        with torch.no_grad():
            action()

    return run


def normal_examples(count: int, *shape: int) -> Tensor:
    """Return standard normal examples, (count, *shape)."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))
