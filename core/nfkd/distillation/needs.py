"""What a term of the loss reads: examples, passes of the flows over them, and random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nfkd.data import Batch
from nfkd.flows.flow import Flow


@dataclass(frozen=True)
class Data:
    """The step's batch of data."""


@dataclass(frozen=True)
class Synthesis:
    """Samples that the flows make from the same noise."""

    count: int
    temperature: float = 1.0


@dataclass(frozen=True)
class TeacherSamples:
    """Samples that the teacher draws."""

    count: int
    temperature: float = 1.0


TermInput = Data | Synthesis | TeacherSamples
"""The examples that a term is computed on. Terms with equal inputs share them."""
RandomInputs = Callable[[Flow, Batch, torch.Generator], tuple[Tensor, ...]]
"""From the student and the whole batch to random numbers on its device, each tensor (B, …)."""


@dataclass(frozen=True)
class Needs:
    """What a term reads.

    Attributes
    ----------
    source
        The examples that it is computed on.
    student, teacher
        Which flows pass over them. For `Synthesis`: which flows make samples of the noise.
    trace
        Whether the passes keep the output of each layer.
    input_gradient
        Whether the term differentiates log p by x. The graphs of both passes then reach back to x and must be twice
        differentiable.
    densities
        For `Synthesis`: both densities of the student's samples.
    variances
        Whether it reads variances of the teacher's latents or layers over the whole batch.
    random
        What the term draws for each example of the data, by the purpose that names its generator.
    extra_encodes
        For the cost estimates: encoding passes that the term makes by itself, of the student (a pass with its backward
        counts three) and of the teacher.
    extra_decodes
        The same for decoding passes of the student.
    """

    source: TermInput = Data()
    student: bool = True
    teacher: bool = True
    trace: bool = False
    input_gradient: bool = False
    densities: bool = False
    variances: bool = False
    random: Mapping[str, RandomInputs] = field(default_factory=dict)
    extra_encodes: tuple[float, float] = (0.0, 0.0)
    extra_decodes: float = 0.0

    def __or__(self, other: Needs) -> Needs:
        """Return the needs of two terms with the same source."""
        return Needs(
            source=self.source,
            student=self.student or other.student,
            teacher=self.teacher or other.teacher,
            trace=self.trace or other.trace,
            input_gradient=self.input_gradient or other.input_gradient,
            densities=self.densities or other.densities,
            variances=self.variances or other.variances,
            random={**self.random, **other.random},
            extra_encodes=(
                self.extra_encodes[0] + other.extra_encodes[0],
                self.extra_encodes[1] + other.extra_encodes[1],
            ),
            extra_decodes=self.extra_decodes + other.extra_decodes,
        )


def combine_needs(needs: Iterable[Needs]) -> dict[TermInput, Needs]:
    """Return the needs of all terms by source, in the order in which the sources first occur."""
    combined: dict[TermInput, Needs] = {}
    for need in needs:
        combined[need.source] = combined[need.source] | need if need.source in combined else need
    return combined
