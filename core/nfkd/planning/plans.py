"""The stages of a run: their flows, steps, terms, curves and relative costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from nfkd.config import ExperimentConfig, TrainingConfig
from nfkd.config.flows import FlowConfig
from nfkd.data import Dataset
from nfkd.flows.architectures import flow_summary
from nfkd.planning.costs import PassCost, step_cost, trained_passes
from nfkd.planning.devices import resolve_device
from nfkd.planning.teacher_cache import TeacherCache, planned_cache
from nfkd.protocol.events import StagePlan
from nfkd.protocol.records import SYSTEM, CurveInfo, LayerPair
from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import ASSISTANTS, TEACHERS, Role, chain_of


def chain(config: ExperimentConfig) -> list[Role]:
    """Return teacher, assistants and student; each learns from the one before it."""
    return chain_of(len(config.assistants))


def learners(config: ExperimentConfig) -> list[Role]:
    """Return the flows that learn from another."""
    return chain(config)[1:]


def teacher_of(config: ExperimentConfig, role: Role) -> Role | None:
    """Return the role that a flow learns from; None for those that learn only from the data."""
    return dict(pairwise(reversed(chain(config)))).get(role)


def run_roles(config: ExperimentConfig) -> list[Role]:
    """Return the flows of a run, in the order of their stages."""
    training = config.training
    compared: list[Role] = ["baseline"] if training.baseline else []
    return [*chain(config), *compared, *(["ablation"] if training.ablations else [])]


def seed_stages(config: ExperimentConfig, seed: int) -> list[Role]:
    """Return the stages of a seed; unless retrained, teacher and assistants belong to the first seed."""
    own = config.seeds.retrain_teacher or seed == config.seeds.first
    return [role for role in run_roles(config) if own or role not in TEACHERS]


def stage_steps(config: ExperimentConfig) -> dict[Role, int]:
    """Return the number of steps of each stage; zero for a given teacher."""
    training = config.training
    steps: dict[Role, int] = dict.fromkeys(run_roles(config), training.student_steps)
    steps |= dict.fromkeys(ASSISTANTS[: len(config.assistants)], training.assistant_steps)
    steps["teacher"] = 0 if training.teacher_given else training.teacher_steps
    return steps


def stage_data(config: ExperimentConfig, dataset: Dataset, stage: Role) -> Dataset:
    """Return the data of a stage: all of it for the teacher, else only the training examples of the student.

    Raises
    ------
    DataError
        As `Dataset.with_training_examples`.
    """
    if stage == "teacher":
        return dataset
    some, draws = dataset.with_training_examples(config.training.student_examples), config.training.noise_draws
    return replace(some, noise_draws=draws) if draws else some


def stage_batch_size(config: ExperimentConfig, stage: Role) -> int:
    """Return the number of examples in a batch of a stage."""
    return config.training.batch_size if stage == "teacher" else config.training.student_batch_size


def stage_terms(config: ExperimentConfig, stage: Role) -> list[str]:
    """Return the terms of a stage's loss whose weight is not zero."""
    if teacher_of(config, stage) is None:
        return ["nll"]
    return list(config.distillation.active_terms())


def stage_training(config: ExperimentConfig, stage: Role) -> TrainingConfig:
    """Return the settings of a stage's training: the teacher may have an optimizer and a rate of its own."""
    training = config.training
    if stage != "teacher":
        return training
    optimizer = training.optimizer if training.teacher_optimizer == "same" else training.teacher_optimizer
    rate = training.teacher_learning_rate or training.learning_rate
    return training.model_copy(update={"optimizer": optimizer, "learning_rate": rate})


def flow_config(config: ExperimentConfig, stage: Role) -> FlowConfig:
    """Return the flow that a stage trains."""
    if stage in ASSISTANTS:
        return config.assistants[ASSISTANTS.index(stage)]
    return config.teacher if stage == "teacher" else config.student


def flow_path(role: Role) -> str:
    """Return the path of a flow's fields in the experiment."""
    return f"assistants.{ASSISTANTS.index(role)}" if role in ASSISTANTS else role


def teacher_label(config: ExperimentConfig, given: str = "") -> str:
    """Return a label of teacher and assistants; `given` is that of a teacher from Python."""
    return " → ".join([given or flow_summary(config.teacher), *map(flow_summary, config.assistants)])


def described(description: Description, role: Role) -> FlowDescription | None:
    """Return the description of a flow."""
    if role in ASSISTANTS:
        return description.assistants[ASSISTANTS.index(role)]
    return description.teacher if role == "teacher" else description.student


def stage_pairs(description: Description) -> dict[Role, list[LayerPair]]:
    """Return the matched layers of each flow that learns from another."""
    pairs: dict[Role, list[LayerPair]] = dict(zip(ASSISTANTS, description.assistant_pairs, strict=False))
    pairs["student"] = description.pairs
    return pairs


def stage_plans(config: ExperimentConfig, dataset: Dataset, description: Description, seed: int) -> list[StagePlan]:
    """Return the plans of a seed's stages, with all their curves."""
    steps, pairs = stage_steps(config), stage_pairs(description)
    return [
        StagePlan(
            stage=stage,
            steps=steps[stage],
            curves=_curves(config, stage_terms(config, stage), dataset.unit, shares=config.monitor.shares_every > 0),
            pairs=pairs.get(stage, []),
            epoch=_epoch(len(stage_data(config, dataset, stage).train), config.training.batch_size),
        )
        for stage in seed_stages(config, seed)
    ]


def _epoch(examples: int, batch_size: int) -> int:
    """Return the steps of an epoch; its incomplete last batch is dropped."""
    return examples // min(batch_size, examples)


def _curves(config: ExperimentConfig, terms: Sequence[str], unit: str, *, shares: bool) -> list[CurveInfo]:
    settings = config.distillation.terms()
    labels = {name: settings[name].label for name in terms}
    weighted = labels if len(terms) > 1 else {}
    measured = weighted if shares else {}
    return [
        CurveInfo(name="train/total", label="Total loss"),
        *[
            CurveInfo(name=f"train/{name}", label=labels[name], unit=settings[name].value_unit or unit)
            for name in terms
        ],
        CurveInfo(name="validation/nll", label="NLL", unit=unit),
        CurveInfo(name="learning_rate", label="Learning rate"),
        CurveInfo(name="gradient_norm", label="Gradient norm"),
        *[CurveInfo(name=f"weighted/{name}", label=f"{label}, weighted") for name, label in weighted.items()],
        *[CurveInfo(name=f"share/{name}", label=f"{label}, gradient share") for name, label in measured.items()],
        CurveInfo(name="masked", label="Masked examples", unit="examples"),
        *_system_curves(config),
    ]


def _system_curves(config: ExperimentConfig) -> list[CurveInfo]:
    """Return the curves about the machine: of the whole engine process, and of the whole CUDA device."""
    curves = [("cpu", "CPU", "% of a core"), ("memory", "Memory", "MiB"), ("steps_per_second", "Speed", "steps/s")]
    if resolve_device(config.compute).type == "cuda":
        curves += [("gpu", "GPU use", "%"), ("gpu_memory", "GPU memory", "MiB")]
    return [CurveInfo(name=f"{SYSTEM}{name}", label=label, unit=unit) for name, label, unit in curves]


def stage_costs(config: ExperimentConfig, description: Description) -> dict[Role, float]:
    """Return the relative cost of a step of each stage, from the flows' multiply-adds and the sizes of the batches.

    A training step costs about three passes, or four with recomputed activations; with a teacher, the terms' passes are
    added.
    """
    return {role: _stage_cost(config, description, role) for role in run_roles(config)}


def described_cache(config: ExperimentConfig, description: Description, role: Role) -> TeacherCache:
    """Return which passes of the teacher of a flow are made once; none for a flow that learns from the data alone."""
    before = teacher_of(config, role)
    teacher = described(description, before) if before else None
    if teacher is None:
        return TeacherCache()
    return planned_cache(
        config,
        stage_pairs(description).get(role, []),
        teacher.layers,
        description.event_shape,
        steps=stage_steps(config)[role],
        train_rows=description.fixed_rows,
    )


def search_cost(config: ExperimentConfig, description: Description) -> float:
    """Return the relative cost of a step of a baseline, as `stage_costs`, also in a run without a baseline."""
    return _stage_cost(config, description, "baseline")


def _stage_cost(config: ExperimentConfig, description: Description, role: Role) -> float:
    flow, before = described(description, role), teacher_of(config, role)
    teacher = described(description, before) if before else None
    if flow is None or (before and teacher is None):
        msg = "the experiment has problems, so its cost is unknown"
        raise ValueError(msg)
    batch_size, micro_batches = stage_batch_size(config, role), config.training.accumulate
    trained = trained_passes(config.training)
    cost = float(trained * flow.multiply_adds)
    if teacher is not None:
        terms = config.distillation
        student_pass, teacher_pass = (PassCost(each.multiply_adds, each.multiply_adds) for each in (flow, teacher))
        cached, passes = described_cache(config, description, role).share, (student_pass, teacher_pass)
        cost = step_cost(terms, batch_size, *passes, micro_batches=micro_batches, cached=cached, trained=trained)
    return cost * batch_size / config.training.batch_size
