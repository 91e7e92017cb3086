"""Inherit blocks: each step of the student begins as a step of its teacher, with the mixing of several.

Within each level the teacher's steps are divided among the student's, in order and as evenly as possible. A step that
faces the teacher's steps a to b mixes the channels by W_b···W_a and has the coupling of step b with its network and
norms; a narrower student has the best of its hidden units (`inherit_narrower`). Splits and the learned prior are copied
too. The norms between the steps are not: they are set from data afterwards (`Flow.initialize_outer`), because the
student's steps see other values than the teacher's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig
from nfkd.data import Batch
from nfkd.distillation.inherit_mixing import MixingStep, groups, mixing_product, order_problem
from nfkd.distillation.inherit_narrower import network_inputs, prune_network
from nfkd.flows.bijections import Mixing
from nfkd.flows.coupling import CheckerboardCoupling, FlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.layer import Layer, Split
from nfkd.flows.networks import CouplingNetwork

_COUNTS = ("steps", "checkerboard")
_MAY_DIFFER = {*_COUNTS, "permutation"}
_TRANSFORMERS = {"tarflow", "jet"}  # flows whose layers add to their input, so that some can be left out
_TRANSFORMER_LAYER = re.compile(r"(network\.transformer\.layers\.)(\d+)(\..+)")


@dataclass(frozen=True)
class _Step:
    """A step, and its index among the steps between two squeezes or splits."""

    label: str
    index: int
    layer: Layer

    @property
    def coupling(self) -> Layer:
        """The part with the network: an autoregressive step is its own."""
        return self.layer.coupling if isinstance(self.layer, FlowStep) else self.layer

    @property
    def mixing(self) -> MixingStep | None:
        """The mixing of the channels, if the step mixes them."""
        mixing = self.layer.mixing if isinstance(self.layer, FlowStep) else None
        return MixingStep(self.label, mixing) if isinstance(mixing, Mixing) and mixing.mixes else None


def blocks_problems(student: Flow, teacher: Flow, configs: tuple[FlowConfig, FlowConfig] | None) -> list[str]:
    """Return why a student cannot inherit its teacher's blocks; the flows may be on the meta device.

    Parameters
    ----------
    student, teacher
        The flows.
    configs
        Their configs; None if the teacher is a flow of another library.
    """
    if configs is None:
        return ["the teacher is a flow of another library, whose steps cannot be copied: choose none"]
    problems = list(_config_problems(*configs))
    if student.context_features != teacher.context_features:
        problems.append(
            f"the student takes a context of {student.context_features} values, the teacher one of "
            f"{teacher.context_features}: give both the same"
        )
    return problems or list(_step_problems(student, teacher, configs[1]))


def _config_problems(student: FlowConfig, teacher: FlowConfig) -> Iterator[str]:
    if student.kind != teacher.kind:
        yield f"the student is a flow of kind {student.kind}, the teacher of kind {teacher.kind}: give both the same"
        return
    for name in type(student).model_fields:
        mine, theirs = getattr(student, name), getattr(teacher, name)
        if name in _COUNTS:
            yield from _count_problem(name, mine, theirs)
        elif mine < theirs and _may_be_smaller(name, student):
            continue
        elif mine != theirs and name not in _MAY_DIFFER:
            values = f"{name} is {_text(mine)} in the student and {_text(theirs)} in the teacher"
            yield f"{values}: {_reason(name, mine, theirs)}"
    if getattr(student, "batch_norm", False):
        yield "batch norm between the steps cannot be inherited: set batch_norm = false in both flows"


def _count_problem(name: str, mine: int, theirs: int) -> Iterator[str]:
    if mine > theirs:
        yield f"{name} is {mine} in the student and only {theirs} in the teacher: give the student no more than that"
    elif theirs and not mine:
        yield f"{name} is 0 in the student and {theirs} in the teacher: give the student at least one"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _may_be_smaller(name: str, config: FlowConfig) -> bool:
    """Return whether a student can have less of a field than its teacher."""
    return (name == "hidden" and _prunable(config)) or (name == "depth" and config.kind in _TRANSFORMERS)


def _prunable(config: FlowConfig) -> bool:
    """Return whether the networks have plain hidden layers, whose units can be removed one by one."""
    return config.kind == "glow" or (config.kind == "glow1d" and config.network == "mlp")


def _reason(name: str, mine: object, theirs: object) -> str:
    if name != "hidden":
        return "give both the same"
    return (
        "copied networks cannot be wider"
        if cast("int", mine) > cast("int", theirs)
        else 'units can be removed only from Glow and from Glow-1D with network = "mlp", so give both the same'
    )


def _step_problems(student: Flow, teacher: Flow, config: FlowConfig) -> Iterator[str]:
    for step, group in _faced(student, teacher):
        if _alternates(step, config) and _donor(step, group, config) is None:
            yield (
                f"the student's {step.label} and the teacher's {group[0].label} see the other half of the data or the "
                "other order: give both an even number of steps, or the student fewer"
            )
        mixing, mixings = step.mixing, [other.mixing for other in group if other.mixing is not None]
        message = order_problem(mixing, mixings) if mixing and mixings else ""
        if message:
            yield message


@torch.no_grad()
def inherit_blocks(student: Flow, teacher: Flow, config: FlowConfig, batch: Batch) -> None:
    """Copy the teacher's blocks to the student, which is changed in place.

    Parameters
    ----------
    student
        Its norms between the steps are set afterwards, by `Flow.initialize_outer`.
    teacher
        The trained teacher.
    config
        The teacher's config.
    batch
        Examples on which the hidden units of a wider teacher are compared.
    """
    inputs = {} if _networks_fit(student, teacher) else network_inputs(teacher, batch)
    for step, group in _faced(student, teacher):
        donor = _donor(step, group, config) or group[-1]
        network, target = (getattr(coupling, "network", None) for coupling in (step.coupling, donor.coupling))
        if inputs and isinstance(network, CouplingNetwork) and isinstance(target, CouplingNetwork):
            prune_network(network, target, inputs[target])
        else:
            step.coupling.load_state_dict(_fewer_layers(donor.coupling.state_dict(), step.coupling.state_dict()))
        mixings = [other.mixing for other in group if other.mixing is not None]
        if step.mixing is not None and mixings:
            step.mixing.mixing.set_mixing_matrix(mixing_product(mixings))
    for split, target in zip(_splits(student), _splits(teacher), strict=True):
        split.load_state_dict(target.state_dict())
    if student.prior is not None and teacher.prior is not None:
        student.prior.load_state_dict(teacher.prior.state_dict())


def _fewer_layers(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a coupling with as many transformer layers as another: the last one of each group."""
    wanted, found = (
        sorted({int(match[2]) for name in names if (match := _TRANSFORMER_LAYER.fullmatch(name))})
        for names in (like, state)
    )
    kept = {group[-1]: number for number, group in enumerate(groups(found, len(wanted)))} if wanted else {}
    chosen: dict[str, Tensor] = {}
    for name, value in state.items():
        match = _TRANSFORMER_LAYER.fullmatch(name)
        if match is None:
            chosen[name] = value
        elif int(match[2]) in kept:
            chosen[f"{match[1]}{kept[int(match[2])]}{match[3]}"] = value
    return chosen


def _networks_fit(student: Flow, teacher: Flow) -> bool:
    """Return whether every step has networks of its teacher's width."""
    widths = [
        {len(module.weights[0]) for module in flow.modules() if isinstance(module, CouplingNetwork)}
        for flow in (student, teacher)
    ]
    return widths[0] == widths[1]


def _faced(student: Flow, teacher: Flow) -> Iterator[tuple[_Step, Sequence[_Step]]]:
    """Yield each step of the student with the steps of the teacher that it replaces."""
    for mine, targets in zip(_levels(student), _levels(teacher), strict=True):
        yield from zip(mine, groups(targets, len(mine)), strict=True)


def _levels(flow: Flow) -> list[list[_Step]]:
    """Return the steps before, between and after squeezes and splits."""
    levels: list[list[_Step]] = [[]]
    for info, layer in zip(flow.layer_info(), flow.layers, strict=True):
        if info.kind in {"squeeze", "split"}:
            levels.append([])
        elif info.kind == "step" and isinstance(layer, Layer):
            levels[-1].append(_Step(info.label, len(levels[-1]), layer))
    return levels


def _splits(flow: Flow) -> list[Split]:
    return [layer for layer in flow.layers if isinstance(layer, Split)]


def _donor(step: _Step, group: Sequence[_Step], config: FlowConfig) -> _Step | None:
    """Return the last step of a group whose coupling sees the data as the student's does; None if there is none."""
    fitting = [other for other in group if not _alternates(step, config) or (other.index - step.index) % 2 == 0]
    return fitting[-1] if fitting else None


def _alternates(step: _Step, config: FlowConfig) -> bool:
    """Return whether every second step sees the other squares of a checkerboard, or the reversed order."""
    options: Any = config
    reverses = config.kind == "tarflow" or getattr(options, "order", "") == "reversed"
    return reverses or isinstance(step.coupling, CheckerboardCoupling)
