"""The loss of one training step: its terms, their weights, and the gradient, with non-finite examples left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nfkd.config import DistillationConfig
from nfkd.config.schedules import weights_at
from nfkd.data import Batch, Dataset
from nfkd.distillation.balance import (
    TermGradients,
    Weight,
    balance_weights,
    total_norm,
    trained_parameters,
    update_running_norms,
    weighted,
)
from nfkd.distillation.known_passes import NONE_KNOWN, KnownPasses
from nfkd.distillation.loss import Loss
from nfkd.distillation.needs import Data, Needs, TermInput, combine_needs
from nfkd.distillation.objective import AnyObjective
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import (
    Generators,
    StepInputs,
    StepPasses,
    batch_variances,
    make_passes,
    require,
    sample_inputs,
)
from nfkd.distillation.pool import Pool
from nfkd.distillation.ranks import Ranks
from nfkd.distillation.step_graphs import StepGraphs
from nfkd.distillation.variances import Variances
from nfkd.flows.flow import Flow, evaluating
from nfkd.flows.fused import gradients_by_backward
from nfkd.protocol.records import LayerPair


def freeze(teacher: Flow) -> Flow:
    """Put a teacher into evaluation mode, without gradients in its parameters.

    Gradients still flow through it to its input, which some terms need: it is never run under ``no_grad``.
    """
    return teacher.eval().requires_grad_(requires_grad=False)


class Distiller:
    """The loss of a flow that learns from a teacher.

    Parameters
    ----------
    config
        The terms and their weights; a term without weight costs nothing.
    teacher
        The teacher; it is frozen here. None where no term needs one.
    pairs
        The matched layers.
    dataset
        Defines the unit of the likelihood.
    steps
        The budget, over which the schedules of the weights go.
    measure_every
        Steps between two measurements of the terms' gradients for the curves; zero never measures them.
    norms
        The running norms of a balance, by term. They are updated in place and saved in the checkpoints.
    pool
        Samples of the teacher, for `mix` and for terms with samples at temperature 1; None without a pool.
    known
        The teacher's passes over rows that come again.
    ranks
        The processes that compute parts of each batch; by default this one computes it all.

    Attributes
    ----------
    teacher, pairs, pool, ranks
        As given; the teacher is frozen.
    graphs
        Records deferred steps and replays them; None computes every step anew.
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
        norms: dict[str, Weight] | None = None,
        pool: Pool | None = None,
        known: KnownPasses = NONE_KNOWN,
        ranks: Ranks | None = None,
    ) -> None:
        self._config, self._steps, self._measure_every = config, steps, measure_every
        self._norms = {} if norms is None else norms
        self._known = known
        self.teacher = None if teacher is None else freeze(teacher)
        self.pairs, self.pool, self.ranks = tuple(pairs), pool, ranks or Ranks()
        self.graphs: StepGraphs | None = None
        self._objectives: dict[str, AnyObjective] = {
            name: OBJECTIVES[name](term, nll_loss=dataset.nll_loss, pairs=pairs)
            for name, term in config.active_terms().items()
        }
        needs = {name: objective.needs() for name, objective in self._objectives.items()}
        self._sources = {name: need.source for name, need in needs.items()}
        self._needs = combine_needs(needs.values())

    @property
    def sampled(self) -> frozenset[str]:
        """The terms that are computed on samples, not on the data."""
        return frozenset(name for name, source in self._sources.items() if source != Data())

    @property
    def uses_data(self) -> bool:
        """Whether batches have real examples."""
        return self.pool is None or self._config.pool.share < 1

    def mix(self, batch: Batch, generators: Generators) -> Batch:
        """Return the batch of a step: the last examples of a real batch are replaced by rows of the pool.

        The rows come from a generator of their own, so that the real batches do not depend on the pool.
        """
        if self.pool is None:
            return batch
        return self.pool.mix(batch, self._config.pool.rows(len(batch)), generators("pool rows"))

    def backward(
        self,
        flow: Flow,
        batch: Batch,
        generators: Generators,
        step: int = 0,
        micro_batches: int = 1,
        *,
        deferred: bool = False,
    ) -> Loss:
        """Set the gradients of a flow's parameters to those of a batch's loss; return the loss, detached.

        Examples (of the data, or samples) with values or gradients that are not finite are left out of all terms, and
        the means are over the other examples of the whole batch. Where no example would be left, none is left out, and
        the loss or its gradient is not finite. Loss, gradient and random numbers do not depend on the micro-batches.

        Parameters
        ----------
        flow
            The student.
        batch
            Dequantized data; teacher and student see this same tensor, and the same context.
        generators
            What the terms draw from.
        step
            From 0 to ``steps - 1``.
        micro_batches
            Number of parts into which the batch is split; fewer if there are fewer examples or samples.
        deferred
            Whether to return without waiting for the device. No example is then left out: the caller checks later
            whether every value of the loss is finite, and else repeats the step without `deferred`.

        Raises
        ------
        ValueError
            When a term compares examples with each other, and there are several micro-batches or processes.
        """
        comparing = [name for name, objective in self._objectives.items() if objective.compares]
        if comparing and (micro_batches > 1 or self.ranks.size > 1):
            msg = f"the term {comparing[0]} compares the examples of a batch with each other: it needs the whole batch"
            raise ValueError(msg)
        inputs = sample_inputs(self._needs, flow, self.teacher, batch, generators, self.pool)
        if deferred:
            return self._accumulate(flow, inputs, step, micro_batches, deferred=True)
        loss, masked = self._accumulate(flow, inputs, step, micro_batches), Counter[str]()
        if not _finite(loss.terms):
            inputs, dropped = self._drop_nonfinite_values(flow, inputs, micro_batches)
            masked.update(dropped)
            loss = self._accumulate(flow, inputs, step, micro_batches) if dropped else loss
        if _finite(loss.terms) and not math.isfinite(float(loss.gradient_norm)):
            inputs, dropped = self._drop_nonfinite_gradients(flow, inputs)
            masked.update(dropped)
            loss = self._accumulate(flow, inputs, step, micro_batches) if dropped else loss
        return replace(loss, masked=dict(masked))

    def _accumulate(
        self, flow: Flow, inputs: StepInputs, step: int, micro_batches: int, *, deferred: bool = False
    ) -> Loss:
        """Add up terms and gradients over the micro-batches."""
        device = next(flow.parameters()).device if deferred else None
        weights = self._weights(step, device)
        balances = self._balances and step % self._config.balance_every == 0
        measures = balances or (self._measure_every > 0 and step % self._measure_every == 0)
        if not measures or len(self._objectives) == 1:
            if deferred and self.graphs is not None:
                if not self._known.empty:  # their rows are read on the CPU, which a replay does not do
                    self.graphs.give_up("they look up the teacher's passes: with distillation.cache = 0 they do not")
                return self.graphs.run(partial(self._gradient, flow, micro_batches, True), inputs, weights)
            return self._gradient(flow, micro_batches, deferred, inputs, weights)
        gradients = TermGradients(flow, self.ranks, keep=balances, deferred=deferred)
        sums = self._sum_terms(flow, inputs, None if balances else weights, micro_batches, gradients)
        if balances:
            if deferred or (_finite(sums) and _finite(gradients.norms)):
                update_running_norms(self._norms, gradients.norms, deferred=deferred)
            weights = self._weights(step, device)
            gradients.set_gradients(weights)
        return replace(_loss(flow, sums, weights, deferred=deferred), norms=gradients.norms)

    def _gradient(
        self, flow: Flow, micro_batches: int, deferred: bool, inputs: StepInputs, weights: Mapping[str, Weight]
    ) -> Loss:
        """Set the gradients to those of the weighted sum of the terms."""
        return _loss(flow, self._sum_terms(flow, inputs, weights, micro_batches), weights, deferred=deferred)

    def _sum_terms(
        self,
        flow: Flow,
        inputs: StepInputs,
        weights: Mapping[str, Weight] | None,
        micro_batches: int,
        gradients: TermGradients | None = None,
    ) -> dict[str, Tensor]:
        """Add up the terms over the micro-batches, each term's gradient, and with `weights` the whole gradient."""
        flow.zero_grad(set_to_none=True)
        parts, computed = self._own(inputs).micro_batches(micro_batches), self._computed(inputs)
        sums, variances = dict[str, Tensor](), self._variances(flow, parts)
        for number, part in enumerate(parts, 1):
            with gradients_by_backward() if gradients is None and self._passes_once else nullcontext():
                terms = self._terms(flow, part, computed, variances)
            if gradients is not None:
                gradients.add(terms, last=number == len(parts))
            if weights is not None:
                _total(terms, weights).backward()
            for name in list(terms):  # free the graph before the next micro-batch
                value = terms.pop(name).detach()
                sums[name] = sums[name] + value if name in sums else value
        return self._add_up(flow, sums, gradients=weights is not None)

    def _share(self, inputs: StepInputs) -> Mapping[TermInput, slice]:
        return inputs.shares(self.ranks.size)[self.ranks.rank]

    def _own(self, inputs: StepInputs) -> StepInputs:
        """Return the part of a batch that this process computes."""
        return inputs if self.ranks.size == 1 else inputs.take(self._share(inputs))

    def _computed(self, inputs: StepInputs) -> dict[TermInput, int]:
        """Return how many examples of each source all processes compute: all once, or all by each process."""
        shares = inputs.shares(self.ranks.size)
        return {source: sum(share[source].stop - share[source].start for share in shares) for source in shares[0]}

    def _add_up(self, flow: Flow, sums: dict[str, Tensor], *, gradients: bool) -> dict[str, Tensor]:
        """Add up the terms of all processes, and with `gradients` also those of the parameters."""
        if self.ranks.size == 1:
            return sums
        parameters = [each for each in trained_parameters(flow) if gradients and each.grad is not None]
        own = [require(parameter.grad) for parameter in parameters]
        totals = self.ranks.sum([*own, *sums.values()])
        for parameter, total in zip(parameters, totals, strict=False):
            parameter.grad = total
        return dict(zip(sums, totals[len(own) :], strict=True))

    def _variances(self, flow: Flow, parts: Sequence[StepInputs]) -> Variances | None:
        """Return the teacher's variances over several parts of a batch; the passes of the whole have their own."""
        alone = len(parts) == 1 and self.ranks.size == 1
        return None if alone else self._batch_variances(flow, parts)

    def _batch_variances(self, flow: Flow, parts: Sequence[StepInputs]) -> Variances | None:
        return batch_variances(self._needs, flow, self.teacher, parts, self._known, self.ranks)

    def _terms(
        self, flow: Flow, part: StepInputs, computed: Mapping[TermInput, int], variances: Variances | None
    ) -> dict[str, Tensor]:
        """Return the terms of a micro-batch, each times its fraction of the examples that are computed."""
        passes, sizes = self._passes(self._needs, flow, part, variances), part.sizes()
        fractions = {name: sizes[source] / computed[source] for name, source in self._sources.items()}
        return {name: fractions[name] * objective(passes) for name, objective in self._objectives.items()}

    def _passes(
        self, needs: Mapping[TermInput, Needs], flow: Flow, inputs: StepInputs, variances: Variances | None
    ) -> StepPasses:
        return make_passes(needs, flow, self.teacher, inputs, self._known, variances)

    @property
    def _passes_once(self) -> bool:
        """Whether the student makes one pass.

        `gradients_by_backward` adds the gradients of several passes in another order than torch. Rounding would then
        depend on whether a step also measures the terms' gradients, which needs torch's graph.
        """
        need = self._needs.get(Data())
        if need is None or len(self._needs) > 1 or need.input_gradient:
            return False
        return not need.extra_encodes[0] and not need.extra_decodes

    @property
    def _balances(self) -> bool:
        return self._config.balance == "gradient_norm"

    def _weights(self, step: int, device: torch.device | None) -> Mapping[str, Weight]:
        weights = weights_at(self._config, step, self._steps)
        return balance_weights(weights, self._norms, device) if self._balances else weights

    def _drop_nonfinite_values(
        self, flow: Flow, inputs: StepInputs, micro_batches: int
    ) -> tuple[StepInputs, dict[str, int]]:
        """Return the inputs without the examples whose values are not finite, and how many each term lost."""
        finite: dict[str, list[Tensor]] = {name: [] for name in self._objectives}
        parts = self._own(inputs).micro_batches(micro_batches)
        variances = self._variances(flow, parts)
        for part in parts:
            passes = self._passes(self._needs, flow, part, variances)
            for name, objective in self._objectives.items():
                finite[name].append(objective.finite(objective.per_example(passes).detach(), passes))
        return self._drop(
            inputs, {name: self._gather(inputs, name, torch.cat(masks)) for name, masks in finite.items()}
        )

    def _gather(self, inputs: StepInputs, name: str, own: Tensor) -> Tensor:
        """Return a term's mask of the whole batch from those of all processes."""
        source = self._sources[name]
        return self.ranks.gather_masks(own, self._share(inputs)[source], inputs.sizes()[source])

    def _drop_nonfinite_gradients(self, flow: Flow, inputs: StepInputs) -> tuple[StepInputs, dict[str, int]]:
        """Return the inputs without the examples whose gradients are not finite, and how many each term lost."""
        finite: dict[str, Tensor] = {}
        variances = self._batch_variances(flow, [self._own(inputs)])
        for name, objective in self._objectives.items():
            if not objective.compares:
                source = self._sources[name]
                inputs_of_term = inputs.only(source)
                with evaluating(flow):  # batch norm's running means must not follow these passes
                    index = torch.arange(inputs_of_term.sizes()[source])[self._share(inputs)[source]]
                    own = self._finite_gradients(flow, inputs_of_term, name, index, variances)
                finite[name] = self._gather(inputs, name, own)
        return self._drop(inputs, finite)

    def _finite_gradients(
        self, flow: Flow, inputs: StepInputs, name: str, index: Tensor, variances: Variances | None
    ) -> Tensor:
        """Return which of some examples give a term finite gradients, (len(index),) bool, by bisection."""
        source, objective = self._sources[name], self._objectives[name]
        fraction = len(index) / inputs.sizes()[source]
        some, needs = inputs.take({source: index}), {source: objective.needs()}
        value = objective(self._passes(needs, flow, some, variances))
        gradients = torch.autograd.grad(fraction * value, trained_parameters(flow), allow_unused=True)
        finite = math.isfinite(float(total_norm(gradients)))
        if finite or len(index) == 1:
            return torch.full((len(index),), finite)
        return torch.cat(
            [self._finite_gradients(flow, inputs, name, half, variances) for half in index.tensor_split(2)]
        )

    def _drop(self, inputs: StepInputs, finite: Mapping[str, Tensor]) -> tuple[StepInputs, dict[str, int]]:
        """Return the inputs without the examples that are not finite for a term of their source; see above."""
        kept: dict[TermInput, Tensor] = {}
        for name, mask in finite.items():
            source = self._sources[name]
            kept[source] = kept[source] & mask if source in kept else mask
        if not all(bool(mask.any()) for mask in kept.values()):
            return inputs, {}
        counts = {name: int((~mask).sum()) for name, mask in finite.items()}
        return inputs.keep(kept), {name: count for name, count in counts.items() if count}


def _loss(flow: Flow, sums: dict[str, Tensor], weights: Mapping[str, Weight], *, deferred: bool) -> Loss:
    norm = total_norm((parameter.grad for parameter in trained_parameters(flow)), deferred=deferred)
    return Loss(_total(sums, weights), sums, weights, norm)


def _total(terms: Mapping[str, Tensor], weights: Mapping[str, Weight]) -> Tensor:
    return torch.stack([weighted(weights[name], value) for name, value in terms.items()]).sum()


def _finite(values: Mapping[str, Tensor]) -> bool:
    return math.isfinite(float(torch.stack(list(values.values())).sum().detach()))


class Likelihood(Distiller):
    """The loss of a flow that learns from data only: maximum likelihood alone.

    Parameters
    ----------
    dataset
        Defines the unit of the likelihood.
    ranks
        As for `Distiller`.
    """

    def __init__(self, dataset: Dataset, ranks: Ranks | None = None) -> None:
        terms: dict[str, Any] = {name: {"weight": float(name == "nll")} for name in DistillationConfig().terms()}
        super().__init__(DistillationConfig(**terms), None, (), dataset, ranks=ranks)
