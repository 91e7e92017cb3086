"""Micro-batches of an experiment: problems, warnings, and the memory of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nfkd.config import ConfigProblem, ExperimentConfig
from nfkd.data import Dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.cost import FlowCost, flow_cost, initialisation_cost
from nfkd.planning.costs import extra_examples, sample_counts, teacher_examples
from nfkd.planning.plans import flow_config, teacher_of
from nfkd.protocol.requests import FlowDescription
from nfkd.protocol.roles import Role, the_role

_BYTES = 4


def accumulation_problems(config: ExperimentConfig) -> list[ConfigProblem]:
    """Return what cannot be taken in pieces: a batch of fewer examples, and terms that compare examples."""
    training, weights = config.training, config.distillation.weights()
    problems = []
    if training.accumulate > training.batch_size:
        message = f"a batch of {training.batch_size:,} examples cannot be taken in {training.accumulate:,} pieces"
        problems.append(ConfigProblem("training.accumulate", message))
    comparing = [name for name, objective in OBJECTIVES.items() if objective.compares and weights[name] > 0]
    if training.accumulate > 1:
        message = (
            "it compares the examples of a batch with each other, and cannot be had in micro-batches: "
            "set training.accumulate to 1, or leave the term out"
        )
        problems += [ConfigProblem(f"distillation.{name}.weight", message) for name in comparing]
    return problems


def accumulation_warnings(config: ExperimentConfig, flows: Mapping[Role, FlowDescription]) -> list[ConfigProblem]:
    """Return where the pieces of a batch are fewer than asked for, or are not the same as the batch as a whole."""
    count = config.training.accumulate
    if count == 1:
        return []
    warnings = []
    samples = sample_counts(config.distillation)
    fewest = min(samples, key=lambda name: samples[name], default="")
    if fewest and samples[fewest] < count:
        label = OBJECTIVES[fewest].label
        message = f"{label} draws {samples[fewest]:,} samples a step: the student's batch is taken in so many pieces"
        warnings.append(ConfigProblem("training.accumulate", message))
    given = "teacher" if config.training.teacher_given else ""  # in evaluation mode it takes its running means
    for role, flow in flows.items():
        if role != given and any(layer.kind == "batch_norm" for layer in flow.layers):
            message = (
                f"{the_role(role)}'s batch norms see one piece at a time: not the same training as with a whole batch"
            )
            warnings.append(ConfigProblem("training.accumulate", message))
    return warnings


def stage_cost(config: ExperimentConfig, role: Role, dataset: Dataset) -> tuple[FlowCost, int]:
    """Return what a flow costs, and the bytes that its training takes at its peak."""
    chosen, training, terms = flow_config(config, role), config.training, config.distillation
    teacher = teacher_of(config, role)
    student = teacher is not None
    samples = sample_counts(terms).values() if student else ()
    count = min(training.accumulate, training.batch_size, *samples)
    examples = math.ceil(training.batch_size / count)
    if student:
        examples += extra_examples(terms, training.batch_size, count)  # samples are kept for the backward pass, too
    shape, features = dataset.event_shape, dataset.context_features
    cost = flow_cost(
        chosen,
        shape,
        examples,
        features,
        precision=training.precision,
        extra_copies=(training.ema_decay > 0) + (_kept_gradients(config, count) if student else 0),
    )
    memory = cost.training_memory + (_teacher_memory(config, teacher, dataset, count) if teacher else 0)
    if count == 1:
        return cost, memory
    first = _BYTES * cost.parameters + initialisation_cost(chosen, shape, training.batch_size, features)
    return cost, max(memory, first)


def _teacher_memory(config: ExperimentConfig, teacher: Role, dataset: Dataset, count: int) -> int:
    """Return the bytes of what the frozen teacher keeps, where gradients go through it to its input."""
    examples = teacher_examples(config.distillation, config.training.batch_size, count)
    if not examples or (teacher == "teacher" and config.training.teacher_from_python):
        return 0  # a flow of another library is not measured
    shape, features, precision = dataset.event_shape, dataset.context_features, config.training.precision
    some, none = (
        flow_cost(flow_config(config, teacher), shape, size, features, precision=precision) for size in (examples, 0)
    )
    return some.training_memory - none.training_memory


def _kept_gradients(config: ExperimentConfig, count: int) -> int:
    """Return of how many terms the gradients are kept while they are measured."""
    terms = config.distillation
    used = sum(weight > 0 for weight in terms.weights().values())
    kept = terms.balance != "none" or (count > 1 and config.monitor.shares_every > 0)
    return used if kept and used > 1 else 0
