"""The running average of a flow's weights."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nfkd.flows.flow import Flow


def decay_at(decay: float, step: int) -> float:
    """Return the decay of a step, counted from 1: the least of the highest decay and (1 + n)/(10 + n).

    The second bound lets a short training forget its first steps (it is that of TensorFlow's moving averages).
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """The exponential moving average of the weights of a flow in training.

    It begins with the weights after the first step; then e ← d·e + (1 − d)·θ after every step n, with d as `decay_at`
    gives it. Averaging the iterates goes back to Polyak & Juditsky 1992 ("Acceleration of stochastic approximation by
    averaging"); sampling from the averaged weights and training the plain ones is the practice of diffusion models
    (DDPM, Ho et al. 2020, arXiv 2006.11239). Running means of batch norms are averaged with the weights that they
    belong to; what is not a floating-point number is copied.

    Parameters
    ----------
    live
        The flow in training.
    decay
        The highest decay, below 1.

    Attributes
    ----------
    flow
        A flow of its own with the averaged weights; no gradients.
    """

    def __init__(self, live: Flow, decay: float) -> None:
        self.flow = deepcopy(live).requires_grad_(requires_grad=False)
        self._decay = decay
        # Both flows keep their tensors for as long as they live: they are looked up once.
        pairs = list(zip(self.flow.state_dict().values(), live.state_dict().values(), strict=True))
        self._numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        averages, weights = (list(tensors) for tensors in zip(*self._numbers, strict=True))
        get_ema_multi_avg_fn(decay_at(self._decay, step))(averages, weights, step)
        for ours, theirs in self._others:
            ours.copy_(theirs)
