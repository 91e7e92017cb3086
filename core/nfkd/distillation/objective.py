"""What a term of the student's loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from nfkd.config import ConfigProblem, TermConfig
from nfkd.data import Dataset
from nfkd.distillation.passes import Needs, StepPasses
from nfkd.flows.flow import Capability, Flow
from nfkd.protocol.records import LayerPair

ConfigT = TypeVar("ConfigT", bound=TermConfig)


class Objective(ABC, Generic[ConfigT]):
    """One term of the loss.

    A module in `nfkd.distillation.objectives` bears the name of the term's field in `DistillationConfig`, and its class
    is found there: the loss, the curves, the shares of the gradient, the estimates and the battery of tests follow.

    Attributes
    ----------
    label, unit
        For curves and legends; the unit of a likelihood is the data's and left empty.
    summary
        The term in one line.
    paper
        Who described it and where.
    compares
        Whether it compares the examples of a batch with each other. All other terms are means over the examples of
        their source, so that the pieces of a batch add up to the whole, each by its share of those.
    matches
        Whether it reads the matched layers.
    same_latents
        Whether the latents of both flows must have the same shapes: it compares them one by one, sends those of the one
        through the other, or makes samples of one noise.
    asks
        What of the teacher it depends on: not every flow of another library can do everything.

    Parameters
    ----------
    config
        The term's settings.
    nll_loss
        From log p, (B,) nats, to a likelihood's figures: −log p in nats where left out.
    pairs
        The matched layers.
    """

    label: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    unit: ClassVar[str] = ""
    compares: ClassVar[bool] = False
    matches: ClassVar[bool] = False
    same_latents: ClassVar[bool] = False
    asks: ClassVar[tuple[Capability, ...]] = ()

    def __init__(
        self, config: ConfigT, *, nll_loss: Callable[[Tensor], Tensor] = torch.neg, pairs: Sequence[LayerPair] = ()
    ) -> None:
        self.config = config
        self.nll_loss = nll_loss
        self.pairs = tuple(pairs)

    @abstractmethod
    def needs(self) -> Needs:
        """Return what the term reads."""

    @abstractmethod
    def each(self, passes: StepPasses) -> Tensor:
        """Return the term's figures for each example, (B, …)."""

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the term's value, a scalar, from its figures: of those that are (B,), the weighted mean."""
        return passes.mean(values)

    def finite(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return which examples give finite figures, (B,) bool: so many of them still add up to a finite one."""
        return torch.isfinite(len(values) * values.reshape(len(values), -1).abs().sum(1))

    def __call__(self, passes: StepPasses) -> Tensor:
        """Return the term's value, a scalar."""
        return self.reduce(self.each(passes), passes)

    def problems(self, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
        """Return what keeps the term from being computed; paths are relative to the term.

        The flows may be on the meta device.
        """
        return []


AnyObjective = Objective[Any]
