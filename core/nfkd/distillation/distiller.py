"""One step of distillation: the passes, the terms, the weighted total, in one piece or in several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.balance import TermGradients, balanced, follow, norm_of, trained
from nfkd.distillation.objective import AnyObjective
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import Data, Generators, StepInputs, TermInput, combined, draw, make_passes
from nfkd.flows.flow import Flow, evaluating
from nfkd.protocol.records import LayerPair


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
        How many examples of each term were left out, because their figures or gradients were not finite; only terms
        that lost any.
    gradient_norm
        The norm of the gradient that `Distiller.backward` left, a scalar; NaN where no gradient was asked for.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: Mapping[str, float]
    norms: dict[str, Tensor] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    gradient_norm: Tensor = field(default_factory=lambda: torch.tensor(math.nan))


def freeze(teacher: Flow) -> Flow:
    """Make a flow a teacher: evaluation mode, no gradients in its parameters.

    Gradients still flow through it to its input, which some terms need: it is never put under ``no_grad``.
    """
    return teacher.eval().requires_grad_(requires_grad=False)


class Distiller:
    """The loss of a flow.

    Where some examples (of data, or samples) give figures that are not finite, they are left out of every term, and
    counted; the means are over those that are left of the whole batch, in however many pieces it is taken. Where all
    do, the loss is not finite. Of examples whose figures are finite and whose gradients are not, `backward` says the
    same.

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
        """Return the loss of a batch, with what made it; nothing is measured.

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
        terms, masked = self._terms(flow, drawn), {}
        if not _finite(terms):
            kept, masked = self._drop_nonfinite_values(flow, drawn, 1)
            terms = self._terms(flow, kept) if masked else terms
        weights = self._weights(step)
        return Loss(_total(terms, weights), terms, weights, masked=masked)

    def backward(self, flow: Flow, batch: Batch, generators: Generators, step: int = 0, count: int = 1) -> Loss:
        """Give a flow's parameters the gradient of a batch's loss, in place of what they had; return the loss alone.

        The batch is taken in pieces, each of some of its examples and of the samples, whose passes do not outlive it.
        The gradient, the loss and the random numbers are those of the whole batch, whatever the count.

        Parameters
        ----------
        flow, batch, generators, step
            As in `__call__`.
        count
            How many pieces; fewer where there are not as many examples or samples.

        Raises
        ------
        ValueError
            When a term compares examples with each other, and the count is above 1.
        """
        comparing = [name for name, objective in self._objectives.items() if objective.compares]
        if count > 1 and comparing:
            msg = f"the term {comparing[0]} compares the examples of a batch with each other: it has no pieces"
            raise ValueError(msg)
        drawn = draw(self._needs, flow, self._teacher, batch, generators)
        loss, lost = self._add_up(flow, drawn, step, count), Counter[str]()
        if not _finite(loss.terms):
            drawn, masked = self._drop_nonfinite_values(flow, drawn, count)
            lost.update(masked)
            loss = self._add_up(flow, drawn, step, count) if masked else loss
        if _finite(loss.terms) and not math.isfinite(float(loss.gradient_norm)):
            drawn, masked = self._drop_nonfinite_gradients(flow, drawn)
            lost.update(masked)
            loss = self._add_up(flow, drawn, step, count) if masked else loss
        return replace(loss, masked=dict(lost))

    def _add_up(self, flow: Flow, drawn: StepInputs, step: int, count: int) -> Loss:
        """Add up gradients and terms over the pieces."""
        flow.zero_grad(set_to_none=True)
        balances = self._balancing and step % self._config.balance_every == 0
        shows = self._measure_every > 0 and step % self._measure_every == 0
        measured = TermGradients(flow, whole=balances) if len(self.terms) > 1 and (balances or shows) else None
        weights, pieces, sums = self._weights(step), drawn.pieces(count), dict[str, Tensor]()
        for number, piece in enumerate(pieces, 1):
            terms = self._terms(flow, piece, drawn)
            if measured is not None:
                measured.add(terms, last=number == len(pieces))
            if measured is None or not balances:
                _total(terms, weights).backward()
            for name in list(terms):  # nothing of a piece is kept for the next one
                value = terms.pop(name).detach()
                sums[name] = sums[name] + value if name in sums else value
        if measured is not None and balances:
            if _finite(sums) and _finite(measured.norms):
                follow(self._norms, measured.norms)
            weights = self._weights(step)
            measured.write(weights)
        norms = measured.norms if measured else {}
        whole = norm_of(parameter.grad for parameter in trained(flow))
        return Loss(_total(sums, weights), sums, weights, norms, gradient_norm=whole)

    def _terms(self, flow: Flow, drawn: StepInputs, whole: StepInputs | None = None) -> dict[str, Tensor]:
        """Return the terms of a piece, each by its share of the examples of its source."""
        passes = make_passes(self._needs, flow, self._teacher, drawn)
        sizes, all_sizes = drawn.sizes(), (whole or drawn).sizes()
        shares = {name: sizes[source] / all_sizes[source] for name, source in self._sources.items()}
        return {name: shares[name] * objective(passes) for name, objective in self._objectives.items()}

    def _drop_nonfinite_values(self, flow: Flow, drawn: StepInputs, count: int) -> tuple[StepInputs, dict[str, int]]:
        """Return what is left without the examples that are not finite in all terms of their source, and each's losses.

        The examples are looked at one by one only where the sum of a term says that one of them is not finite. Where a
        source would have none left, nothing is left out.
        """
        found: dict[str, list[Tensor]] = {name: [] for name in self._objectives}
        for piece in drawn.pieces(count):
            passes = make_passes(self._needs, flow, self._teacher, piece)
            for name, objective in self._objectives.items():
                found[name].append(objective.finite(objective.each(passes).detach(), passes))
        return self._keep(drawn, {name: torch.cat(masks) for name, masks in found.items()})

    def _drop_nonfinite_gradients(self, flow: Flow, drawn: StepInputs) -> tuple[StepInputs, dict[str, int]]:
        """Return what is left without the examples whose gradients are not finite, and each term's losses.

        An example is found by halves: those of a half whose gradient is finite are not looked at one by one.
        """
        good: dict[str, Tensor] = {}
        for name, objective in self._objectives.items():
            if not objective.compares:
                of_term = drawn.only(self._sources[name])
                with evaluating(flow):  # looking at halves is not training: batch norm's running means stay
                    good[name] = self._steady(flow, of_term, name, torch.arange(of_term.sizes()[self._sources[name]]))
        return self._keep(drawn, good)

    def _steady(self, flow: Flow, drawn: StepInputs, name: str, index: Tensor) -> Tensor:
        """Return which of some examples give a term finite gradients, (len(index),) bool."""
        source, objective = self._sources[name], self._objectives[name]
        share = len(index) / drawn.sizes()[source]
        piece = drawn.take({source: index})
        value = objective(make_passes({source: objective.needs()}, flow, self._teacher, piece))
        found = torch.autograd.grad(share * value, trained(flow), allow_unused=True)
        steady = math.isfinite(float(norm_of(found)))
        if steady or len(index) == 1:
            return torch.full((len(index),), steady)
        return torch.cat([self._steady(flow, drawn, name, half) for half in index.tensor_split(2)])

    def _keep(self, drawn: StepInputs, good: Mapping[str, Tensor]) -> tuple[StepInputs, dict[str, int]]:
        """Return what is left of the examples that are good for all terms of their source, and each term's losses."""
        kept: dict[TermInput, Tensor] = {}
        for name, mask in good.items():
            source = self._sources[name]
            kept[source] = kept[source] & mask if source in kept else mask
        if not all(bool(mask.any()) for mask in kept.values()):
            return drawn, {}
        lost = {name: int((~mask).sum()) for name, mask in good.items()}
        return drawn.keep(kept), {name: count for name, count in lost.items() if count}

    @property
    def _balancing(self) -> bool:
        return self._config.balance == "gradient_norm"

    def _weights(self, step: int) -> dict[str, float]:
        weights = self._config.weights_at(step, self._steps)
        return balanced(weights, self._norms) if self._balancing else weights


def _total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


def _finite(terms: Mapping[str, Tensor]) -> bool:
    return math.isfinite(float(torch.stack(list(terms.values())).sum().detach()))


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
