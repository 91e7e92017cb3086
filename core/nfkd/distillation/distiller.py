"""One step of distillation: the passes, the terms, the weighted total."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.balance import balanced, follow, gradient_norms
from nfkd.distillation.objective import AnyObjective
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import Data, Generators, Source, StepPasses, combined, draw, make_passes
from nfkd.flows.flow import Flow
from nfkd.protocol.events import LayerPair


@dataclass(frozen=True)
class Loss:
    """The value that is minimised, and what it is made of.

    Attributes
    ----------
    total
        A scalar.
    terms
        Each term before its weight, scalars.
    weights
        What each is multiplied by at this step.
    norms
        The norm of each term's gradient before its weight, scalars; empty at steps that do not measure it.
    masked
        How many examples of each term were left out, because their figures were not finite; only terms that lost any.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: Mapping[str, float]
    norms: dict[str, Tensor] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)


def freeze(teacher: Flow) -> Flow:
    """Make a flow a teacher: evaluation mode, no gradients in its parameters.

    Gradients still flow through it to its input, which some terms need: it is never put under ``no_grad``.
    """
    return teacher.eval().requires_grad_(requires_grad=False)


class Distiller:
    """The loss of a flow.

    Parameters
    ----------
    config
        The terms and their weights; a term of weight zero costs nothing.
    teacher
        The teacher; it is frozen here. None where no term needs one.
    pairs
        The matched layers.
    dataset
        Gives the likelihood its unit.
    steps
        The budget, over which the schedules of the weights go.
    measure_every
        Steps between two measurements of the terms' gradients; zero never measures them, but for a balance.
    norms
        What a balance follows: running norms by term. It is changed here and kept in the checkpoints.
    """

    def __init__(
        self,
        config: DistillationConfig,
        teacher: Flow | None,
        pairs: Sequence[LayerPair],
        dataset: Dataset,
        *,
        steps: int = 1,
        measure_every: int = 0,
        norms: dict[str, float] | None = None,
    ) -> None:
        self._config, self._steps, self._measure_every = config, steps, measure_every
        self._teacher = None if teacher is None else freeze(teacher)
        self._norms = {} if norms is None else norms
        configs = {name: term for name, term in config.terms().items() if term.weight > 0}
        self._objectives: dict[str, AnyObjective] = {
            name: OBJECTIVES[name](term, nll_loss=dataset.nll_loss, pairs=pairs) for name, term in configs.items()
        }
        needs = {name: objective.needs() for name, objective in self._objectives.items()}
        self._sources = {name: need.source for name, need in needs.items()}
        self._needs = combined(needs.values())

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that have a weight, in the order of the config."""
        return tuple(self._objectives)

    @property
    def sampled(self) -> frozenset[str]:
        """Those of the terms that are computed on samples, not on the data."""
        return frozenset(name for name, source in self._sources.items() if source != Data())

    def __call__(self, flow: Flow, batch: Batch, generators: Generators, step: int = 0) -> Loss:
        """Return the loss of a batch.

        Where some of its examples (of data, or samples) give figures that are not finite, they are left out of every
        term, and counted; where all do, the loss is not finite.

        Parameters
        ----------
        flow
            The student.
        batch
            Dequantized data: teacher and student see this very tensor, and the same context.
        generators
            On the CPU, by purpose: what the terms draw.
        step
            From 0 to ``steps - 1``.
        """
        drawn = draw(self._needs, flow, self._teacher, batch, generators)
        passes = make_passes(self._needs, flow, self._teacher, drawn, generators)
        values = {name: objective.each(passes) for name, objective in self._objectives.items()}
        terms = self._reduced(values, passes)
        # The examples are looked at one by one only where their sum says that one of them is not finite.
        if math.isfinite(float(torch.stack(list(terms.values())).sum().detach())):
            return self._weighed(terms, flow, step)
        good = {name: objective.finite(values[name], passes) for name, objective in self._objectives.items()}
        kept = self._kept(good)
        if not all(bool(mask.any()) for mask in kept.values()):
            return self._weighed(terms, flow, step)
        passes = make_passes(self._needs, flow, self._teacher, drawn.keep(kept), generators)
        values = {name: objective.each(passes) for name, objective in self._objectives.items()}
        lost = {name: int((~mask).sum()) for name, mask in good.items()}
        masked = {name: count for name, count in lost.items() if count}
        return replace(self._weighed(self._reduced(values, passes), flow, step), masked=masked)

    def _reduced(self, values: Mapping[str, Tensor], passes: StepPasses) -> dict[str, Tensor]:
        return {name: objective.reduce(values[name], passes) for name, objective in self._objectives.items()}

    def _kept(self, good: Mapping[str, Tensor]) -> dict[Source, Tensor]:
        """Return by source which examples are finite in all of its terms."""
        kept: dict[Source, Tensor] = {}
        for name, mask in good.items():
            source = self._sources[name]
            kept[source] = kept[source] & mask if source in kept else mask
        return kept

    def _weighed(self, terms: dict[str, Tensor], flow: Flow, step: int) -> Loss:
        weights = self._config.weights_at(step, self._steps)
        balancing = self._config.balance == "gradient_norm"
        balances = balancing and step % self._config.balance_every == 0
        shows = self._measure_every > 0 and step % self._measure_every == 0
        norms = gradient_norms(terms, flow) if len(terms) > 1 and (balances or shows) else {}
        if balances:
            follow(self._norms, norms)
        if balancing:
            weights = balanced(weights, self._norms)
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return Loss(total, terms, weights, norms)


class Likelihood(Distiller):
    """The loss of a teacher or a baseline: maximum likelihood alone.

    Parameters
    ----------
    dataset
        Gives the likelihood its unit.
    """

    def __init__(self, dataset: Dataset) -> None:
        terms = DistillationConfig().terms()
        alone: dict[str, Any] = {
            name: term.model_copy(update={"weight": float(name == "nll")}) for name, term in terms.items()
        }
        super().__init__(DistillationConfig(**alone), None, (), dataset)
