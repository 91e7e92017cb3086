"""One step of distillation: the passes, the terms, the weighted total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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

    def detached(self) -> Loss:
        """Return the values without what made them."""
        return Loss(self.total.detach(), {name: value.detach() for name, value in self.terms.items()})


def sum_losses(losses: Sequence[Loss]) -> Loss:
    """Return the loss of a batch from those of its pieces."""
    names = losses[0].terms
    totals = torch.stack([loss.total for loss in losses]).sum()
    return Loss(totals, {name: torch.stack([loss.terms[name] for loss in losses]).sum() for name in names})


@dataclass(frozen=True)
class _Synthesis:
    """What samples are made of: noise for every level, and a context for each."""

    noise: list[Tensor]
    context: Tensor | None


def cuts(length: int, count: int) -> list[slice]:
    """Return so many slices that make up a length, of sizes that differ by one at most."""
    ends = [length * number // count for number in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def share_of(part: slice, length: int) -> float:
    """Return how much of a length a slice is."""
    return (part.stop - part.start) / length


def _part(batch: Batch, part: slice) -> Batch:
    return batch if part.stop - part.start == len(batch) else batch.take(part)


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
        return next(self.pieces(flow, batch, generator, 1))

    def pieces(self, flow: Flow, batch: Batch, generator: torch.Generator, count: int) -> Iterator[Loss]:
        """Yield the loss of a batch in pieces; arguments as in `Distiller.pieces`."""
        del generator
        for part in cuts(len(batch), min(count, len(batch))):
            yield self._piece(flow, _part(batch, part), share_of(part, len(batch)))

    def _piece(self, flow: Flow, batch: Batch, share: float) -> Loss:
        passes = StepPasses(student=flow(batch.x, batch.context), weights=batch.weights)
        value = share * passes.mean(self._dataset.nll_loss(passes.student.log_prob))
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
        return next(self.pieces(flow, batch, generator, 1))

    def pieces(self, flow: Flow, batch: Batch, generator: torch.Generator, count: int) -> Iterator[Loss]:
        """Yield the loss of a batch in pieces, each of some of its examples and of the synthesized samples.

        Values and gradients of the pieces add up to the whole batch's, and a piece's passes need not outlive it. Random
        numbers are drawn for the whole batch, whatever the count.

        Parameters
        ----------
        flow, batch, generator
            As in `__call__`.
        count
            How many pieces; fewer where there are not as many examples or samples.
        """
        samples = self._skd.batch_size if any(term.needs_samples for term in self._objectives.values()) else 0
        noise = flow.draw_noise(samples, generator) if samples else []  # one ε for every level of both flows
        context = batch.contexts(samples) if samples else None
        count = min(count, len(batch), samples or count)
        for part, drawn in zip(cuts(len(batch), count), cuts(samples, count), strict=True):
            some = None if context is None else context[drawn]
            synthesis = _Synthesis([level[drawn] for level in noise], some) if samples else None
            shares = share_of(part, len(batch)), share_of(drawn, samples) if samples else 0.0
            yield self._piece(flow, _part(batch, part), synthesis, *shares)

    def _piece(
        self, flow: Flow, batch: Batch, synthesis: _Synthesis | None, of_examples: float, of_samples: float
    ) -> Loss:
        passes = self._passes(flow, batch, synthesis)  # gone when this returns: the generator keeps none of them
        terms = {
            name: (of_samples if term.needs_samples else of_examples) * term(passes)
            for name, term in self._objectives.items()
        }
        total = torch.stack([self._weights[name] * value for name, value in terms.items()]).sum()
        return Loss(total, terms)

    def _passes(self, student: Flow, batch: Batch, synthesis: _Synthesis | None) -> StepPasses:
        needed = self._objectives.values()
        trace = any(objective.needs_trace for objective in needed)
        teacher = any(objective.needs_teacher for objective in needed)
        return StepPasses(
            student=student(batch.x, batch.context, trace=trace),
            teacher=self._teacher(batch.x, batch.context, trace=trace) if teacher else None,
            synthesized=None if synthesis is None else self._synthesize(student, synthesis),
            weights=batch.weights,
        )

    def _synthesize(self, student: Flow, synthesis: _Synthesis) -> Synthesized:
        noise, temperature, context = synthesis.noise, self._skd.temperature, synthesis.context
        return Synthesized(
            student=student.synthesize(noise, temperature, context),
            teacher=self._teacher.synthesize(noise, temperature, context),
        )
