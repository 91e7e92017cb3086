"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import unwrap
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter

from nfkd.config import TrainingConfig

_BETA1 = 0.9

_TORCH: Any = torch  # it exports no other names for its fused kernels


@dataclass(frozen=True)
class _Gathered:
    """The parameters of a group and their state, in one order; `steps` are views of `counter`, (parameters,)."""

    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    counter: Tensor


class _Gathering(torch.optim.Optimizer):
    """A fused optimizer of torch with little overhead for many small parameters.

    On the CPU, torch gathers the state of all parameters at each step, and adds 1 to the step counter of each one: for
    112 parameters that takes five times as long as the update. Here the state is gathered once, and the counters are
    one tensor. The update is the same kernel, so the results are equal bit for bit. Steps in which a parameter has no
    gradient, the first step and other devices are left to torch.

    Attributes
    ----------
    usual
        Makes a step as torch does.
    update
        torch's kernel.
    """

    usual: ClassVar[Callable[..., Any]]
    update: ClassVar[Callable[..., Any]]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named | {"fused": True})
        self._gathered: list[_Gathered] | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._gathered = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; it is gathered again at the next step."""
        super().load_state_dict(state_dict)
        self._gathered = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients; without torch's records for its profiler."""
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step."""
        groups = [group for group in self.param_groups if group["params"]]
        gradients = [[each.grad for each in group["params"]] for group in groups]
        if any(each is None for own in gradients for each in own) or not self._gather():
            type(self).usual(self, closure)
            return
        for group, own, found in zip(groups, gradients, self._gathered or (), strict=True):
            found.counter.add_(1)
            beta1, beta2 = group["betas"]
            options = {"lr": group["lr"], "weight_decay": group["weight_decay"], "eps": group["eps"]}
            state = (found.parameters, own, found.averages, found.squares, [], found.steps)
            type(self).update(*state, beta1=beta1, beta2=beta2, amsgrad=False, maximize=False, **options)

    def _gather(self) -> bool:
        """Gather the state unless that was done; return whether every parameter has one, on the CPU."""
        if self._gathered is None and all(
            each in self.state and each.device.type == "cpu" for group in self.param_groups for each in group["params"]
        ):
            self._gathered = [self._gather_group(group["params"]) for group in self.param_groups if group["params"]]
        return self._gathered is not None

    def _gather_group(self, parameters: list[Tensor]) -> _Gathered:
        states = [self.state[each] for each in parameters]
        counter = torch.stack([state["step"] for state in states])
        steps = list(counter.unbind())
        for state, step in zip(states, steps, strict=True):
            state["step"] = step
        return _Gathered(
            list(parameters),
            [each["exp_avg"] for each in states],
            [each["exp_avg_sq"] for each in states],
            steps,
            counter,
        )


class GatheredAdam(_Gathering, torch.optim.Adam):
    """Adam; see `_Gathering`."""

    usual, update = unwrap(torch.optim.Adam.step), _TORCH._fused_adam_


class GatheredAdamW(_Gathering, torch.optim.AdamW):
    """AdamW; see `_Gathering`."""

    usual, update = unwrap(torch.optim.AdamW.step), _TORCH._fused_adamw_


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
        return GatheredAdam(parameters, lr=config.learning_rate, betas=betas)
    parameters = list(parameters)
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.dim() >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return GatheredAdamW(groups, lr=config.learning_rate, betas=betas)


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
