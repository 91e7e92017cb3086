"""What one step computes before any term is looked at: each pass once, however many terms read it.

A step first draws its inputs (`StepInputs`: the batch, noise, random directions), then sends them through the
flows (`StepPasses`), whole or in pieces. Where some examples give numbers that are not finite, the same draws go
through again without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from nfkd.data import Batch
from nfkd.flows.flow import Flow, Pass, evaluating

Value = TypeVar("Value")
Generators = Callable[[str], torch.Generator]
"""From a purpose, such as ``synthesis``, to its generator on the CPU: no purpose's draws disturb another's."""


@dataclass(frozen=True)
class Data:
    """A term is computed on the step's batch of data."""


@dataclass(frozen=True)
class Synthesis:
    """A term is computed on samples that flows make of one noise: so many, of this temperature."""

    count: int
    temperature: float = 1.0


@dataclass(frozen=True)
class TeacherSamples:
    """A term is computed on samples that the teacher draws: so many, at this temperature."""

    count: int
    temperature: float = 1.0


TermInput = Data | Synthesis | TeacherSamples
"""Where the examples of a term come from. Terms of equal sources share them."""
Draw = Callable[[Flow, Batch, torch.Generator], tuple[Tensor, ...]]
"""From the student and the whole batch to random numbers on its device, each tensor (B, …)."""


@dataclass(frozen=True)
class Needs:
    """What a term reads.

    Attributes
    ----------
    source
        Where its examples come from.
    student, teacher
        Which flows pass over them. For `Synthesis`: which flows make samples of the noise.
    trace
        Whether the passes keep what comes out of each layer.
    input_gradient
        Whether the term differentiates log p by x: the graphs of both passes then reach back to x. A flow must take its
        plain path for it, for the step differentiates once more.
    densities
        For `Synthesis`: both densities of the student's samples.
    random
        What the term draws by itself for each example of the data, by the purpose that names its generator.
    own
        What the term computes by itself, in passes of the student (forward and backward count three) and of the
        teacher; for the estimates.
    extra_decodes
        The same from latents to data, in passes of the student.
    """

    source: TermInput = Data()
    student: bool = True
    teacher: bool = True
    trace: bool = False
    input_gradient: bool = False
    densities: bool = False
    random: Mapping[str, Draw] = field(default_factory=dict)
    own: tuple[float, float] = (0.0, 0.0)
    extra_decodes: float = 0.0

    def __or__(self, other: Needs) -> Needs:
        """Return what serves two terms of the same source."""
        return Needs(
            source=self.source,
            student=self.student or other.student,
            teacher=self.teacher or other.teacher,
            trace=self.trace or other.trace,
            input_gradient=self.input_gradient or other.input_gradient,
            densities=self.densities or other.densities,
            random={**self.random, **other.random},
            own=(self.own[0] + other.own[0], self.own[1] + other.own[1]),
            extra_decodes=self.extra_decodes + other.extra_decodes,
        )


def combined(needs: Iterable[Needs]) -> dict[TermInput, Needs]:
    """Return what serves all terms, by source, in the order in which the sources first occur."""
    found: dict[TermInput, Needs] = {}
    for each in needs:
        found[each.source] = found[each.source] | each if each.source in found else each
    return found


@dataclass(frozen=True)
class Noise:
    """Standardised ε for every latent, each (B, …), and the context of each sample."""

    parts: list[Tensor]
    context: Tensor | None

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, index: Index) -> Noise:
        """Return some of the samples."""
        return Noise([part[index] for part in self.parts], None if self.context is None else self.context[index])


@dataclass(frozen=True)
class StepInputs:
    """What a step begins with, or a piece of it; nothing of it is drawn twice.

    Attributes
    ----------
    batch
        The data.
    noise
        What samples are made of, by their source.
    random
        What terms draw for each example of the data, by purpose.
    """

    batch: Batch
    noise: dict[Synthesis | TeacherSamples, Noise] = field(default_factory=dict)
    random: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def sizes(self) -> dict[TermInput, int]:
        """Return how many examples there are of each source."""
        return {Data(): len(self.batch)} | {source: len(noise) for source, noise in self.noise.items()}

    def keep(self, good: Mapping[TermInput, Tensor]) -> StepInputs:
        """Return the same without some examples; `good` is (B,) bool for each source that loses any."""
        return self.take({source: mask.nonzero().flatten() for source, mask in good.items()})

    def pieces(self, count: int) -> list[StepInputs]:
        """Return it in pieces, each with its part of every source; fewer where a source has not as many examples."""
        sizes = self.sizes()
        count = min(count, *sizes.values())
        if count == 1:
            return [self]
        parts = {source: cuts(size, count) for source, size in sizes.items()}
        return [self.take({source: slices[number] for source, slices in parts.items()}) for number in range(count)]

    def only(self, source: TermInput) -> StepInputs:
        """Return the same without what samples of other sources are made of."""
        return replace(self, noise={key: value for key, value in self.noise.items() if key == source})

    def take(self, index: Mapping[TermInput, Index]) -> StepInputs:
        """Return some of the examples of each source that is named, and all of the others."""
        noise = {key: value.take(index[key]) if key in index else value for key, value in self.noise.items()}
        if Data() not in index:
            return replace(self, noise=noise)
        some = index[Data()]
        random = {key: tuple(value[some] for value in values) for key, values in self.random.items()}
        return StepInputs(_of_batch(self.batch, some), noise, random)


Index = slice | Tensor


def cuts(length: int, count: int) -> list[slice]:
    """Return so many slices that make up a length, of sizes that differ by one at most."""
    ends = [length * number // count for number in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def _of_batch(batch: Batch, index: Index) -> Batch:
    weights = None if batch.weights is None else batch.weights[index]
    return Batch(batch.x[index], None if batch.context is None else batch.context[index], weights)


@dataclass(frozen=True)
class Synthesized:
    """What flows made of one noise.

    Attributes
    ----------
    student, teacher
        Samples, (B, *event_shape); None where no term needs them.
    densities
        log p of the student and of the teacher at the student's samples, (B,) nats each.
    """

    student: Tensor | None = None
    teacher: Tensor | None = None
    densities: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class StepPasses:
    """All passes of one step, each done once however many terms share it.

    Attributes
    ----------
    student
        The student's pass over the step's x; None where no term needs it.
    teacher
        The teacher's pass over the same x, noise included; None where no term needs it.
    batch
        The data itself; where a term needs gradients by x, x asks for them.
    synthesized, samples
        What was made of noise, and the student's passes over the teacher's samples, by their source.
    weights
        (B,) weight of each example of x, 1 on average; None where all count the same.
    flows
        Student and teacher, for terms that send something through them that no other term does.
    random
        What terms draw by themselves for each example of x, by purpose.
    """

    student: Pass | None = None
    teacher: Pass | None = None
    batch: Batch | None = None
    synthesized: Mapping[Synthesis, Synthesized] = field(default_factory=dict)
    samples: Mapping[TeacherSamples, Pass] = field(default_factory=dict)
    weights: Tensor | None = None
    flows: tuple[Flow, Flow] | None = None
    random: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean over the examples of x of a figure for each, (B,)."""
        return values.mean() if self.weights is None else (values * self.weights).mean()


def require(value: Value | None) -> Value:
    """Return what a term reads.

    Raises
    ------
    ValueError
        When the step has not made it: the term's needs do not name it.
    """
    if value is None:
        msg = "a term reads what its needs do not name"
        raise ValueError(msg)
    return value


def draw(
    needs: Mapping[TermInput, Needs], student: Flow, teacher: Flow | None, batch: Batch, by: Generators
) -> StepInputs:
    """Draw what a step begins with: every random number of it, in however many pieces it is then computed.

    Parameters
    ----------
    needs
        As `combined` returns them.
    student, teacher
        The flows; there is no teacher where no term needs one.
    batch
        The data.
    by
        The generators.
    """
    drawn = StepInputs(batch)
    for source, need in needs.items():
        match source:
            case Synthesis():
                context = batch.contexts(source.count)  # one ε for every level of both
                drawn.noise[source] = Noise(student.draw_noise(source.count, by("synthesis")), context)
            case TeacherSamples():
                noise = require(teacher).draw_noise(source.count, by("teacher samples"))
                drawn.noise[source] = Noise(noise, batch.contexts(source.count))
            case Data():
                drawn.random.update({name: make(student, batch, by(name)) for name, make in need.random.items()})
    return drawn


def make_passes(needs: Mapping[TermInput, Needs], student: Flow, teacher: Flow | None, drawn: StepInputs) -> StepPasses:
    """Send everything through the flows, once; arguments as `draw`."""
    of_data, batch = needs.get(Data()), drawn.batch
    if of_data is not None and of_data.input_gradient:
        batch = replace(batch, x=batch.x.detach().requires_grad_())
    ours, theirs = None, None
    if of_data is not None and of_data.student:
        ours = student(batch.x, batch.context, trace=of_data.trace)
    if of_data is not None and of_data.teacher:
        theirs = require(teacher)(batch.x, batch.context, trace=of_data.trace)
    return StepPasses(
        student=ours,
        teacher=theirs,
        batch=batch,
        synthesized={
            source: _synthesize(source, needs[source], student, teacher, noise)
            for source, noise in drawn.noise.items()
            if isinstance(source, Synthesis)
        },
        samples={
            source: student(_sampled(require(teacher), source, noise), noise.context)
            for source, noise in drawn.noise.items()
            if isinstance(source, TeacherSamples)
        },
        weights=batch.weights,
        flows=None if teacher is None else (student, teacher),
        random=drawn.random,
    )


@torch.no_grad()
def _sampled(teacher: Flow, source: TeacherSamples, noise: Noise) -> Tensor:
    return teacher.synthesize(noise.parts, source.temperature, noise.context)


def _synthesize(source: Synthesis, needs: Needs, student: Flow, teacher: Flow | None, noise: Noise) -> Synthesized:
    made = student.synthesize(noise.parts, source.temperature, noise.context) if needs.student else None
    theirs = require(teacher).synthesize(noise.parts, source.temperature, noise.context) if needs.teacher else None
    if not needs.densities:
        return Synthesized(made, theirs)
    x = require(made)
    with evaluating(student):  # as the way back is: by the running means of batch norm, which do not follow samples
        log_prob = student.log_prob(x, noise.context)
    return Synthesized(made, theirs, (log_prob, require(teacher).log_prob(x, noise.context)))
