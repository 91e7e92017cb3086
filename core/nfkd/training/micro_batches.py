"""What a batch in several pieces means for an experiment: its faults, what to be warned of, and the memory it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nfkd.config import ExperimentConfig, Fault, TrainingConfig
from nfkd.data import Dataset
from nfkd.flows.cost import FlowCost, flow_cost, initialisation_cost
from nfkd.protocol.requests import FlowDescription

_BYTES = 4


def accumulation_faults(training: TrainingConfig) -> list[Fault]:
    """Return a fault when a batch is to be taken in more pieces than it has examples."""
    if training.accumulate <= training.batch_size:
        return []
    message = f"a batch of {training.batch_size:,} examples cannot be taken in {training.accumulate:,} pieces"
    return [Fault("training.accumulate", message)]


def accumulation_warnings(config: ExperimentConfig, flows: Mapping[str, FlowDescription]) -> list[Fault]:
    """Return where the pieces of a batch are fewer than asked for, or are not the same as the batch as a whole."""
    count = config.training.accumulate
    if count == 1:
        return []
    warnings = []
    samples = _samples(config)
    if 0 < samples < count:
        message = f"SKD draws {samples:,} samples a step: the student's batch is taken in so many pieces"
        warnings.append(Fault("training.accumulate", message))
    given = "teacher" if config.training.teacher_given else ""  # in evaluation mode it takes its running means
    for role, flow in flows.items():
        if role != given and any(layer.kind == "batch_norm" for layer in flow.layers):
            message = f"the {role}'s batch norms see one piece at a time: not the same training as with a whole batch"
            warnings.append(Fault("training.accumulate", message))
    return warnings


def stage_cost(config: ExperimentConfig, role: str, dataset: Dataset) -> tuple[FlowCost, int]:
    """Return what a flow costs, and the bytes that its training takes at its peak."""
    chosen, training = config.teacher if role == "teacher" else config.student, config.training
    sizes = [training.batch_size]
    if role == "student" and _samples(config):
        sizes.append(_samples(config))  # the synthesized samples are kept for the backward pass, too
    count = min(training.accumulate, *sizes)
    shape, features = dataset.event_shape, dataset.context_features
    cost = flow_cost(
        chosen,
        shape,
        sum(math.ceil(size / count) for size in sizes),
        features,
        precision=training.precision,
        averaged=training.ema_decay > 0,
    )
    if count == 1:
        return cost, cost.training_memory
    first = _BYTES * cost.parameters + initialisation_cost(chosen, shape, training.batch_size, features)
    return cost, max(cost.training_memory, first)


def _samples(config: ExperimentConfig) -> int:
    """Return how many samples a step of the student synthesizes."""
    return config.distillation.skd.batch_size if config.distillation.weights()["skd"] > 0 else 0
