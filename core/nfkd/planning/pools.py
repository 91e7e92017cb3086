"""The pool of an experiment before it runs: problems, the cache of the teacher's passes, memory and time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nfkd.config import ConfigProblem, DistillationConfig, ExperimentConfig
from nfkd.data import Dataset
from nfkd.distillation.needs import Data
from nfkd.flows.flow import Flow
from nfkd.planning.costs import PassCost, step_cost, term_needs
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo

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


def cached_layers(
    config: DistillationConfig,
    pairs: Sequence[LayerPair],
    layers: Sequence[LayerInfo],
    event_shape: Sequence[int],
    rows: int,
) -> list[str] | None:
    """Return which layers of the teacher are cached for the rows of a pool, beside log p and the latents.

    Parameters
    ----------
    config
        The terms and the pool.
    pairs, layers
        The matched layers, and the layers of the teacher.
    event_shape
        Shape of one example.
    rows
        Rows of the pool.

    Returns
    -------
    list[str] | None
        None where there is no cache: no term reads the teacher's pass over the data, a term differentiates it, or it
        needs more memory than `PoolConfig.cache`.
    """
    needs = term_needs(config).get(Data())
    if not config.pool.share or needs is None or not needs.teacher or needs.input_gradient:
        return None
    names = [pair.teacher for pair in pairs] if needs.trace else []
    return names if _cache_bytes(names, layers, event_shape, rows) <= config.pool.cache << 20 else None


def _cache_bytes(names: Sequence[str], layers: Sequence[LayerInfo], event_shape: Sequence[int], rows: int) -> int:
    sizes = {layer.name: math.prod(layer.shape) for layer in layers}
    values = math.prod(event_shape) + 2 + sum(sizes[name] + 1 for name in names)  # with log p and log-determinants
    return _BYTES * rows * values


def cached_share(
    config: DistillationConfig, pairs: Sequence[LayerPair], layers: Sequence[LayerInfo], event_shape: Sequence[int]
) -> float:
    """Return the part of a batch over which the teacher makes no pass, since it is cached; as `cached_layers`."""
    rows = config.pool.samples(images=len(event_shape) > 1)
    return 0.0 if cached_layers(config, pairs, layers, event_shape, rows) is None else config.pool.share


def pool_memory(
    config: DistillationConfig,
    pairs: Sequence[LayerPair],
    layers: Sequence[LayerInfo],
    event_shape: Sequence[int],
    context_features: int,
) -> int:
    """Return the bytes of the pool's samples, with their noise, and of the cache; zero without a pool."""
    if not config.pool.share:
        return 0
    rows = config.pool.samples(images=len(event_shape) > 1)
    names = cached_layers(config, pairs, layers, event_shape, rows)
    cache = 0 if names is None else _cache_bytes(names, layers, event_shape, rows)
    return _BYTES * rows * (2 * math.prod(event_shape) + context_features) + cache


def slow_pool(
    config: ExperimentConfig, student: PassCost, teacher: PassCost, steps: int, *, images: bool, cached: float
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
        From `cached_share`.
    """
    terms, batch_size = config.distillation, config.training.student_batch_size
    if not terms.pool.share:
        return []
    rows = terms.pool.samples(images=images)
    drawing = rows * (teacher.decode + teacher.encode * (2 if cached else 1))
    step = batch_size * step_cost(terms, batch_size, student, teacher, cached=cached)
    if drawing <= steps * step:
        return []
    features = max(student.sequential, teacher.sequential)
    reason = f"; an autoregressive flow computes {features} features one after another" if features > 1 else ""
    message = (
        f"drawing {rows:,} samples of the teacher takes about as long as {drawing / step:,.0f} steps, and the training "
        f"has {steps:,}{reason}: set a smaller size"
    )
    return [ConfigProblem("distillation.pool.size", message)]
