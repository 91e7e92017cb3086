"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from inspect import unwrap
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter

from nfkd.config import TrainingConfig
from nfkd.flows.memory import ByAddress, joined, lay_together

_BETA1 = 0.9

_TORCH: Any = torch  # it exports no other names for its fused kernels


_LARGEST = 1 << 18
"""Numbers of a group of parameters that are laid together in memory; with more, the update takes nearly all time."""


class _Gathered:
    """The parameters of a group and their state, in one order, and as one tensor each where they lie together.

    Attributes
    ----------
    counter
        The steps of all parameters, (parameters,).
    """

    def __init__(self, parameters: list[Tensor], states: list[dict[str, Tensor]]) -> None:
        self.counter = torch.stack([state["step"] for state in states])
        self._steps = list(self.counter.unbind())
        for state, step in zip(states, self._steps, strict=True):
            state["step"] = step
        self._averages, self._squares = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq"))
        self._parameters = parameters
        self._joined, self._joined_gradients = ByAddress(joined), ByAddress(joined)
        self._average: Tensor | None = None
        self._square: Tensor | None = None
        if _may_lie_together(parameters) and len(self.counter.unique()) == 1:
            lay_together(self._averages)
            lay_together(self._squares)
            self._average, self._square = joined(self._averages), joined(self._squares)

    def update(self, gradients: list[Tensor]) -> tuple[list[Tensor], ...]:
        """Count a step, and return parameters, gradients, both averages and step counters for torch's kernel."""
        self.counter.add_(1)
        if self._average is not None and self._square is not None:
            whole, gradient = self._joined(self._parameters), self._joined_gradients(gradients)
            if whole is not None:
                if gradient is None:
                    gradient = torch.cat([each.flatten() for each in gradients])
                return [whole], [gradient], [self._average], [self._square], [], self._steps[:1]
        return self._parameters, gradients, self._averages, self._squares, [], self._steps


class _Gathering(torch.optim.Optimizer):
    """A fused optimizer of torch with little overhead for many small parameters.

    On the CPU, torch gathers the state of all parameters at each step, and adds 1 to the step counter of each one: for
    112 parameters that takes five times as long as the update. Here the state is gathered once, and the counters are
    one tensor. Up to 262,144 numbers are laid together in memory and updated as one tensor, without a copy where their
    gradients lie together, too (`nfkd.flows.folded`). The update is the same kernel; its results are equal up to the
    rounding of the last numbers of each parameter. Steps in which a parameter has no gradient, the first step and other
    devices are left to torch. Hooks of steps are not called.

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
        for group in self.param_groups:
            if _may_lie_together(group["params"]):
                lay_together(group["params"])

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
            self._gathered = None  # the parameters may have made different numbers of steps
            self._count_change()
            return
        for group, own, found in zip(groups, gradients, self._gathered or (), strict=True):
            beta1, beta2 = group["betas"]
            options = {"lr": group["lr"], "weight_decay": group["weight_decay"], "eps": group["eps"]}
            type(self).update(*found.update(own), beta1=beta1, beta2=beta2, amsgrad=False, maximize=False, **options)
        self._count_change()

    def _count_change(self) -> None:
        """Count a change of the parameters for torch, which its kernel leaves out."""
        for group in self.param_groups:
            torch.autograd.graph.increment_version(group["params"])

    def _gather(self) -> bool:
        """Gather the state unless that was done; return whether every parameter has one, on the CPU."""
        if self._gathered is None and all(
            each in self.state and each.device.type == "cpu" for group in self.param_groups for each in group["params"]
        ):
            groups = [list(group["params"]) for group in self.param_groups if group["params"]]
            self._gathered = [_Gathered(own, [self.state[each] for each in own]) for own in groups]
        return self._gathered is not None


def _may_lie_together(parameters: Sequence[Tensor]) -> bool:
    kinds = {(each.dtype, each.device.type, each.is_contiguous()) for each in parameters}
    small = sum(each.numel() for each in parameters) <= _LARGEST
    return small and len(kinds) == 1 and all(device == "cpu" and contiguous for _, device, contiguous in kinds)


vars(_Gathering.step)["hooked"] = True
"""torch then adds no records for its profiler, which take as long as the update of 37,000 numbers."""


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
    They move small parameters in memory (`lay_together`): make the optimizer before a ``state_dict()`` that is kept.
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
