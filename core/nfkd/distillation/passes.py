"""The inputs of a training step, and the passes through both flows that its terms share.

`sample_inputs` draws all random numbers of a step (`StepInputs`). `make_passes` sends them through the flows
(`StepPasses`), for the whole batch or for one micro-batch. A step that drops examples repeats the same draws without
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from nfkd.data import Batch
from nfkd.distillation.known_passes import NONE_KNOWN, KnownPasses, pass_over
from nfkd.distillation.needs import Data, Needs, Synthesis, TeacherSamples, TermInput
from nfkd.distillation.pool import Pool
from nfkd.distillation.ranks import Ranks
from nfkd.distillation.variances import Variances, teacher_variances
from nfkd.flows.flow import Flow, Pass, evaluating
from nfkd.flows.fused import plain_operations
from nfkd.transfer import to_device

Value = TypeVar("Value")
Index = slice | Tensor
Generators = Callable[[str], torch.Generator]
"""From a purpose, such as ``synthesis``, to its generator on the CPU; each purpose has its own random numbers."""


@dataclass(frozen=True)
class Noise:
    """Standard normal noise for every latent, each (B, …).

    Attributes
    ----------
    parts, context
        The noise, and the context of each sample.
    samples
        What the teacher makes of them at temperature 1, where that is known: rows of the pool.
    """

    parts: list[Tensor]
    context: Tensor | None
    samples: Tensor | None = None

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, index: Index) -> Noise:
        """Return some of the samples."""
        context, samples = (None if value is None else value[index] for value in (self.context, self.samples))
        return Noise([part[index] for part in self.parts], context, samples)


@dataclass(frozen=True)
class StepInputs:
    """The inputs of a step or of one of its micro-batches.

    Attributes
    ----------
    batch
        The data.
    noise
        The noise that samples are made of, by their source.
    random
        What terms draw for each example of the data, by purpose.
    """

    batch: Batch
    noise: dict[Synthesis | TeacherSamples, Noise] = field(default_factory=dict)
    random: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> StepInputs:
        """Return the inputs with a function applied to each tensor, except the numbers of rows."""

        def some(value: Tensor | None) -> Tensor | None:
            return None if value is None else function(value)

        batch = self.batch
        return StepInputs(
            replace(batch, x=function(batch.x), context=some(batch.context), weights=some(batch.weights)),
            {
                source: Noise([function(part) for part in noise.parts], some(noise.context), some(noise.samples))
                for source, noise in self.noise.items()
            },
            {name: tuple(function(value) for value in values) for name, values in self.random.items()},
        )

    def tensors(self) -> list[Tensor]:
        """Return all tensors except the numbers of rows, always in the same order."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)
        return found

    def sizes(self) -> dict[TermInput, int]:
        """Return the number of examples of each source."""
        return {Data(): len(self.batch)} | {source: len(noise) for source, noise in self.noise.items()}

    def keep(self, good: Mapping[TermInput, Tensor]) -> StepInputs:
        """Return the inputs without some examples; `good` is (B,) bool for each source that loses any."""
        return self.take({source: mask.nonzero().flatten() for source, mask in good.items()})

    def micro_batches(self, count: int) -> list[StepInputs]:
        """Split every source into `count` micro-batches; into fewer where a source has fewer examples."""
        count = min(count, *self.sizes().values())
        return [self] if count == 1 else [self.take(share) for share in self.shares(count)]

    def shares(self, count: int) -> list[dict[TermInput, slice]]:
        """Return `count` parts of all sources; where a source has fewer examples, each part has everything."""
        sizes = self.sizes()
        if count > min(sizes.values()):
            return [{source: slice(0, size) for source, size in sizes.items()}] * count
        slices = {source: equal_slices(size, count) for source, size in sizes.items()}
        return [{source: slices[source][number] for source in sizes} for number in range(count)]

    def only(self, source: TermInput) -> StepInputs:
        """Return the inputs without the noise of other sources."""
        return replace(self, noise={key: value for key, value in self.noise.items() if key == source})

    def take(self, index: Mapping[TermInput, Index]) -> StepInputs:
        """Return some of the examples of each source in `index`, and all of the others."""
        noise = {key: value.take(index[key]) if key in index else value for key, value in self.noise.items()}
        if Data() not in index:
            return replace(self, noise=noise)
        chosen = index[Data()]
        random = {key: tuple(value[chosen] for value in values) for key, values in self.random.items()}
        return StepInputs(self.batch.take(chosen), noise, random)


def equal_slices(length: int, count: int) -> list[slice]:
    """Return `count` slices that make up a length; their sizes differ by one at most."""
    ends = [length * number // count for number in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


@dataclass(frozen=True)
class Synthesized:
    """Samples that flows made from the same noise.

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
    """All passes of a step or micro-batch; terms share them.

    Attributes
    ----------
    student, teacher
        The passes of the flows over the same x, noise included; None where no term needs it.
    batch
        The data; where a term needs gradients by x, x requires them.
    synthesized, samples
        What was made from noise, and the student's passes over the teacher's samples, by their source.
    weights
        (B,) weight of each example of x, 1 on average; None where all count the same.
    flows
        Student and teacher, for terms that make passes of their own.
    random
        What terms draw for each example of x, by purpose.
    batch_variances
        Of the teacher over the whole batch; None where these passes are of the whole batch, or no term needs them.
    """

    student: Pass | None = None
    teacher: Pass | None = None
    batch: Batch | None = None
    synthesized: Mapping[Synthesis, Synthesized] = field(default_factory=dict)
    samples: Mapping[TeacherSamples, Pass] = field(default_factory=dict)
    weights: Tensor | None = None
    flows: tuple[Flow, Flow] | None = None
    random: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    batch_variances: Variances | None = None

    def variances(self, name: str) -> Tensor:
        """Return the variances of a layer of the teacher, (1,), or of its latents, (L,), over the whole batch."""
        if self.batch_variances is not None:
            return self.batch_variances[name]
        return teacher_variances([require(self.teacher)], name)[name]

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of one value for each example of x, (B,)."""
        return values.mean() if self.weights is None else (values * self.weights).mean()


def require(value: Value | None) -> Value:
    """Return a value that a term reads.

    Raises
    ------
    ValueError
        When the step has not made it, because the term's needs do not name it.
    """
    if value is None:
        msg = "a term reads a value that its needs do not name"
        raise ValueError(msg)
    return value


def sample_inputs(
    needs: Mapping[TermInput, Needs],
    student: Flow,
    teacher: Flow | None,
    batch: Batch,
    generators: Generators,
    pool: Pool | None = None,
) -> StepInputs:
    """Draw the inputs of a step: all its random numbers, whatever the number of micro-batches.

    Parameters
    ----------
    needs
        From `combine_needs`.
    student, teacher
        The flows; the teacher is None where no term needs one.
    batch
        The data.
    generators
        One for each purpose.
    pool
        Samples of the teacher with their noise, which terms with samples at temperature 1 reuse; None for new noise.
    """
    inputs = StepInputs(batch)
    for source, need in needs.items():
        match source:
            case Synthesis():
                reused = pool if need.teacher and source.temperature == 1 else None
                inputs.noise[source] = _synthesis_noise(source.count, student, batch, generators("synthesis"), reused)
            case TeacherSamples():
                noise = require(teacher).draw_noise(source.count, generators("teacher samples"))
                inputs.noise[source] = Noise(noise, batch.contexts(source.count))
            case Data():
                inputs.random.update(
                    {name: sample(student, batch, generators(name)) for name, sample in need.random.items()}
                )
    return inputs


def batch_variances(
    needs: Mapping[TermInput, Needs],
    student: Flow,
    teacher: Flow | None,
    parts: Iterable[StepInputs],
    known: KnownPasses = NONE_KNOWN,
    ranks: Ranks | None = None,
) -> Variances | None:
    """Return the teacher's variances over all micro-batches, by passes of their own; None if no term reads any.

    `known` is as in `make_passes`; `parts` are those of this process, if there are several.
    """
    data_needs = needs.get(Data())
    if data_needs is None or not data_needs.variances:
        return None
    alone: dict[TermInput, Needs] = {Data(): Needs(student=False, trace=data_needs.trace)}
    with torch.no_grad():
        passes = (require(make_passes(alone, student, teacher, part.only(Data()), known).teacher) for part in parts)
        return teacher_variances(passes, ranks=ranks)


def _synthesis_noise(count: int, student: Flow, batch: Batch, generator: torch.Generator, pool: Pool | None) -> Noise:
    """Return new noise, or that of rows of the pool, drawn with replacement, with the teacher's samples."""
    if pool is None:
        return Noise(student.draw_noise(count, generator), batch.contexts(count))
    part = pool.take(torch.randint(len(pool), (count,), generator=generator))
    device, dtype = batch.x.device, batch.x.dtype
    context = None if part.context is None else to_device(part.context, device, dtype)
    noise = [to_device(noise, device, dtype) for noise in part.noise]
    return Noise(noise, context, to_device(part.x, device, dtype))


def make_passes(
    needs: Mapping[TermInput, Needs],
    student: Flow,
    teacher: Flow | None,
    inputs: StepInputs,
    known: KnownPasses = NONE_KNOWN,
    variances: Variances | None = None,
) -> StepPasses:
    """Send the inputs through the flows, each pass once.

    Parameters
    ----------
    needs, student, teacher, inputs
        As for `sample_inputs`, and what it returned.
    known
        The teacher's passes that are made already; they are made anew where gradients by x are needed.
    variances
        The teacher's over the whole batch, if the inputs are only a part of it.
    """
    data_needs, batch = needs.get(Data()), inputs.batch
    student_pass = teacher_pass = None
    if data_needs is not None:
        form, looked_up = nullcontext(), known
        if data_needs.input_gradient:  # differentiated twice, for which a fused operation would compute its plain form
            batch = replace(batch, x=batch.x.detach().requires_grad_())
            form, looked_up = plain_operations(), NONE_KNOWN
        with form:
            if data_needs.student:
                student_pass = student(batch.x, batch.context, trace=data_needs.trace)
            if data_needs.teacher:
                teacher_pass = pass_over(require(teacher), batch, looked_up, trace=data_needs.trace)
    return StepPasses(
        student=student_pass,
        teacher=teacher_pass,
        batch=batch,
        synthesized={
            source: _synthesize(source, needs[source], student, teacher, noise)
            for source, noise in inputs.noise.items()
            if isinstance(source, Synthesis)
        },
        samples={
            source: student(_teacher_samples(source, require(teacher), noise), noise.context)
            for source, noise in inputs.noise.items()
            if isinstance(source, TeacherSamples)
        },
        weights=batch.weights,
        flows=None if teacher is None else (student, teacher),
        random=inputs.random,
        batch_variances=variances,
    )


@torch.no_grad()
def _teacher_samples(source: TeacherSamples, teacher: Flow, noise: Noise) -> Tensor:
    return teacher.synthesize(noise.parts, source.temperature, noise.context)


def _synthesize(source: Synthesis, needs: Needs, student: Flow, teacher: Flow | None, noise: Noise) -> Synthesized:
    def sample(flow: Flow) -> Tensor:
        return flow.synthesize(noise.parts, source.temperature, noise.context)

    student_samples = sample(student) if needs.student else None
    teacher_samples = None
    if needs.teacher:
        teacher_samples = sample(require(teacher)) if noise.samples is None else noise.samples
    if not needs.densities:
        return Synthesized(student_samples, teacher_samples)
    x = require(student_samples)
    with evaluating(student):  # the inverse takes batch norm's running means, and samples must not change them
        log_prob = student.log_prob(x, noise.context)
    return Synthesized(student_samples, teacher_samples, (log_prob, require(teacher).log_prob(x, noise.context)))
