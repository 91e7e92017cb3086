"""The running average of a flow's weights."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nfkd.flows.flow import Flow


def decay_at(decay: float, step: int) -> float:
    """Return the decay of step n, counted from 1: min(decay, (1 + n)/(10 + n)).

    The second bound, that of TensorFlow's moving averages, lets a short training forget its first steps.
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """The exponential moving average of the weights of a flow in training.

    It starts from the weights after the first step; then e ← d·e + (1 − d)·θ after every step, with d from `decay_at`.
    Averaging follows Polyak & Juditsky 1992 ("Acceleration of stochastic approximation by averaging"); sampling from
    the average while training the plain weights follows diffusion models (DDPM, Ho et al. 2020, arXiv 2006.11239).
    Running means of batch norms are averaged too; integers and flags are copied.

    Parameters
    ----------
    trained
        The flow in training.
    decay
        The highest decay, below 1.

    Attributes
    ----------
    flow
        A copy of the flow with the averaged weights; no gradients.
    """

    def __init__(self, trained: Flow, decay: float) -> None:
        self.flow = deepcopy(trained).requires_grad_(requires_grad=False)
        self._decay = decay
        # Neither flow replaces its tensors (the optimizer, made before, has moved them): they are looked up only once.
        pairs = list(zip(self.flow.state_dict().values(), trained.state_dict().values(), strict=True))
        self._numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after a step, counted from 1."""
        averages, weights = (list(tensors) for tensors in zip(*self._numbers, strict=True))
        get_ema_multi_avg_fn(decay_at(self._decay, step))(averages, weights, step)
        for copy, original in self._others:
            copy.copy_(original)
