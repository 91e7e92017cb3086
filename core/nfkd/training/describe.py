"""What would this experiment be? Faults of meaning, and an estimate of its size, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nfkd.config import ConfigError, ExperimentConfig, Fault
from nfkd.config.flows import FlowConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import build_flow, flow_faults, flow_words
from nfkd.flows.cost import frozen_cost
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.protocol.requests import ConfigFault, Description, FlowDescription
from nfkd.training.costs import pass_cost, slow_terms
from nfkd.training.devices import (
    device_faults,
    memory_available,
    precision_faults,
    precision_warnings,
    resolve_device,
)
from nfkd.training.matched import Matched, matched
from nfkd.training.micro_batches import accumulation_faults, accumulation_warnings, stage_cost
from nfkd.training.teachers import given_faults


def describe(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return the faults of an experiment, all at once, beside its estimated size.

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
    faults = device_faults(config.compute)
    device = resolve_device(config.compute) if not faults else None
    available = memory_available(device) if device else 0
    faults += accumulation_faults(config) + precision_faults(config.training, device)
    warnings = precision_warnings(config.training, device)
    dataset = None
    try:
        dataset = load_dataset(config.data)
    except DataError as error:
        faults += error.faults
        if error.event_shape:
            faults += _flow_faults(config, error.event_shape, teacher)
    faults += given_faults(config, dataset, teacher, run)
    flows: dict[str, FlowDescription] = {}
    match = Matched()
    if dataset is not None:
        faults += _flow_faults(config, dataset.event_shape, teacher)
        bad = {fault.path.partition(".")[0] for fault in faults}
        flows = {role: _flow(config, role, dataset, teacher) for role in ("teacher", "student") if role not in bad}
        if len(flows) == 2:
            student, given = _on_meta(config.student, dataset), teacher or _on_meta(config.teacher, dataset)
            match = matched(config, student, given)
            faults += match.faults + _term_faults(config, student, given, dataset)
            warnings += match.warnings + _warnings(config, dataset, flows["student"], flows["teacher"])
            warnings += slow_terms(config, pass_cost(student), pass_cost(given))
        if device is not None:
            faults += [fault for role, flow in flows.items() for fault in _memory_faults(role, flow, available)]
    return Description(
        faults=_wire(faults),
        warnings=_wire(warnings),
        data=dataset.words if dataset else "",
        event_shape=list(dataset.event_shape) if dataset else [],
        teacher=flows.get("teacher"),
        student=flows.get("student"),
        pairs=match.pairs,
        device=str(device) if device else "",
        memory_available=available,
        strategy=match.strategy,
    )


def check(config: ExperimentConfig, *, teacher: ForeignFlow | None = None, run: Path | None = None) -> Description:
    """Return the description of an experiment that may run; arguments as `describe`.

    Raises
    ------
    ConfigError
        With every fault, when it may not.
    """
    description = describe(config, teacher=teacher, run=run)
    if description.faults:
        raise ConfigError([Fault(fault.path, fault.message) for fault in description.faults], config.name)
    return description


def _flow_faults(config: ExperimentConfig, event_shape: Sequence[int], teacher: ForeignFlow | None) -> list[Fault]:
    return [
        Fault(f"{role}.{fault.path}", fault.message)
        for role in (("student",) if teacher else ("teacher", "student"))
        for fault in flow_faults(_config(config, role), event_shape)
    ]


def _config(config: ExperimentConfig, role: str) -> FlowConfig:
    return config.teacher if role == "teacher" else config.student


def _flow(config: ExperimentConfig, role: str, dataset: Dataset, teacher: ForeignFlow | None) -> FlowDescription:
    if role == "teacher" and teacher is not None:
        parameters, multiply_adds, memory = frozen_cost(teacher)
        return FlowDescription(
            summary=teacher.origin,
            parameters=parameters,
            multiply_adds=multiply_adds,
            memory=memory,
            layers=teacher.layer_info(),
        )
    chosen = _config(config, role)
    cost, memory = stage_cost(config, role, dataset)
    flow = _on_meta(chosen, dataset)
    given = role == "teacher" and config.training.teacher_given
    return FlowDescription(
        summary=flow_words(chosen),
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        memory=4 * cost.parameters if given else memory,
        layers=flow.layer_info(),
    )


def _on_meta(config: FlowConfig, dataset: Dataset) -> Flow:
    return build_flow(config, dataset.event_shape, context_features=dataset.context_features, device="meta")


def _term_faults(config: ExperimentConfig, student: Flow, teacher: Flow, dataset: Dataset) -> list[Fault]:
    return [
        Fault(f"distillation.{name}.{fault.path}", fault.message)
        for name, term in config.distillation.terms().items()
        if term.weight > 0
        for fault in OBJECTIVES[name](term).faults(student, teacher, dataset)
    ]


def _warnings(
    config: ExperimentConfig, dataset: Dataset, student: FlowDescription, teacher: FlowDescription
) -> list[Fault]:
    warnings = []
    if student.parameters >= teacher.parameters:
        message = f"the student ({student.parameters:,} parameters) is not smaller than its teacher"
        warnings.append(Fault("student", message))
    if config.training.batch_size > len(dataset.train):
        message = f"there are only {len(dataset.train):,} training examples: a batch takes them all"
        warnings.append(Fault("training.batch_size", message))
    if not any(weight for name, weight in config.distillation.weights().items() if name != "nll"):
        same = ": student and baseline will be the same" if config.training.baseline else ""
        warnings.append(Fault("distillation", f"no term uses the teacher{same}"))
    warnings += accumulation_warnings(config, {"teacher": teacher, "student": student})
    return warnings + _verdict_warnings(config)


def _verdict_warnings(config: ExperimentConfig) -> list[Fault]:
    if not config.training.baseline:
        return [Fault("training.baseline", "without a baseline nothing says whether the teacher helped")]
    warnings = []
    if config.seeds.count < 3:
        warnings.append(Fault("seeds.count", "a verdict needs at least three seeds"))
    if config.seeds.metric == "samples_per_second":
        message = "student and baseline are the same flow: they differ in speed by chance and by what else runs"
        warnings.append(Fault("seeds.metric", message))
    return warnings


def _memory_faults(role: str, flow: FlowDescription, available: int) -> list[Fault]:
    if flow.memory <= available:
        return []
    message = (
        f"training the {role} takes about {flow.memory / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are free: "
        "make the flow or the batch smaller"
    )
    return [Fault(f"{role}.hidden", message)]


def _wire(faults: Sequence[Fault]) -> list[ConfigFault]:
    return [ConfigFault(path=fault.path, message=fault.message) for fault in faults]
