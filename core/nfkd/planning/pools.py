"""The pool of an experiment before it runs: problems and time."""

from __future__ import annotations

from nfkd.config import ConfigProblem, ExperimentConfig
from nfkd.data import Dataset
from nfkd.flows.flow import Flow
from nfkd.planning.costs import PassCost, step_cost

_SHARE = "distillation.pool.share"
_BYTES = 4


def pool_problems(config: ExperimentConfig, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
    """Return why there can be no pool of a teacher's samples; none without a pool."""
    pool = config.distillation.pool
    if not pool.share:
        return []
    problems = []
    if "synthesis" in teacher.unsupported:
        message = f"the teacher cannot sample: {teacher.unsupported['synthesis']}; set it to 0"
        problems.append(ConfigProblem(_SHARE, message))
    if pool.share == 1 and dataset.context_features:
        message = (
            "a share of 1 uses no real data, and the contexts of the samples are from real data: choose less than 1"
        )
        problems.append(ConfigProblem(_SHARE, message))
    size = min(config.training.student_batch_size, len(dataset.train))
    if not pool.rows(size) or (pool.share < 1 and pool.rows(size) == size):
        real = "real examples" if pool.rows(size) else "samples of the teacher"
        message = f"{pool.share:g} of a batch of {size:,} leaves no {real}: make training.batch_size larger"
        problems.append(ConfigProblem(_SHARE, message))
    if 0 < pool.size < pool.rows(size):
        message = (
            f"a pool of {pool.size:,} is smaller than the {pool.rows(size):,} samples that each batch takes from it: "
            "make it larger, or set it to 0 for the automatic size"
        )
        problems.append(ConfigProblem("distillation.pool.size", message))
    return problems


def slow_pool(
    config: ExperimentConfig, student: PassCost, teacher: PassCost, steps: int, *, images: bool, cached: bool
) -> list[ConfigProblem]:
    """Return a warning if drawing the pool takes longer than the training that uses it.

    Parameters
    ----------
    config
        The experiment.
    student, teacher
        The cost of the passes of a flow that learns, and of the flow that it learns from.
    steps
        Steps of the former.
    images
        Whether the data are images.
    cached
        Whether the teacher's passes over the pool are cached.
    """
    terms, batch_size = config.distillation, config.training.student_batch_size
    if not terms.pool.share:
        return []
    rows = terms.pool.samples(images=images)
    drawing = rows * (teacher.decode + teacher.encode * (2 if cached else 1))
    step = batch_size * step_cost(terms, batch_size, student, teacher, cached=cached * terms.pool.share)
    if drawing <= steps * step:
        return []
    features = max(student.sequential, teacher.sequential)
    reason = f"; an autoregressive flow computes {features} features one after another" if features > 1 else ""
    message = (
        f"drawing {rows:,} samples of the teacher takes about as long as {drawing / step:,.0f} steps, and the training "
        f"has {steps:,}{reason}: set a smaller size"
    )
    return [ConfigProblem("distillation.pool.size", message)]
