"""Inherit permutation: the student begins with the teacher's mixing of the channels.

Between two matched layers the teacher mixes the channels once a step, and so does the student, in fewer steps. Each of
the student's steps there takes the product of the matrices of a run of the teacher's steps, so that the product over
all of them is the teacher's: without the couplings both would give the channels the same order.

The idea is the authors' (vklyukin/nf_distillation, ``inherit_permutation_matrix``). Their code multiplied only the
fixed permutations of the LU forms, never began anew after a matched layer, and set only the matched step; here it is
the whole matrices, from one matched layer to the next, and every step between them. Norms stay each flow's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nfkd.config import ConfigProblem
from nfkd.distillation.strategies import place_of
from nfkd.flows.bijections import ActNormPermutation, Mixing
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo

PATH = "distillation.matching.inherit_permutation"


@dataclass(frozen=True)
class _Step:
    """A step of a flow that mixes the channels."""

    label: str
    mixing: Mixing


Stretch = list[_Step]
"""Steps with no squeeze, split or matched layer between them: their matrices have a product."""


def inheritance_problems(student: Flow, teacher: Flow, pairs: Sequence[LayerPair]) -> list[ConfigProblem]:
    """Return what keeps a student from taking its teacher's mixing, or nothing; the flows may be without storage."""
    if not _all_steps(teacher):
        return [
            ConfigProblem(
                PATH, "the teacher has no mixing of channels to inherit: only flows with a permutation have one"
            )
        ]
    if not _all_steps(student):
        return [ConfigProblem(PATH, "the student has no mixing of channels: only flows with a permutation have one")]
    if not pairs:
        return [
            ConfigProblem(
                PATH, "no layers are matched, and mixing is inherited up to a matched layer: choose a strategy"
            )
        ]
    problems = []
    for pair, ours, theirs in _stretches(student, teacher, pairs):
        message = _unequal(ours, theirs) or next(filter(None, map(_unfit, ours, theirs)), "")
        if message:
            problems.append(ConfigProblem(PATH, f"up to {pair.summary}: {message}"))
    return problems


@torch.no_grad()
def inherit(student: Flow, teacher: Flow, pairs: Sequence[LayerPair]) -> None:
    """Give the student the teacher's mixing of the channels up to the last matched layer.

    Parameters
    ----------
    student
        Changed in place: its matrices and orders, and nothing else. Trained matrices go on from there.
    teacher
        As it teaches.
    pairs
        The matched layers.

    Raises
    ------
    ValueError
        Where `inheritance_problems` finds one.
    """
    problems = inheritance_problems(student, teacher, pairs)
    if problems:
        raise ValueError(problems[0].message)
    for _, ours, theirs in _stretches(student, teacher, pairs):
        for mine, others in zip(ours, theirs, strict=True):
            for step, run in zip(mine, _runs(others, len(mine)), strict=True):
                step.mixing.set_mixing_matrix(_product(run))


def _product(run: Stretch) -> Tensor:
    """Return the matrix of some steps one after another: the first is the rightmost factor."""
    product, *rest = [step.mixing.mixing_matrix().cpu().double() for step in run]
    for matrix in rest:
        product = matrix @ product
    return product


def _runs(steps: Stretch, count: int) -> list[Stretch]:
    """Share steps out among so many, in order and as evenly as whole steps can be."""
    ends = [0, *(place_of(m, count, len(steps)) + 1 for m in range(count))]
    return [steps[start:end] for start, end in pairwise(ends)]


# --- which steps lie between two matched layers -----------------------------------------------------------------------


def _stretches(
    student: Flow, teacher: Flow, pairs: Sequence[LayerPair]
) -> list[tuple[LayerPair, list[Stretch], list[Stretch]]]:
    """Return, up to each matched pair, the stretches of both flows that mix."""
    ours = _up_to(student, [pair.student for pair in pairs])
    theirs = _up_to(teacher, [pair.teacher for pair in pairs])
    return list(zip(pairs, ours, theirs, strict=True))


def _up_to(flow: Flow, matched: Sequence[str]) -> list[list[Stretch]]:
    """Return the stretches before each matched layer and after the one before it."""
    found: list[list[Stretch]] = []
    stretches: list[Stretch] = [[]]
    for layer, mixing in _mixings(flow):
        if layer.kind in {"squeeze", "split"}:
            stretches.append([])
        elif mixing is not None:
            stretches[-1].append(_Step(layer.label, mixing))
        if len(found) < len(matched) and layer.name == matched[len(found)]:
            found.append([stretch for stretch in stretches if stretch])
            stretches = [[]]
    return found


def _mixings(flow: Flow) -> list[tuple[LayerInfo, Mixing | None]]:
    mixings = [getattr(layer, "mixing", None) for layer in flow.layers]
    return [
        (info, mixing if isinstance(mixing, Mixing) and mixing.mixes else None)
        for info, mixing in zip(flow.layer_info(), mixings, strict=True)
    ]


def _all_steps(flow: Flow) -> list[_Step]:
    return [_Step(layer.label, mixing) for layer, mixing in _mixings(flow) if mixing is not None]


# --- what does not fit ------------------------------------------------------------------------------------------------


def _unequal(ours: list[Stretch], theirs: list[Stretch]) -> str:
    if len(ours) == len(theirs):
        return ""
    return (
        f"the student mixes the channels at {_where(ours)}, the teacher at {_where(theirs)}, and a squeeze or split "
        "between two steps parts their matrices: match the end of every level"
    )


def _where(stretches: list[Stretch]) -> str:
    return " and ".join(_span(stretch) for stretch in stretches) or "no step"


def _span(steps: Stretch) -> str:
    return steps[0].label if len(steps) == 1 else f"{steps[0].label} to {steps[-1].label}"


def _unfit(ours: Stretch, theirs: Stretch) -> str:
    sizes = [len(steps[0].mixing.mixing_matrix()) for steps in (ours, theirs)]
    if sizes[0] != sizes[1]:
        return f"the student's {_span(ours)} mixes {sizes[0]} channels, the teacher's {_span(theirs)} {sizes[1]}"
    if len(ours) > len(theirs):
        return (
            f"the student has {len(ours)} steps ({_span(ours)}) and the teacher only {len(theirs)} ({_span(theirs)}) "
            "to share out among them: give the student no more steps than its teacher"
        )
    for step, run in zip(ours, _runs(theirs, len(ours)), strict=True):
        message = _unfit_step(step, run)
        if message:
            return message
    return ""


def _unfit_step(step: _Step, run: Stretch) -> str:
    if not isinstance(step.mixing, ActNormPermutation):
        return ""
    orders = [other.mixing for other in run if isinstance(other.mixing, ActNormPermutation)]
    if len(orders) < len(run):
        return (
            f"the teacher's {_span(run)} mixes by a matrix, and the student's {step.label} only reorders the channels: "
            "give the student the permutation lu or dense"
        )
    reversed_all = all(order.reverses for order in orders)
    if reversed_all and len(run) % 2 == 0:
        return (
            f"the teacher's {_span(run)} reverse the channels {len(run)} times, which leaves them in place, and the "
            f"student's {step.label} would mix nothing: choose other numbers of steps"
        )
    if step.mixing.reverses and not reversed_all:
        return (
            f"the teacher's {_span(run)} shuffles the channels, and the student's {step.label} only reverses them: "
            "give the student the permutation shuffle"
        )
    return ""
