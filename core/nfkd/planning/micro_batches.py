"""Micro-batches and activations of an experiment: problems, warnings, and the memory of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nfkd.config import TERMS, ConfigProblem, ExperimentConfig
from nfkd.data import Dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.cost import FlowCost, flow_cost, initialisation_cost
from nfkd.planning.costs import kept_examples, sample_counts, term_needs
from nfkd.planning.devices import reads_together, resolve_device
from nfkd.planning.plans import flow_config, stage_batch_size, teacher_of
from nfkd.protocol.requests import FlowDescription
from nfkd.protocol.roles import Role, the_role

_BYTES = 4
_REWIND_COPIES = 3
"""Weights and both moments of the optimizer, which `nfkd.training.rewind` copies; and the average, if there is one."""


def accumulation_problems(config: ExperimentConfig) -> list[ConfigProblem]:
    """Return why a batch cannot be split: too few examples, or terms that compare its examples."""
    training, devices = config.training, config.compute.devices
    problems = []
    smallest = training.student_batch_size
    if devices > smallest:
        message = f"a batch of {smallest:,} examples cannot be shared by {devices:,} devices"
        problems.append(ConfigProblem("compute.devices", message))
    elif training.accumulate > smallest // devices:
        each = f" on each of {devices:,} devices" if devices > 1 else ""
        message = f"a batch of {smallest:,} examples cannot make {training.accumulate:,} micro-batches{each}"
        problems.append(ConfigProblem("training.accumulate", message))
    if training.accumulate > 1 or devices > 1:
        field = "training.accumulate" if devices == 1 else "compute.devices"
        message = (
            "it compares the examples of a batch with each other and needs the whole batch at once: "
            f"set {field} to 1, or set the term's weight to zero"
        )
        comparing = [name for name in config.distillation.active_terms() if OBJECTIVES[name].compares]
        problems += [ConfigProblem(f"distillation.{name}.weight", message) for name in comparing]
    return problems


def activation_problems(config: ExperimentConfig) -> list[ConfigProblem]:
    """Return why activations cannot be recomputed: terms that need more than first derivatives."""
    if config.training.activations == "keep":
        return []
    labels = [TERMS[name].label for name in config.distillation.active_terms() if not OBJECTIVES[name].recomputes]
    return [
        ConfigProblem(
            "training.activations",
            f"{label} differentiates derivatives, which recomputed activations do not have: keep the activations, or "
            f"set the weight of {label} to zero",
        )
        for label in labels
    ]


def accumulation_warnings(config: ExperimentConfig, flows: Mapping[Role, FlowDescription]) -> list[ConfigProblem]:
    """Return warnings about fewer micro-batches than configured, and about results that differ from whole batches."""
    devices = config.compute.devices
    count = config.training.accumulate * devices
    if count == 1:
        return []
    field, parts = ("training.accumulate", "micro-batch") if devices == 1 else ("compute.devices", "device's part")
    warnings = []
    if devices > 1:
        message = "the expected time is that of one device"
        warnings.append(ConfigProblem(field, message))
    samples = sample_counts(config.distillation)
    fewest = min(samples, key=lambda name: samples[name], default="")
    if fewest and samples[fewest] < devices:
        message = f"{TERMS[fewest].label} draws {samples[fewest]:,} samples a step: each device computes whole batches"
        warnings.append(ConfigProblem(field, message))
    elif fewest and samples[fewest] < count:
        message = (
            f"{TERMS[fewest].label} draws {samples[fewest]:,} samples a step: the student's batch makes only as many "
            "micro-batches"
        )
        warnings.append(ConfigProblem("training.accumulate", message))
    untrained = "teacher" if config.training.teacher_given else ""  # evaluation mode: batch norm's running means
    for role, flow in flows.items():
        if role != untrained and any(layer.kind == "batch_norm" for layer in flow.layers):
            message = (
                f"{the_role(role)}'s batch norms see one {parts} at a time: training differs from that on whole batches"
            )
            warnings.append(ConfigProblem(field, message))
    return warnings


def stage_cost(config: ExperimentConfig, role: Role, dataset: Dataset) -> tuple[FlowCost, int]:
    """Return the cost of a flow, and the bytes that its training needs at its peak."""
    chosen, training, terms = flow_config(config, role), config.training, config.distillation
    teacher, batch_size = teacher_of(config, role), stage_batch_size(config, role)
    samples = sample_counts(terms).values() if teacher else ()
    device = resolve_device(config.compute)
    devices = config.compute.devices if device.type == "cuda" else 1  # CPUs share the memory
    count = min(training.accumulate * devices, batch_size, *samples)
    examples, averages, teacher_memory = math.ceil(batch_size / count), int(training.ema_decay > 0), 0
    copies = averages + (_REWIND_COPIES + averages) * reads_together(config.compute, device)
    if teacher:
        kept_by_student, kept_by_teacher = kept_examples(terms, batch_size, count)
        examples += kept_by_student
        copies += _kept_gradients(config, count)
        teacher_memory = _teacher_memory(config, teacher, dataset, kept_by_teacher)
    shape, features = dataset.event_shape, dataset.context_features
    cost = flow_cost(
        chosen,
        shape,
        examples,
        features,
        precision=training.precision,
        activations=training.activations,
        trace=bool(teacher) and any(needs.trace for needs in term_needs(terms).values()),
        extra_copies=copies,
    )
    memory = cost.training_memory + teacher_memory
    if count == 1:
        return cost, memory
    first = _BYTES * cost.parameters + initialisation_cost(chosen, shape, batch_size, features)
    return cost, max(memory, first)


def _teacher_memory(config: ExperimentConfig, teacher: Role, dataset: Dataset, examples: int) -> int:
    """Return the bytes that the frozen teacher keeps for some examples whose gradients go through it."""
    if not examples or (teacher == "teacher" and config.training.teacher_from_python):
        return 0  # a flow of another library is not measured
    shape, features, training = dataset.event_shape, dataset.context_features, config.training
    with_examples, without = (
        flow_cost(
            flow_config(config, teacher),
            shape,
            size,
            features,
            precision=training.precision,
            activations=training.activations,
        )
        for size in (examples, 0)
    )
    return with_examples.training_memory - without.training_memory


def _kept_gradients(config: ExperimentConfig, count: int) -> int:
    """Return the number of terms whose gradients are kept while they are measured."""
    terms = config.distillation
    active = len(terms.active_terms())
    kept = terms.balance != "none" or (count > 1 and config.monitor.shares_every > 0)
    return active if kept and active > 1 else 0
