"""Describes an experiment before it runs: problems, warnings, matched layers, and estimated sizes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig, TrainingConfig
from nfkd.config.schedules import weights_at
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.data.column_warnings import column_warnings
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.evaluation.features import no_features
from nfkd.evaluation.summary import no_same_noise
from nfkd.flows.architectures import flow_problems, flow_summary, meta_flow
from nfkd.flows.cost import frozen_cost
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.costs import pass_cost, slow_terms
from nfkd.planning.devices import (
    device_problems,
    graph_warnings,
    memory_available,
    precision_problems,
    precision_warnings,
    resolve_device,
)
from nfkd.planning.matching_check import MatchingCheck, check_matching
from nfkd.planning.micro_batches import accumulation_problems, accumulation_warnings, activation_problems, stage_cost
from nfkd.planning.plans import (
    chain,
    flow_config,
    flow_path,
    learners,
    stage_data,
    stage_steps,
    stage_terms,
    teacher_of,
)
from nfkd.planning.pools import pool_problems, slow_pool
from nfkd.planning.teacher_cache import kept_memory, planned_cache
from nfkd.planning.teachers import on_scaled_values, teacher_problems, teacher_warnings
from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import Role, the_role

_FEW_EXAMPLES = 500
"""Below this, samples of the teacher usually help the student most."""


@plain_torch()
def describe(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return all problems and warnings of an experiment, and its estimated sizes.

    The flows are built on the meta device, so that nothing large is allocated.

    Parameters
    ----------
    config
        The experiment.
    teacher
        A flow of another library as the teacher.
    run
        The run that is resumed; it may have its own copy of a given teacher.
    """
    problems = device_problems(config.compute)
    device = resolve_device(config.compute) if not problems else None
    available = memory_available(device) if device else 0
    problems += accumulation_problems(config) + activation_problems(config)
    problems += precision_problems(config.training, device)
    if teacher is not None and config.compute.devices > 1:
        problems.append(ConfigProblem("compute.devices", "a teacher from Python trains with one device: set it to 1"))
    problems += _search_problems(config.training) + _ablation_problems(config)
    warnings = (
        config.notices
        + precision_warnings(config.training, device)
        + graph_warnings(config.compute, config.training, device)
        + teacher_warnings(config, run)
    )
    dataset = None
    try:
        dataset = load_dataset(config.data)
    except DataError as error:
        problems += error.problems
        if error.event_shape:
            problems += _flow_problems(config, error.event_shape, teacher)
    problems += teacher_problems(config, dataset, teacher, run)
    flows: dict[Role, FlowDescription] = {}
    checks, fixed_rows = _LearnerChecks(), 0
    if dataset is not None:
        warnings += _table_warnings(config, dataset)
        teacher = None if teacher is None else on_scaled_values(teacher, dataset)
        seen, found = _student_data(config, dataset)
        problems, fixed_rows = problems + found, seen.fixed_rows
        warnings += column_warnings(config.data, dataset)
        problems += _flow_problems(config, dataset.event_shape, teacher)
        built = _build_valid_flows(config, dataset, teacher, problems)
        flows = {role: _describe_flow(config, role, flow, dataset) for role, flow in built.items()}
        checks = _check_learners(config, dataset, seen, built)
        flows |= {
            role: msgspec.structs.replace(flows[role], memory=flows[role].memory + extra)
            for role, extra in checks.kept_memory.items()
        }
        problems += checks.problems
        warnings += checks.warnings
        if len(flows) == len(chain(config)):
            faster = "decode" in built["teacher"].iterated and "decode" not in built["student"].iterated
            warnings += _size_warnings(config, flows, faster=faster) + _warnings(config, dataset, flows)
        warnings += checks.slow_terms
        if device is not None:
            for role, flow in flows.items():
                problems += _memory_problems(config, role, flow, available)
    return Description(
        problems=problems,
        warnings=warnings,
        data=_data_summary(config, dataset) if dataset else "",
        event_shape=list(dataset.event_shape) if dataset else [],
        teacher=flows.get("teacher"),
        student=flows.get("student"),
        pairs=checks.matches["student"].pairs,
        device=str(device) if device else "",
        memory_available=available,
        strategy=checks.matches["student"].strategy,
        assistants=[flows.get(role) for role in chain(config)[1:-1]],
        fixed_rows=fixed_rows,
        assistant_pairs=[checks.matches[role].pairs for role in chain(config)[1:-1]],
    )


def check(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return the description of an experiment without problems; arguments as for `describe`.

    Raises
    ------
    ConfigError
        With all problems.
    """
    description = describe(config, teacher=teacher, run=run)
    if description.problems:
        problems = [ConfigProblem(problem.path, problem.message) for problem in description.problems]
        raise ConfigError(problems, config.name)
    return description


@dataclass
class _LearnerChecks:
    """The checks of all flows that learn from another."""

    matches: defaultdict[Role, MatchingCheck] = field(
        default_factory=lambda: defaultdict[Role, MatchingCheck](MatchingCheck)
    )
    problems: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    warnings: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    slow_terms: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    kept_memory: dict[Role, int] = field(default_factory=dict[Role, int])


def _check_learners(
    config: ExperimentConfig, dataset: Dataset, seen: Dataset, flows: Mapping[Role, Flow]
) -> _LearnerChecks:
    checks = _LearnerChecks()
    for role in learners(config):
        student, teacher = flows.get(role), flows.get(teacher_of(config, role) or "teacher")
        if student is None or teacher is None:
            continue
        match = checks.matches[role] = check_matching(config, role, student, teacher)
        checks.problems += match.problems
        found = _term_problems(config, student, teacher, dataset) + pool_problems(config, teacher, dataset)
        if role == "student":
            found += _metric_problems(config, dataset, student, teacher)
        checks.problems += [problem for problem in found if problem not in checks.problems]
        checks.warnings += match.warnings
        shape, layers, steps = dataset.event_shape, teacher.layer_info(), stage_steps(config)[role]
        cache = planned_cache(config, match.pairs, layers, shape, steps=steps, train_rows=seen.fixed_rows)
        checks.kept_memory[role] = kept_memory(config, cache, shape, seen.context_features, draws=seen.drawn_rows)
        costs = pass_cost(student), pass_cost(teacher)
        checks.slow_terms += slow_terms(config, *costs, the_role(role), cached=cache.share)
        checks.slow_terms += slow_pool(config, *costs, steps, images=dataset.is_image, cached=cache.pool)
    return checks


def _search_problems(training: TrainingConfig) -> list[ConfigProblem]:
    if not training.baseline_search or training.optimizer == "adamw":
        return []
    message = f"{training.optimizer} has no weight decay to search: set training.optimizer to adamw, or switch this off"
    return [ConfigProblem("training.baseline_search", message)]


def _ablation_problems(config: ExperimentConfig) -> list[ConfigProblem]:
    if not config.training.ablations or config.distillation.inherit != "none":
        return []
    message = (
        "the student inherits nothing, so the ablation is its baseline: set distillation.inherit, or switch this off"
    )
    return [ConfigProblem("training.ablations", message)]


def _student_data(config: ExperimentConfig, dataset: Dataset) -> tuple[Dataset, list[ConfigProblem]]:
    """Return the data that the student sees, or all of it and why there is no such part."""
    try:
        return stage_data(config, dataset, "student"), []
    except DataError as error:
        return dataset, error.problems


def _table_warnings(config: ExperimentConfig, dataset: Dataset) -> list[ConfigProblem]:
    """Return what to know about a table: suspicious values, and the columns that are left out without being named."""
    warnings = list(dataset.warnings)
    if dataset.unused and not getattr(config.data, "columns", ()):
        message = f"not used: {dataset.describe_unused()}. To choose columns, name them"
        warnings.append(ConfigProblem("data.columns", message))
    return warnings


def _data_summary(config: ExperimentConfig, dataset: Dataset) -> str:
    training, count = config.training, config.training.student_examples
    if not count:
        return dataset.summary
    batches = f", in batches of {count:,}" if training.student_batch_size < training.batch_size else ""
    return f"{dataset.summary}; the student sees {count:,} of the training examples{batches}"


def _metric_problems(config: ExperimentConfig, dataset: Dataset, student: Flow, teacher: Flow) -> list[ConfigProblem]:
    match config.seeds.metric:
        case "same_noise":
            reason = no_same_noise(student, teacher)
            message = f"the distance to the teacher's samples is not defined, because {reason}"
        case "fd":
            missing = teacher.unsupported.get("latents")
            reason = missing and no_features(dataset)
            message = (
                f"FD-local needs class labels or the teacher's latents: {reason}, and the teacher has none: {missing}"
            )
        case _:
            return []
    return [ConfigProblem("seeds.metric", f"{message}: choose another metric")] if reason else []


def _flow_problems(
    config: ExperimentConfig, event_shape: Sequence[int], teacher: ForeignFlow | None
) -> list[ConfigProblem]:
    return [
        ConfigProblem(f"{flow_path(role)}.{problem.path}", problem.message)
        for role in (learners(config) if teacher else chain(config))
        for problem in flow_problems(flow_config(config, role), event_shape)
    ]


def _build_valid_flows(
    config: ExperimentConfig, dataset: Dataset, teacher: ForeignFlow | None, problems: Sequence[ConfigProblem]
) -> dict[Role, Flow]:
    """Build the flows without problems on the meta device; a teacher of another library is used as it is."""
    flows: dict[Role, Flow] = {}
    for role in chain(config):
        if any(problem.path.startswith(f"{flow_path(role)}.") for problem in problems):
            continue
        if role == "teacher" and teacher is not None:
            flows[role] = teacher
        else:
            flows[role] = meta_flow(flow_config(config, role), tuple(dataset.event_shape), dataset.context_features)
    return flows


def _describe_flow(config: ExperimentConfig, role: Role, flow: Flow, dataset: Dataset) -> FlowDescription:
    if isinstance(flow, ForeignFlow):
        summary, (parameters, multiply_adds, memory) = flow.origin, frozen_cost(flow)
    else:
        summary = flow_summary(flow_config(config, role))
        cost, memory = stage_cost(config, role, dataset)
        parameters, multiply_adds = cost.parameters, cost.multiply_adds
        if role == "teacher" and config.training.teacher_given:
            memory = 4 * parameters  # only the weights, in float32
    return FlowDescription(
        summary=summary,
        parameters=parameters,
        multiply_adds=multiply_adds,
        memory=memory,
        layers=flow.layer_info(),
    )


def _term_problems(config: ExperimentConfig, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
    return [
        ConfigProblem(f"distillation.{name}.{problem.path}", problem.message)
        for name, term in config.distillation.terms().items()
        if term.weight > 0
        for problem in OBJECTIVES[name](term).problems(student, teacher, dataset)
    ]


def _size_warnings(
    config: ExperimentConfig, flows: Mapping[Role, FlowDescription], *, faster: bool
) -> list[ConfigProblem]:
    """Warn about sizes; `faster` is a student that samples in one pass, unlike its teacher, and may be larger."""
    warnings = []
    student, teacher = flows["student"].parameters, flows["teacher"].parameters
    if student >= teacher and not faster:
        warnings.append(
            ConfigProblem("student", f"the student ({student:,} parameters) is not smaller than its teacher")
        )
    for role in learners(config)[:-1]:
        before = teacher_of(config, role) or "teacher"
        size, larger = flows[role].parameters, flows[before].parameters
        if not student < size < larger:
            message = (
                f"{the_role(role)} ({size:,} parameters) is not between {the_role(before)} ({larger:,}) and the "
                f"student ({student:,}) in size"
            )
            warnings.append(ConfigProblem(flow_path(role), message))
    return warnings


def _batch_warnings(training: TrainingConfig, available: int) -> list[ConfigProblem]:
    """Return whether batches are smaller than configured; `available` is the number of training examples."""
    if training.batch_size <= available:
        return []
    message = f"there are only {available:,} training examples, and every batch has all of them"
    return [ConfigProblem("training.batch_size", message)]


def _warnings(config: ExperimentConfig, dataset: Dataset, flows: Mapping[Role, FlowDescription]) -> list[ConfigProblem]:
    warnings = _batch_warnings(config.training, len(dataset.train))
    terms = config.distillation
    if not terms.pool.share and set(terms.active_terms()) == {"nll"}:
        nothing = "no term uses the teacher, and there is no pool"
        if terms.inherit == "none":
            same = ": student and baseline will be equal" if config.training.baseline else ""
            warnings.append(ConfigProblem("distillation", f"{nothing}{same}"))
        elif config.training.ablations:
            warnings.append(ConfigProblem("training.ablations", f"{nothing}: student and ablation will be equal"))
    seen = config.training.student_examples
    if 0 < seen <= _FEW_EXAMPLES and not terms.pool.share:
        message = f"with only {seen:,} examples of its own, the student gains most from samples of the teacher: try 0.8"
        warnings.append(ConfigProblem("distillation.pool.share", message))
    warnings += _schedule_warnings(config)
    warnings += accumulation_warnings(config, flows)
    return warnings + _verdict_warnings(config)


def _schedule_warnings(config: ExperimentConfig) -> list[ConfigProblem]:
    """Warn about schedules without effect because convex weights are divided by their sum."""
    terms = config.distillation.terms()
    scheduled = [name for name in stage_terms(config, "student") if terms[name].schedule != "constant"]
    steps = config.training.student_steps
    sampled = [weights_at(config.distillation, step, steps) for step in range(0, steps, max(1, steps // 20))]
    constant = all(math.isclose(weights[name], sampled[0][name]) for weights in sampled for name in weights)
    if not scheduled or not constant or len(sampled) == 1:
        return []
    message = "the schedule has no effect: convex weights are divided by their sum, and stay constant here"
    return [ConfigProblem(f"distillation.{scheduled[0]}.schedule", message)]


def _verdict_warnings(config: ExperimentConfig) -> list[ConfigProblem]:
    if not config.training.baseline:
        return [ConfigProblem("training.baseline", "only a baseline shows whether the teacher helped")]
    warnings = []
    if config.seeds.count < 3:
        warnings.append(ConfigProblem("seeds.count", "a verdict needs at least three seeds"))
    if config.seeds.metric == "samples_per_second":
        message = "student and baseline are the same flow: their speed differs only by chance and by other load"
        warnings.append(ConfigProblem("seeds.metric", message))
    return warnings


def _memory_problems(
    config: ExperimentConfig, role: Role, flow: FlowDescription, available: int
) -> list[ConfigProblem]:
    if flow.memory <= available:
        return []
    parts = ["the flow", "the batch"]
    if role in learners(config):
        parts += ["the pool"] if config.distillation.pool.share else []
        parts += ["training.noise_draws"] if config.training.noise_draws else []
    kept = config.training.activations == "keep"
    message = (
        f"training {the_role(role)} takes about {flow.memory / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
        f"free: make {', '.join(parts[:-1])} or {parts[-1]} smaller"
        f"{', or set training.activations to recompute' if kept else ''}"
    )
    return [ConfigProblem(f"{flow_path(role)}.hidden", message)]
