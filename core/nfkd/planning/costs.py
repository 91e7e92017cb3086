"""The cost of a training step: passes and kept examples of each term, and a warning for slow terms."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nfkd.config import TERMS, ConfigProblem, DistillationConfig, ExperimentConfig, TrainingConfig
from nfkd.distillation.needs import Data, Needs, Synthesis, TeacherSamples, TermInput, combine_needs
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.flow import Flow
from nfkd.flows.jacobi import SequentialLayer
from nfkd.flows.layer import Layer

_TRAINED = 3
"""A pass with its backward costs as much as this many passes; with recomputed activations one more."""
_SLOW = 2.0
"""Ratio of a step's cost with an autoregressive flow to that with a parallel one, above which there is a warning."""


@dataclass(frozen=True)
class PassCost:
    """The cost of a flow's passes, for one example and in any unit.

    Attributes
    ----------
    encode, decode
        From data to latents, and back.
    sequential
        Features that the slower direction computes one after another; 1 where both take all at once.
    """

    encode: float
    decode: float
    sequential: int = 1

    @property
    def parallel(self) -> PassCost:
        """The cost if both directions took all features at once."""
        least = min(self.encode, self.decode)
        return PassCost(least, least)


def pass_cost(flow: Flow) -> PassCost:
    """Return the cost of a flow's passes in passes of one layer; the flow may be on the meta device.

    One direction of an autoregressive layer goes feature by feature: about the arithmetic of the other direction, in
    many small operations. Measured on a CPU, D features take 3D times as long as the other direction with narrow
    networks (64 units) and D/4 times with wide ones (512). D is the estimate. TarFlow's tokens take 1.2 to 1.8 times as
    long in batches of 128 or more, and 2 to 5 times in batches of 16. Two is the estimate.
    """
    depth = float(len(flow.layers))
    passes = [module.passes for module in flow.modules() if isinstance(module, Layer)]
    encode, decode = (max((counts[way] for counts in passes), default=1) for way in (0, 1))
    tokens = [module.tokens for module in flow.modules() if isinstance(module, SequentialLayer)]
    return PassCost(encode * depth, decode * depth, max(tokens, default=1))


def term_needs(config: DistillationConfig, only: str = "") -> dict[TermInput, Needs]:
    """Return the needs of the active terms, or of one of them, by source."""
    terms = config.active_terms()
    return combine_needs(OBJECTIVES[name](terms[name]).needs() for name in ([only] if only else terms))


def sample_counts(config: DistillationConfig) -> dict[str, int]:
    """Return the number of samples a step of each active term that draws samples, by its name."""
    sources = {name: OBJECTIVES[name](term).needs().source for name, term in config.active_terms().items()}
    return {name: source.count for name, source in sources.items() if not isinstance(source, Data)}


def trained_passes(training: TrainingConfig) -> int:
    """Return as how many passes a pass with its backward counts."""
    return _TRAINED + (training.activations == "recompute")


def kept_examples(config: DistillationConfig, batch_size: int, micro_batches: int = 1) -> tuple[int, int]:
    """Return the examples that the flows keep for a micro-batch's backward pass, besides the student's batch.

    Parameters
    ----------
    config
        The terms.
    batch_size
        Examples of data in a step.
    micro_batches
        Number of micro-batches of a step.

    Returns
    -------
    tuple[int, int]
        Examples of the student and of the teacher. The teacher keeps examples if gradients flow through it.
    """
    student = teacher = 0
    for source, needs in term_needs(config).items():
        size = math.ceil((batch_size if isinstance(source, Data) else source.count) / micro_batches)
        match source:
            case Data():
                student += math.ceil(size * (needs.extra_encodes[0] + needs.extra_decodes) / _TRAINED)
                teacher += size * needs.input_gradient
            case Synthesis():
                student += size * (needs.student + needs.densities)
                teacher += size * needs.densities
            case TeacherSamples():
                student += size
    return student, teacher


def step_cost(
    config: DistillationConfig,
    batch_size: int,
    student: PassCost,
    teacher: PassCost,
    only: str = "",
    *,
    micro_batches: int = 1,
    cached: float = 0.0,
    trained: int = _TRAINED,
) -> float:
    """Return the cost of a step of the student for each example of its batch, in the unit of the passes.

    A pass of the teacher that gradients flow through counts as one of the student's with its backward.

    Parameters
    ----------
    config
        The terms.
    batch_size
        Examples of data in a step.
    student, teacher
        The cost of their passes.
    only
        Name of the only term to count; by default all active terms count.
    micro_batches
        In how many parts a step is taken.
    cached
        Part of the batch over which the teacher makes no pass, from `TeacherCache.share`.
    trained
        Passes that a pass with its backward counts as, from `trained_passes`.
    """
    cost = 0.0
    for source, needs in term_needs(config, only).items():
        extra = needs.extra_encodes[0] * student.encode + needs.extra_encodes[1] * teacher.encode
        extra += needs.extra_decodes * student.decode * trained / _TRAINED
        match source:
            case Data():
                teacher_passes = trained if needs.input_gradient else 1 - cached
                extra += trained * student.encode * needs.student + teacher_passes * teacher.encode * needs.teacher
                extra += teacher.encode * (micro_batches > 1 and needs.variances)  # a pass before the parts
            case Synthesis():
                known = config.pool.share > 0 and source.temperature == 1  # samples of the pool are reused
                extra += trained * student.decode * needs.student + teacher.decode * (needs.teacher and not known)
                extra += trained * (student.encode + teacher.encode) * needs.densities
            case TeacherSamples():
                extra += teacher.decode + trained * student.encode
        cost += extra * (1 if isinstance(source, Data) else source.count / batch_size)
    return cost


def slow_terms(
    config: ExperimentConfig,
    student: PassCost,
    teacher: PassCost,
    name_of_student: str = "the student",
    *,
    cached: float = 0.0,
) -> list[ConfigProblem]:
    """Return a warning for each term that makes a step much longer because an autoregressive flow is slow there.

    Each warning names the other slow terms: without one of them the step would take as long.

    Parameters
    ----------
    config
        The experiment.
    student, teacher
        The cost of the passes of a flow that learns, and of the flow that it learns from.
    name_of_student
        The name in messages of the flow that learns.
    cached
        As for `step_cost`.
    """
    terms, batch_size = config.distillation, config.training.student_batch_size
    features = max(student.sequential, teacher.sequential)
    if features == 1:
        return []

    def slowdown(only: str = "") -> float:
        parallel = step_cost(terms, batch_size, student.parallel, teacher.parallel, only, cached=cached)
        return step_cost(terms, batch_size, student, teacher, only, cached=cached) / parallel

    if slowdown() < _SLOW:
        return []
    labels = {name: TERMS[name].label for name in terms.active_terms() if slowdown(name) >= _SLOW}
    warnings = []
    for name in labels:
        others = ", ".join(label for other, label in labels.items() if other != name)
        beside = f", with {others}," if others else ""
        message = (
            f"an autoregressive flow computes it feature by feature, {features} one after another: a step of "
            f"{name_of_student} takes about {slowdown():.0f} times as long{beside} as with all features at once"
        )
        warnings.append(ConfigProblem(f"distillation.{name}.weight", message))
    return warnings
