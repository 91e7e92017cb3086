"""One step of distillation: the passes, the terms, the weighted total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nfkd.config import DistillationConfig, SKDConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.objectives import OBJECTIVES, Objective, StepPasses, Synthesized
from nfkd.flows.flow import Flow
from nfkd.protocol.events import LayerPair


@dataclass(frozen=True)
class Loss:
    """The value that is minimised, and each term before its weight (scalars)."""

    total: Tensor
    terms: dict[str, Tensor]


def freeze(teacher: Flow) -> Flow:
    """Make a flow a teacher: evaluation mode, no gradients in its parameters.

    Gradients still flow through it to its input, which some terms need: it is never put under ``no_grad``.
    """
    return teacher.eval().requires_grad_(requires_grad=False)


class Likelihood:
    """The loss of a teacher or a baseline: maximum likelihood alone."""

    terms = ("nll",)

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __call__(self, flow: Flow, batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch; arguments as in `Distiller.__call__`."""
        del generator
        passes = StepPasses(student=flow(batch.x, batch.context), weights=batch.weights)
        value = passes.mean(self._dataset.nll_loss(passes.student.log_prob))
        return Loss(value, {"nll": value})


class Distiller:
    """The loss of a student.

    Parameters
    ----------
    config
        The terms and their weights; a term of weight zero costs nothing.
    teacher
        The teacher; it is frozen here.
    pairs
        The matched layers.
    dataset
        Gives the likelihood its unit.
    """

    def __init__(self, config: DistillationConfig, teacher: Flow, pairs: Sequence[LayerPair], dataset: Dataset) -> None:
        self._teacher = freeze(teacher)
        self._weights = {name: weight for name, weight in config.weights().items() if weight > 0}
        configs = config.terms()
        self._objectives: dict[str, Objective] = {
            name: OBJECTIVES[name](configs[name], nll_loss=dataset.nll_loss, pairs=pairs) for name in self._weights
        }
        self._skd: SKDConfig = config.skd

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that have a weight, in the order of the config."""
        return tuple(self._objectives)

    def __call__(self, flow: Flow, batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch.

        Parameters
        ----------
        flow
            The student.
        batch
            Dequantized data: teacher and student see this very tensor, and the same context.
        generator
            For the synthesized draws, on the CPU.
        """
        passes = self._passes(flow, batch, generator)
        terms = {name: objective(passes) for name, objective in self._objectives.items()}
        total = torch.stack([self._weights[name] * value for name, value in terms.items()]).sum()
        return Loss(total, terms)

    def _passes(self, student: Flow, batch: Batch, generator: torch.Generator) -> StepPasses:
        needed = self._objectives.values()
        trace = any(objective.needs_trace for objective in needed)
        teacher = any(objective.needs_teacher for objective in needed)
        samples = any(objective.needs_samples for objective in needed)
        return StepPasses(
            student=student(batch.x, batch.context, trace=trace),
            teacher=self._teacher(batch.x, batch.context, trace=trace) if teacher else None,
            synthesized=self._synthesize(student, batch, generator) if samples else None,
            weights=batch.weights,
        )

    def _synthesize(self, student: Flow, batch: Batch, generator: torch.Generator) -> Synthesized:
        count, temperature = self._skd.batch_size, self._skd.temperature
        noise, context = student.draw_noise(count, generator), batch.contexts(count)  # one ε for every level of both
        return Synthesized(
            student=student.synthesize(noise, temperature, context),
            teacher=self._teacher.synthesize(noise, temperature, context),
        )
