"""The expected time of a run, from the times of its parts: steps, evaluations, pictures, pools and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nfkd.config import WEIGHT_DECAYS, ExperimentConfig
from nfkd.config.schedules import weights_at
from nfkd.data import Dataset
from nfkd.distillation.balance import balance_weights, gradient_shares
from nfkd.planning.plans import (
    described,
    described_cache,
    run_roles,
    search_cost,
    seed_stages,
    stage_batch_size,
    stage_costs,
    stage_steps,
    teacher_of,
)
from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import Role
from nfkd.protocol.times import StageTime, TimeEstimate

_MULTIPLY_ADDS = 1e10  # a second
_LAYER_SECONDS = 1e-4  # of a pass, however few examples it has
_MEASURES_SECONDS = 0.5
_SPEED_SAMPLES = 6 * 256  # of the measurement of a flow's speed


@dataclass(frozen=True)
class UnitTimes:
    """Seconds of the parts of a stage.

    Attributes
    ----------
    step
        A step, without evaluations and pictures.
    evaluation, picture, checkpoint
        One of each, during the training.
    pool, summary
        All that happens before the first step, and after the last.
    """

    step: float
    evaluation: float = 0.0
    picture: float = 0.0
    checkpoint: float = 0.0
    pool: float = 0.0
    summary: float = 0.0


def stage_time(config: ExperimentConfig, stage: Role, unit: UnitTimes) -> StageTime:
    """Return the expected time of a stage, for its full budget."""
    steps, monitor = stage_steps(config)[stage], config.monitor
    evaluations = _count(steps, monitor.evaluate_every, (steps,))
    pictures = _count(steps, monitor.pictures_every, (1, steps))
    checkpoints = steps // config.training.checkpoint_every
    return StageTime(
        stage=stage,
        steps=steps,
        step_seconds=unit.step,
        pool=unit.pool,
        monitoring=evaluations * unit.evaluation + pictures * unit.picture + checkpoints * unit.checkpoint,
        summary=unit.summary,
    )


def _count(steps: int, every: int, others: Sequence[int]) -> int:
    """Return how many of the steps from 1 on are multiples of `every`, or one of the others."""
    return steps // every + len({step for step in others if 0 < step <= steps and step % every})


def search_time(config: ExperimentConfig, baseline: UnitTimes) -> StageTime:
    """Return the expected time of the search for the weight decay, all trials together; it draws no pictures."""
    steps, trials = config.training.student_steps, len(WEIGHT_DECAYS)
    evaluations = _count(steps, config.monitor.evaluate_every, (steps,))
    monitoring = trials * evaluations * baseline.evaluation
    return StageTime(stage="baseline", steps=trials * steps, step_seconds=baseline.step, monitoring=monitoring)


def stage_times(config: ExperimentConfig, units: Mapping[Role, UnitTimes]) -> list[StageTime]:
    """Return the expected times of the first seed's stages, in order."""
    return [stage_time(config, role, units[role]) for role in run_roles(config)]


def first_shares(config: ExperimentConfig, norms: Mapping[str, float]) -> dict[str, float]:
    """Return each term's share of the student's gradient at its first step.

    Parameters
    ----------
    norms
        The norm of each term's gradient before its weight; without them only the share of a single term is known.
    """
    weights = weights_at(config.distillation, 0, config.training.student_steps)
    if len(weights) == 1:
        return dict.fromkeys(weights, 1.0)
    if set(norms) != set(weights):
        return {}
    if config.distillation.balance == "gradient_norm":
        weights = {name: float(weight) for name, weight in balance_weights(weights, norms).items()}
    shares = gradient_shares(weights, norms)
    return shares if all(math.isfinite(share) for share in shares.values()) else {}


def time_estimate(
    config: ExperimentConfig,
    units: Mapping[Role, UnitTimes],
    preparation: float,
    guessed: Sequence[Role] = (),
    shares: Mapping[str, float] | None = None,
) -> TimeEstimate:
    """Return the expected time of a run; `units` has the baseline, too, if there is a search."""
    stages = stage_times(config, units)
    seconds = {time.stage: time.seconds for time in stages}
    search = search_time(config, units["baseline"]).seconds if config.training.baseline_search else 0.0
    seeds = config.seeds.values()
    total = sum(seconds[stage] for seed in seeds for stage in seed_stages(config, seed))
    return TimeEstimate(
        stages=stages,
        preparation=preparation,
        search=search,
        seconds=preparation + search + total,
        seeds=len(seeds),
        guessed=[role for role in run_roles(config) if role in guessed],
        shares=dict(shares or {}),
    )


def rough_units(config: ExperimentConfig, description: Description, dataset: Dataset) -> dict[Role, UnitTimes]:
    """Return times from the sizes of the flows alone; only their ratios are of use.

    A pass takes a time for each layer, and a time for each multiply-add.
    """
    costs: dict[Role, float] = {**stage_costs(config, description), "baseline": search_cost(config, description)}
    return {role: _rough_unit(config, description, dataset, role, cost) for role, cost in costs.items()}


def _rough_unit(
    config: ExperimentConfig, description: Description, dataset: Dataset, role: Role, cost: float
) -> UnitTimes:
    flow, before = described(description, role), teacher_of(config, role)
    teacher = described(description, before) if before else None
    if flow is None:
        return UnitTimes(step=0.0)
    per_example = cost * config.training.batch_size / stage_batch_size(config, role) / max(1, flow.multiply_adds)
    step = per_example * _pass_seconds(flow, stage_batch_size(config, role))
    monitor, count = config.monitor, min(len(dataset.test), 2000)
    drawn = monitor.sample_count + 2 * monitor.interpolation_steps
    figures = len(dataset.validation) + 2 * len(dataset.test) + _SPEED_SAMPLES + count
    same_noise = _pass_seconds(teacher, count) if teacher else 0.0
    return UnitTimes(
        step=step,
        evaluation=_pass_seconds(flow, min(monitor.validation_examples, len(dataset.validation))),
        picture=2 * _pass_seconds(flow, drawn),
        pool=_rough_pool(config, description, role, teacher) if teacher else 0.0,
        summary=_pass_seconds(flow, figures) + same_noise + _MEASURES_SECONDS * count / 1000,
    )


def _pass_seconds(flow: FlowDescription, examples: int) -> float:
    chunks = 1 + examples // 512
    return chunks * len(flow.layers) * _LAYER_SECONDS + examples * flow.multiply_adds / _MULTIPLY_ADDS


def _rough_pool(config: ExperimentConfig, description: Description, role: Role, teacher: FlowDescription) -> float:
    """Return the seconds of drawing the pool, and of the passes over rows that come again."""
    pool, cache = config.distillation.pool, described_cache(config, description, role)
    seconds = _pass_seconds(teacher, description.fixed_rows) if cache.train else 0.0
    if not pool.share:
        return seconds
    rows = pool.samples(images=len(description.event_shape) > 1)
    return seconds + (3 if cache.pool else 2) * _pass_seconds(teacher, rows)
