"""The terms of the student's loss, as in "Distilling Normalizing Flows" (arXiv 2506.21003), section 3.

A term is a class that says what it needs and turns the step's passes into one number. Adding a term touches this
file and its config: the loss, the curves, the form and the tables follow from `OBJECTIVES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from nfkd.config import ILKDConfig, LKDConfig, NLLConfig, SKDConfig, TermConfig
from nfkd.distillation.matching import weighted_mean
from nfkd.flows.flow import Capability, Flow, Pass
from nfkd.protocol.events import LayerPair

ConfigT = TypeVar("ConfigT", bound=TermConfig)


@dataclass(frozen=True)
class Synthesized:
    """What both flows made of one noise: two tensors of shape (B, *event_shape)."""

    student: Tensor
    teacher: Tensor


@dataclass(frozen=True)
class StepPasses:
    """All passes of one step, each done once however many terms share it.

    Attributes
    ----------
    student
        The student's pass over the step's x.
    teacher
        The teacher's pass over the same x, noise included; None where no term needs it.
    synthesized
        Samples from shared noise; None where no term needs them.
    weights
        (B,) weight of each example of x, 1 on average; None where all count the same.
    """

    student: Pass
    teacher: Pass | None = None
    synthesized: Synthesized | None = None
    weights: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean over the examples of x of a figure for each, (B,)."""
        return values.mean() if self.weights is None else (values * self.weights).mean()


class Objective(ABC, Generic[ConfigT]):
    """One term of the loss.

    Attributes
    ----------
    label, unit
        For curves and legends; the likelihood's unit is the data's and left empty here.
    needs_teacher, needs_trace, needs_samples
        Which passes the term reads.
    asks
        What of the teacher it depends on: not every flow of another library can do everything.
    """

    label: ClassVar[str]
    unit: ClassVar[str] = ""
    needs_teacher: ClassVar[bool] = False
    needs_trace: ClassVar[bool] = False
    needs_samples: ClassVar[bool] = False
    asks: ClassVar[tuple[Capability, ...]] = ()

    def __init__(
        self, config: ConfigT, *, nll_loss: Callable[[Tensor], Tensor], pairs: Sequence[LayerPair] = ()
    ) -> None:
        self.config = config
        self.nll_loss = nll_loss
        self.pairs = tuple(pairs)

    @abstractmethod
    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the term's value, a scalar."""


class NLL(Objective[NLLConfig]):
    """Maximum likelihood: the mean of −log p_S(x), bits/dim for images and nats per dimension for vectors."""

    label = "NLL"

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the mean over the batch."""
        return passes.mean(self.nll_loss(passes.student.log_prob))


class LKD(Objective[LKDConfig]):
    """Latent knowledge distillation: mean of (z_S − z_T)² over all latents, split-off ones too, raw z."""

    label = "LKD"
    asks = ("latents",)
    unit = "squared latent"
    needs_teacher = True

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the mean over batch and dimensions."""
        ours, theirs = passes.student.latents.flat(), _teacher(passes).latents.flat()
        return passes.mean((ours - theirs).square().mean(1))


class ILKD(Objective[ILKDConfig]):
    """Intermediate latents: the weighted mean over matched layers of each pair's mean squared difference."""

    label = "ILKD"
    asks = ("latents",)
    unit = "squared latent"
    needs_teacher = True
    needs_trace = True

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the mean over pairs, each by its weight, batch and dimensions."""
        errors = _errors(passes.student, _teacher(passes), self.pairs)
        return weighted_mean(torch.stack([passes.mean(error) for error in errors]), self.pairs)


class SKD(Objective[SKDConfig]):
    """Synthesized knowledge distillation: mean distance of two samples from one noise, L1 or L2."""

    label = "SKD"
    asks = ("synthesis",)
    unit = "data"
    needs_samples = True

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the mean over samples and dimensions."""
        if passes.synthesized is None:
            msg = "SKD needs synthesized samples"
            raise ValueError(msg)
        difference = passes.synthesized.student - passes.synthesized.teacher
        return difference.abs().mean() if self.config.distance == "l1" else difference.square().mean()


def pair_errors(student: Pass, teacher: Pass, pairs: Sequence[LayerPair]) -> Tensor:
    """Return the mean squared difference of every matched pair of layers, shape (pairs,).

    Both passes must have been made with ``trace=True``.
    """
    return torch.stack([error.mean() for error in _errors(student, teacher, pairs)])


def _errors(student: Pass, teacher: Pass, pairs: Sequence[LayerPair]) -> list[Tensor]:
    """Return each pair's mean squared difference for each example, (B,)."""
    return [(student.trace[p.student][0] - teacher.trace[p.teacher][0]).square().flatten(1).mean(1) for p in pairs]


def _teacher(passes: StepPasses) -> Pass:
    if passes.teacher is None:
        msg = "this term needs the teacher's pass"
        raise ValueError(msg)
    return passes.teacher


OBJECTIVES: dict[str, type[Objective]] = {"nll": NLL, "lkd": LKD, "ilkd": ILKD, "skd": SKD}
"""Every term by the name of its field in `DistillationConfig`."""


def unservable_terms(teacher: Flow) -> dict[str, str]:
    """Return the terms that a teacher cannot serve, each with the reason."""
    return {
        name: teacher.unservable[capability]
        for name, objective in OBJECTIVES.items()
        for capability in objective.asks
        if capability in teacher.unservable
    }
