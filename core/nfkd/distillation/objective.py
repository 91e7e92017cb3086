"""The base class of a term of the student's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from nfkd.config import ConfigProblem, TermConfig
from nfkd.data import Dataset
from nfkd.distillation.needs import Data, Needs
from nfkd.distillation.passes import StepPasses
from nfkd.flows.flow import Capability, Flow
from nfkd.protocol.records import LayerPair

ConfigT = TypeVar("ConfigT", bound=TermConfig)


class Objective(ABC, Generic[ConfigT]):
    """The computation of one term; its config class has its label, title and paper.

    Its module in `nfkd.distillation.objectives` has the name of the term's field in `DistillationConfig`, and is found
    by it: the loss, the curves, the gradient shares, the estimates and the tests of all terms follow.

    Attributes
    ----------
    compares
        Whether it compares the examples of a batch with each other. All other terms are means over their examples, so
        that the values of micro-batches add up to that of the batch.
    recomputes
        Whether its gradient can come from recomputed activations, which have first derivatives alone.
    same_latents
        Whether the latents of both flows must have the same shapes: it compares them one by one, sends those of one
        flow through the other, or makes samples of both from the same noise.
    asks
        What the teacher must be able to do; not every flow of another library can do everything.

    Parameters
    ----------
    config
        The term's settings.
    nll_loss
        From log p, (B,) nats, to the likelihood's unit; by default −log p in nats.
    pairs
        The matched layers.
    """

    compares: ClassVar[bool] = False
    recomputes: ClassVar[bool] = True
    same_latents: ClassVar[bool] = False
    asks: ClassVar[tuple[Capability, ...]] = ()

    def __init__(
        self, config: ConfigT, *, nll_loss: Callable[[Tensor], Tensor] = torch.neg, pairs: Sequence[LayerPair] = ()
    ) -> None:
        self.config = config
        self.nll_loss = nll_loss
        self.pairs = tuple(pairs)

    def needs(self) -> Needs:
        """Return what the term reads: by default the passes of both flows over the data."""
        return Needs()

    @abstractmethod
    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the term's values for each example, (B, …)."""

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the term's value, a scalar: the mean of its values, weighted if they are of the data."""
        return passes.mean(values) if self.needs().source == Data() else values.mean()

    def finite(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return which examples have finite values, (B,) bool; too large for a finite sum counts as not finite."""
        return torch.isfinite(len(values) * values.reshape(len(values), -1).abs().sum(1))

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the term's value, a scalar."""
        return self.reduce(self.per_example(passes), passes)

    def problems(self, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
        """Return why the term cannot be computed, with paths relative to the term; the flows may be on meta."""
        return []


AnyObjective = Objective[Any]
