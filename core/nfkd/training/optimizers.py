"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.nn import Parameter

from nfkd.config import TrainingConfig

_KINDS = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax}


def make_optimizer(config: TrainingConfig, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that the config names.

    Adam and Adamax are those of Kingma & Ba 2015 (arXiv 1412.6980), AdamW that of Loshchilov & Hutter 2019
    (arXiv 1711.05101). AdamW's decay spares parameters of one dimension: a bias or a norm's scale drawn towards zero
    makes no simpler function.
    """
    if config.optimizer != "adamw":
        return _KINDS[config.optimizer](parameters, lr=config.learning_rate)
    every = list(parameters)
    groups = [
        {"params": [parameter for parameter in every if parameter.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in every if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


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
