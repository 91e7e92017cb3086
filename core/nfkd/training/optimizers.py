"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.nn import Parameter

from nfkd.config import TrainingConfig

_BETA1 = 0.9


def make_optimizer(config: TrainingConfig, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that the config names.

    Adam and Adamax are those of Kingma & Ba 2015 (arXiv 1412.6980), AdamW that of Loshchilov & Hutter 2019
    (arXiv 1711.05101). AdamW does not decay parameters of one dimension: a smaller bias or norm scale makes no simpler
    function. Adam and AdamW are fused: with many small parameters, a Python loop over them takes a third of the step.
    """
    betas = (_BETA1, config.second_moment_decay)
    if config.optimizer == "adamax":
        return torch.optim.Adamax(parameters, lr=config.learning_rate, betas=betas)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)
    parameters = list(parameters)
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.dim() >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or a cosine down to the final rate.

    Parameters
    ----------
    config
        Highest and final rate, schedule and warm-up.
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
    final = min(config.final_learning_rate, config.learning_rate)
    share = 0.5 * (1 + math.cos(math.pi * (step - config.warmup_steps) / rest))
    return final + (config.learning_rate - final) * share
