"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.nn import Parameter

from nfkd.config import TrainingConfig

_KINDS = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax}


def make_optimizer(config: TrainingConfig, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that the config names."""
    return _KINDS[config.optimizer](parameters, lr=config.learning_rate)


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or a cosine down to zero.

    Parameters
    ----------
    config
        Highest rate, schedule and warm-up.
    step
        From 0 to ``steps - 1``.
    steps
        The stage's budget.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return config.learning_rate
    rest = max(1, steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - config.warmup_steps) / rest))
