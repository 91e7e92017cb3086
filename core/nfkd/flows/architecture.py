"""What an architecture is: a config, what it fits, how it is built, and small instances to test it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch

from nfkd.config import Config, ConfigProblem
from nfkd.flows.flow import Entry, Flow, Layer, Split

ConfigT = TypeVar("ConfigT", bound=Config)
Shape = tuple[int, ...]


class FlowError(ValueError):
    """A flow that cannot be built for this data.

    Attributes
    ----------
    problems
        What does not fit; the paths are relative to the flow, such as ``levels``.
    """

    def __init__(self, problems: list[ConfigProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


class Stack:
    """The named layers of a flow in the making, from data to latents."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.layers: list[Layer | Split] = []

    def add(self, name: str, label: str, kind: str, shape: Shape, layer: Layer | Split) -> None:
        """Add a layer.

        Parameters
        ----------
        name
            The key in `Flow.trace`, such as ``level1.step2``; the end of a level is its last *step*.
        label
            The name in words.
        kind
            ``step`` for a layer that a matching may pair; ``split`` for one by which latents leave; others are free.
        shape
            Of what comes out, for one example; of a split, what stays.
        layer
            The layer.
        """
        self.entries.append(Entry(name, label, kind, shape))
        self.layers.append(layer)


class Architecture(ABC, Generic[ConfigT]):
    """One kind of flow.

    A module in `nfkd.flows.architectures` lists its instances in ``ARCHITECTURES``; the form, the battery of tests,
    ``nfkd inspect`` and README's table find them there.

    Attributes
    ----------
    config
        The config's class; its ``kind`` names the architecture.
    takes
        What an example is.
    paper
        Who described it and where.
    density, sampling
        What a log-density and a sample of D features cost, in passes through the networks, in words.
    """

    config: ClassVar[type[Config]]
    takes: ClassVar[str]
    paper: ClassVar[str]
    density: ClassVar[str] = "one pass"
    sampling: ClassVar[str] = "one pass"

    @property
    def kind(self) -> str:
        """The name of the architecture in a config."""
        return self.config.model_fields["kind"].default

    @abstractmethod
    def problems(self, config: ConfigT, shape: Shape) -> list[ConfigProblem]:
        """Return what keeps a flow from being built for examples of a shape; nothing is built."""

    @abstractmethod
    def build(self, config: ConfigT, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow of a config that has no problem; the first weights come from the generator alone."""

    @abstractmethod
    def summary(self, config: ConfigT) -> str:
        """Return a flow in a few words, such as ``Glow 8×2``."""

    @abstractmethod
    def cases(self) -> Sequence[tuple[ConfigT, Shape, int]]:
        """Return small instances, each with an event shape and a number of context features.

        Between them they use every option: the battery of tests holds each to the laws of a flow.
        """


def image_problems(name: str, shape: Shape) -> list[ConfigProblem]:
    """Return a problem when the examples are no images."""
    if len(shape) == 3:
        return []
    message = (
        f"{name} takes images, not examples of shape {format_shape(shape)}: choose glow1d or another flow for vectors"
    )
    return [ConfigProblem("kind", message)]


def vector_problems(name: str, shape: Shape, *, least: int = 1) -> list[ConfigProblem]:
    """Return a problem when the examples are no vectors, or have too few features."""
    if len(shape) != 1:
        message = f"{name} takes features, not examples of shape {format_shape(shape)}: choose glow"
        return [ConfigProblem("kind", message)]
    if shape[0] < least:
        return [ConfigProblem("kind", "a coupling needs at least two features, and the data has one")]
    return []


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape such as ``1×8×8``."""
    return "×".join(str(size) for size in shape)
