"""The base class of architectures, and the stack of layers that they build."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch

from nfkd.config import Config, ConfigProblem
from nfkd.flows.flow import Entry, Flow
from nfkd.flows.layer import Layer, Split

ConfigT = TypeVar("ConfigT", bound=Config)
Shape = tuple[int, ...]


class FlowError(ValueError):
    """A flow cannot be built for examples of this shape.

    Attributes
    ----------
    problems
        With paths relative to the flow, such as ``levels``.
    """

    def __init__(self, problems: list[ConfigProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


class Stack:
    """The named layers of a flow that is being built, from data to latents."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.layers: list[Layer | Split] = []

    def add(self, name: str, label: str, kind: str, shape: Shape, layer: Layer | Split) -> None:
        """Add a layer.

        Parameters
        ----------
        name
            The key in `Flow.trace`, such as ``level1.step2``.
        label
            The name for users, such as ``level 1 step 2``.
        kind
            ``step`` for a layer that can be matched, ``split`` for a `Split`; other kinds have no special meaning.
        shape
            Output shape for one example; of a split, the shape of the kept half.
        layer
            The layer.
        """
        self.entries.append(Entry(name, label, kind, shape))
        self.layers.append(layer)


class Architecture(ABC, Generic[ConfigT]):
    """One kind of flow.

    A module in `nfkd.flows.architectures` lists its instances in ``ARCHITECTURES``; the form, the tests, ``nfkd
    inspect`` and README's table use that list.

    Attributes
    ----------
    config
        The config's class; its ``kind`` names the architecture.
    takes
        ``images`` or ``vectors``.
    paper
        Reference.
    density, sampling
        Passes through the networks for a log-density and a sample of D features.
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
        """Return the reasons why the flow cannot be built for examples of this shape; builds nothing."""

    @abstractmethod
    def build(self, config: ConfigT, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow of a config without problems; the first weights come from the generator alone."""

    @abstractmethod
    def summary(self, config: ConfigT) -> str:
        """Return a short description, such as ``Glow 8×2``."""

    @abstractmethod
    def cases(self) -> Sequence[tuple[ConfigT, Shape, int]]:
        """Return small configs for the tests, each with an event shape and a number of context features.

        Together they use every option.
        """


def image_problems(name: str, shape: Shape) -> list[ConfigProblem]:
    """Return a problem if the examples are not images."""
    if len(shape) == 3:
        return []
    taken = f"{name} takes images, not examples of shape {format_shape(shape)}"
    return [ConfigProblem("kind", f"{taken}: choose glow1d or another flow for vectors")]


def vector_problems(name: str, shape: Shape, *, least: int = 1) -> list[ConfigProblem]:
    """Return a problem if the examples are not vectors, or have too few features."""
    if len(shape) != 1:
        message = f"{name} takes features, not examples of shape {format_shape(shape)}: choose glow"
        return [ConfigProblem("kind", message)]
    if shape[0] < least:
        return [ConfigProblem("kind", "a coupling needs at least two features, and the data has one")]
    return []


def token_problem(name: str, size: int, shape: Shape, layer: str) -> ConfigProblem | None:
    """Return why examples cannot be divided into at least two tokens.

    Parameters
    ----------
    name, size
        The field, and the side of a patch or the features of a token.
    shape
        Of an example.
    layer
        What needs two tokens, such as ``a block``.
    """
    sides, part = (shape[1:], "patches") if len(shape) == 3 else (shape, "tokens")
    fitting = [str(other) for other in range(1, max(sides)) if not any(side % other for side in sides)]
    advice = f"use {_either(fitting[-4:])}" if fitting else "choose another flow"
    whole = format_shape(shape) if len(shape) == 3 else f"{shape[0]} features"
    if any(side % size for side in sides):
        return ConfigProblem(name, f"{whole} cannot be divided into {part} of {size}: {advice}")
    if all(side == size for side in sides):
        return ConfigProblem(name, f"an example is one token, and {layer} needs at least two: {advice}")
    return None


def _either(texts: Sequence[str]) -> str:
    return " or ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape such as ``1×8×8``."""
    return "×".join(str(size) for size in shape)
