"""What a run will do and record, written down before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from nfkd.config import ExperimentConfig
from nfkd.config.flows import FlowConfig
from nfkd.data import Dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.protocol.events import CurveInfo, LayerPair, StagePlan
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import ROLES, Role
from nfkd.training.costs import PassCost, step_cost


def run_roles(config: ExperimentConfig) -> list[Role]:
    """Return the flows of a run, in the order of their stages."""
    return [role for role in ROLES if role != "baseline" or config.training.baseline]


def seed_stages(config: ExperimentConfig, seed: int) -> list[Role]:
    """Return the stages of a seed: the first seed's teacher serves all unless each has its own."""
    own = config.seeds.retrain_teacher or seed == config.seeds.first
    return [role for role in run_roles(config) if own or role != "teacher"]


def stage_steps(config: ExperimentConfig) -> dict[Role, int]:
    """Return the budget of each stage; a teacher that was given is not trained."""
    student = config.training.student_steps
    teacher = 0 if config.training.teacher_given else config.training.teacher_steps
    return {"teacher": teacher, "student": student, "baseline": student}


def stage_terms(config: ExperimentConfig, stage: Role) -> list[str]:
    """Return the terms of a stage's loss that have a weight."""
    if stage != "student":
        return ["nll"]
    return [name for name, weight in config.distillation.weights().items() if weight > 0]


def flow_config(config: ExperimentConfig, stage: Role) -> FlowConfig:
    """Return the flow that a stage trains."""
    return config.teacher if stage == "teacher" else config.student


def stage_plans(config: ExperimentConfig, dataset: Dataset, pairs: Sequence[LayerPair], seed: int) -> list[StagePlan]:
    """Return the plans of a seed's stages, with every curve that they will have."""
    steps = stage_steps(config)
    return [
        StagePlan(
            stage=stage,
            steps=steps[stage],
            curves=_curves(stage_terms(config, stage), dataset.unit, shares=config.monitor.shares_every > 0),
            pairs=list(pairs) if stage == "student" else [],
        )
        for stage in seed_stages(config, seed)
    ]


def _curves(terms: Sequence[str], unit: str, *, shares: bool) -> list[CurveInfo]:
    labels = {name: OBJECTIVES[name].label for name in terms}
    several = labels if len(terms) > 1 else {}
    measured = several if shares else {}
    return [
        CurveInfo(name="train/total", label="Total loss"),
        *[CurveInfo(name=f"train/{name}", label=labels[name], unit=OBJECTIVES[name].unit or unit) for name in terms],
        CurveInfo(name="validation/nll", label="NLL", unit=unit),
        CurveInfo(name="learning_rate", label="Learning rate"),
        CurveInfo(name="gradient_norm", label="Gradient norm"),
        *[CurveInfo(name=f"weighted/{name}", label=f"{label}, weighted") for name, label in several.items()],
        *[CurveInfo(name=f"share/{name}", label=f"{label}, gradient share") for name, label in measured.items()],
        CurveInfo(name="masked", label="Masked examples", unit="examples"),
    ]


def stage_costs(config: ExperimentConfig, description: Description) -> dict[Role, float]:
    """Return the relative cost of a step of each stage, from the flows' multiply-adds.

    A training step is about three passes; the student's own is told by what its terms need.
    """
    if description.teacher is None or description.student is None:
        msg = "only an experiment without faults has costs"
        raise ValueError(msg)
    teacher, student = description.teacher.multiply_adds, description.student.multiply_adds
    passes = PassCost(student, student), PassCost(teacher, teacher)
    distilled = step_cost(config.distillation, config.training.batch_size, *passes)
    return {"teacher": 3.0 * teacher, "student": distilled, "baseline": 3.0 * student}
