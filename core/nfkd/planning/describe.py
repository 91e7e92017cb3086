"""What would this experiment be? Problems of meaning, and an estimate of its size, before anything runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.schedules import weights_at
from nfkd.flows.architectures import build_flow, flow_problems, flow_summary
from nfkd.flows.cost import frozen_cost
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.costs import pass_cost, slow_terms
from nfkd.planning.devices import (
    device_problems,
    memory_available,
    precision_problems,
    precision_warnings,
    resolve_device,
)
from nfkd.planning.matching_check import Matched, matched
from nfkd.planning.micro_batches import accumulation_problems, accumulation_warnings, stage_cost
from nfkd.planning.plans import chain, flow_config, flow_path, learners, stage_terms, teacher_of
from nfkd.planning.teachers import given_problems, given_warnings, on_scaled_values
from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import Role, the_role


@plain_torch()
def describe(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return the problems of an experiment, all at once, beside its estimated size.

    Nothing of the experiment's size is allocated: the flows are built without storage.

    Parameters
    ----------
    config
        The experiment.
    teacher
        A flow of another library that was given in Python to teach.
    run
        A run that is gone on with: a teacher that it has a copy of needs its file no more.
    """
    problems = device_problems(config.compute)
    device = resolve_device(config.compute) if not problems else None
    available = memory_available(device) if device else 0
    problems += accumulation_problems(config) + precision_problems(config.training, device)
    warnings = precision_warnings(config.training, device) + given_warnings(config, run)
    dataset = None
    try:
        dataset = load_dataset(config.data)
    except DataError as error:
        problems += error.problems
        if error.event_shape:
            problems += _flow_problems(config, error.event_shape, teacher)
    problems += given_problems(config, dataset, teacher, run)
    flows: dict[Role, FlowDescription] = {}
    links = _Links()
    if dataset is not None:
        teacher = None if teacher is None else on_scaled_values(teacher, dataset)
        problems += _flow_problems(config, dataset.event_shape, teacher)
        bad = [f"{problem.path}." for problem in problems]
        good: list[Role] = [
            role for role in chain(config) if not any(path.startswith(f"{flow_path(role)}.") for path in bad)
        ]
        flows = {role: _flow(config, role, dataset, teacher) for role in good}
        links = _look_at_links(config, dataset, good, teacher)
        problems += links.problems
        warnings += links.warnings
        if len(flows) == len(chain(config)):
            warnings += _warnings(config, dataset, flows)
        warnings += links.slow
        if device is not None:
            problems += [problem for role, flow in flows.items() for problem in _memory_problems(role, flow, available)]
    return Description(
        problems=problems,
        warnings=warnings,
        data=dataset.summary if dataset else "",
        event_shape=list(dataset.event_shape) if dataset else [],
        teacher=flows.get("teacher"),
        student=flows.get("student"),
        pairs=links.matches["student"].pairs,
        device=str(device) if device else "",
        memory_available=available,
        strategy=links.matches["student"].strategy,
        assistants=[flows.get(role) for role in chain(config)[1:-1]],
        assistant_pairs=[links.matches[role].pairs for role in chain(config)[1:-1]],
    )


def check(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return the description of an experiment that may run; arguments as `describe`.

    Raises
    ------
    ConfigError
        With every problem, when it may not.
    """
    description = describe(config, teacher=teacher, run=run)
    if description.problems:
        raise ConfigError(
            [ConfigProblem(problem.path, problem.message) for problem in description.problems], config.name
        )
    return description


@dataclass
class _Links:
    """What is to be said of each flow and the one that it learns from."""

    matches: defaultdict[Role, Matched] = field(default_factory=lambda: defaultdict[Role, Matched](Matched))
    problems: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    warnings: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    slow: list[ConfigProblem] = field(default_factory=list[ConfigProblem])


def _look_at_links(
    config: ExperimentConfig, dataset: Dataset, good: Sequence[Role], given: ForeignFlow | None
) -> _Links:
    links = _Links()
    flows = {
        role: given if role == "teacher" and given is not None else _on_meta(config, role, dataset) for role in good
    }
    for role in learners(config):
        student, teacher = flows.get(role), flows.get(teacher_of(config, role) or "teacher")
        if student is None or teacher is None:
            continue
        match = links.matches[role] = matched(config, role, student, teacher)
        links.problems += match.problems
        links.problems += [
            problem for problem in _term_problems(config, student, teacher, dataset) if problem not in links.problems
        ]
        links.warnings += match.warnings
        links.slow += slow_terms(config, pass_cost(student), pass_cost(teacher), the_role(role))
    return links


def _flow_problems(
    config: ExperimentConfig, event_shape: Sequence[int], teacher: ForeignFlow | None
) -> list[ConfigProblem]:
    return [
        ConfigProblem(f"{flow_path(role)}.{problem.path}", problem.message)
        for role in (learners(config) if teacher else chain(config))
        for problem in flow_problems(flow_config(config, role), event_shape)
    ]


def _flow(config: ExperimentConfig, role: Role, dataset: Dataset, teacher: ForeignFlow | None) -> FlowDescription:
    if role == "teacher" and teacher is not None:
        parameters, multiply_adds, memory = frozen_cost(teacher)
        return FlowDescription(
            summary=teacher.origin,
            parameters=parameters,
            multiply_adds=multiply_adds,
            memory=memory,
            layers=teacher.layer_info(),
        )
    cost, memory = stage_cost(config, role, dataset)
    flow = _on_meta(config, role, dataset)
    given = role == "teacher" and config.training.teacher_given
    return FlowDescription(
        summary=flow_summary(flow_config(config, role)),
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        memory=4 * cost.parameters if given else memory,
        layers=flow.layer_info(),
    )


def _on_meta(config: ExperimentConfig, role: Role, dataset: Dataset) -> Flow:
    features = dataset.context_features
    return build_flow(flow_config(config, role), dataset.event_shape, context_features=features, device="meta")


def _term_problems(config: ExperimentConfig, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
    return [
        ConfigProblem(f"distillation.{name}.{problem.path}", problem.message)
        for name, term in config.distillation.terms().items()
        if term.weight > 0
        for problem in OBJECTIVES[name](term).problems(student, teacher, dataset)
    ]


def _size_warnings(config: ExperimentConfig, flows: Mapping[Role, FlowDescription]) -> list[ConfigProblem]:
    warnings = []
    student, teacher = flows["student"].parameters, flows["teacher"].parameters
    if student >= teacher:
        warnings.append(
            ConfigProblem("student", f"the student ({student:,} parameters) is not smaller than its teacher")
        )
    for role in learners(config)[:-1]:
        before = teacher_of(config, role) or "teacher"
        size, above = flows[role].parameters, flows[before].parameters
        if not student < size < above:
            message = (
                f"{the_role(role)} ({size:,} parameters) is not between {the_role(before)} ({above:,}) and the "
                f"student ({student:,}) in size"
            )
            warnings.append(ConfigProblem(flow_path(role), message))
    return warnings


def _warnings(config: ExperimentConfig, dataset: Dataset, flows: Mapping[Role, FlowDescription]) -> list[ConfigProblem]:
    warnings = _size_warnings(config, flows)
    if config.training.batch_size > len(dataset.train):
        message = f"there are only {len(dataset.train):,} training examples: a batch takes them all"
        warnings.append(ConfigProblem("training.batch_size", message))
    if not any(name != "nll" for name in config.distillation.active_terms()):
        same = ": student and baseline will be the same" if config.training.baseline else ""
        warnings.append(ConfigProblem("distillation", f"no term uses the teacher{same}"))
    warnings += _schedule_warnings(config)
    warnings += accumulation_warnings(config, flows)
    return warnings + _verdict_warnings(config)


def _schedule_warnings(config: ExperimentConfig) -> list[ConfigProblem]:
    """Tell of schedules that convex weights undo: of a term alone, or the same of all."""
    terms = config.distillation.terms()
    moving = [name for name in stage_terms(config, "student") if terms[name].schedule != "constant"]
    steps = config.training.student_steps
    seen = [weights_at(config.distillation, step, steps) for step in range(0, steps, max(1, steps // 20))]
    still = all(math.isclose(weights[name], seen[0][name]) for weights in seen for name in weights)
    if not moving or not still or len(seen) == 1:
        return []
    words = "the schedule changes nothing: the weights are divided by their sum (convex weights), and stay as they are"
    return [ConfigProblem(f"distillation.{moving[0]}.schedule", words)]


def _verdict_warnings(config: ExperimentConfig) -> list[ConfigProblem]:
    if not config.training.baseline:
        return [ConfigProblem("training.baseline", "without a baseline nothing says whether the teacher helped")]
    warnings = []
    if config.seeds.count < 3:
        warnings.append(ConfigProblem("seeds.count", "a verdict needs at least three seeds"))
    if config.seeds.metric == "samples_per_second":
        message = "student and baseline are the same flow: they differ in speed by chance and by what else runs"
        warnings.append(ConfigProblem("seeds.metric", message))
    return warnings


def _memory_problems(role: Role, flow: FlowDescription, available: int) -> list[ConfigProblem]:
    if flow.memory <= available:
        return []
    message = (
        f"training {the_role(role)} takes about {flow.memory / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
        "free: make the flow or the batch smaller"
    )
    return [ConfigProblem(f"{flow_path(role)}.hidden", message)]
