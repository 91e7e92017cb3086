"""Inherit mixing: the student begins with the teacher's mixing of the channels.

Between two matched layers each step of the teacher mixes the channels, and so does each of the student's fewer steps.
Each step of the student takes the product of the matrices of several consecutive steps of the teacher, so that the
product over all of them is the teacher's. Norms are not inherited.

The idea is the authors' (vklyukin/nf_distillation, ``inherit_permutation_matrix``). Their code multiplied only the
fixed permutations of the LU forms, did not restart after a matched layer, and set only the matched step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from nfkd.distillation.strategies import spread_index
from nfkd.flows.bijections import ActNormPermutation, Mixing
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo

StepT = TypeVar("StepT")


@dataclass(frozen=True)
class MixingStep:
    """A step of a flow that mixes the channels."""

    label: str
    mixing: Mixing


Block = list[MixingStep]
"""Consecutive steps without a squeeze, split or matched layer between them: their matrices can be multiplied."""


def mixing_problems(student: Flow, teacher: Flow, pairs: Sequence[LayerPair]) -> list[str]:
    """Return why a student cannot inherit its teacher's mixing; the flows may be on the meta device."""
    message = ""
    if not any(mixing is not None for _, mixing in _mixings(teacher)):
        message = "the teacher has no mixing of channels to inherit: only flows with a permutation have one"
    elif not any(mixing is not None for _, mixing in _mixings(student)):
        message = "the student has no mixing of channels: only flows with a permutation have one"
    elif not pairs:
        message = "no layers are matched, and mixing is inherited up to a matched layer: choose a strategy"
    if message:
        return [message]
    problems = []
    for pair, mine, targets in _blocks(student, teacher, pairs):
        message = _count_problem(mine, targets) or next(filter(None, map(_block_problem, mine, targets)), "")
        if message:
            problems.append(f"up to {pair.summary}: {message}")
    return problems


@torch.no_grad()
def inherit_mixing(student: Flow, teacher: Flow, pairs: Sequence[LayerPair]) -> None:
    """Give the student the teacher's mixing of the channels up to the last matched layer; changed in place."""
    for _, mine, targets in _blocks(student, teacher, pairs):
        for block, target in zip(mine, targets, strict=True):
            for step, group in zip(block, groups(target, len(block)), strict=True):
                step.mixing.set_mixing_matrix(mixing_product(group))


def mixing_product(steps: Sequence[MixingStep]) -> Tensor:
    """Return the matrix of consecutive steps, float64 on the CPU: the first is the rightmost factor."""
    product, *rest = [step.mixing.mixing_matrix().cpu().double() for step in steps]
    for matrix in rest:
        product = matrix @ product
    return product


def groups(steps: Sequence[StepT], count: int) -> list[Sequence[StepT]]:
    """Divide steps into `count` groups, in order and as evenly as possible."""
    ends = [0, *(spread_index(m, count, len(steps)) + 1 for m in range(count))]
    return [steps[start:end] for start, end in pairwise(ends)]


# --- the steps between two matched layers -----------------------------------------------------------------------------


def _blocks(
    student: Flow, teacher: Flow, pairs: Sequence[LayerPair]
) -> list[tuple[LayerPair, list[Block], list[Block]]]:
    """Return each matched pair with the blocks of both flows since the pair before it."""
    mine = _blocks_before(student, [pair.student for pair in pairs])
    targets = _blocks_before(teacher, [pair.teacher for pair in pairs])
    return list(zip(pairs, mine, targets, strict=True))


def _blocks_before(flow: Flow, matched: Sequence[str]) -> list[list[Block]]:
    """Return the blocks up to each matched layer and after the one before it."""
    found: list[list[Block]] = []
    blocks: list[Block] = [[]]
    for layer, mixing in _mixings(flow):
        if layer.kind in {"squeeze", "split"}:
            blocks.append([])
        elif mixing is not None:
            blocks[-1].append(MixingStep(layer.label, mixing))
        if len(found) < len(matched) and layer.name == matched[len(found)]:
            found.append([block for block in blocks if block])
            blocks = [[]]
    return found


def _mixings(flow: Flow) -> list[tuple[LayerInfo, Mixing | None]]:
    mixings = [getattr(layer, "mixing", None) for layer in flow.layers]
    return [
        (info, mixing if isinstance(mixing, Mixing) and mixing.mixes else None)
        for info, mixing in zip(flow.layer_info(), mixings, strict=True)
    ]


# --- problems ---------------------------------------------------------------------------------------------------------


def _count_problem(mine: list[Block], targets: list[Block]) -> str:
    if len(mine) == len(targets):
        return ""
    return (
        f"the student mixes the channels at {_span_all(mine)}, the teacher at {_span_all(targets)}, and matrices "
        "cannot be multiplied across a squeeze or split: match the end of every level"
    )


def _span_all(blocks: list[Block]) -> str:
    return " and ".join(_span(block) for block in blocks) or "no step"


def _span(steps: Sequence[MixingStep]) -> str:
    return steps[0].label if len(steps) == 1 else f"{steps[0].label} to {steps[-1].label}"


def _block_problem(mine: Block, target: Block) -> str:
    sizes = [len(steps[0].mixing.mixing_matrix()) for steps in (mine, target)]
    if sizes[0] != sizes[1]:
        return f"the student's {_span(mine)} mixes {sizes[0]} channels, the teacher's {_span(target)} {sizes[1]}"
    if len(mine) > len(target):
        return (
            f"the student has {len(mine)} steps ({_span(mine)}) and the teacher only {len(target)} ({_span(target)}): "
            "give the student no more steps than its teacher"
        )
    return next(filter(None, map(order_problem, mine, groups(target, len(mine)))), "")


def order_problem(step: MixingStep, group: Sequence[MixingStep]) -> str:
    """Return why a step cannot take the product of a group's matrices; empty if it can."""
    if not isinstance(step.mixing, ActNormPermutation):
        return ""
    orders = [other.mixing for other in group if isinstance(other.mixing, ActNormPermutation)]
    if len(orders) < len(group):
        return (
            f"the teacher's {_span(group)} mixes by a matrix, and the student's {step.label} only reorders the "
            "channels: give the student the permutation lu or dense"
        )
    reversed_all = all(order.reverses for order in orders)
    if reversed_all and len(group) % 2 == 0:
        return (
            f"the teacher's {_span(group)} reverse the channels {len(group)} times, which leaves them in place, and "
            f"the student's {step.label} would mix nothing: choose other numbers of steps"
        )
    if step.mixing.reverses and not reversed_all:
        return (
            f"the teacher's {_span(group)} shuffles the channels, and the student's {step.label} only reverses them: "
            "give the student the permutation shuffle"
        )
    return ""
