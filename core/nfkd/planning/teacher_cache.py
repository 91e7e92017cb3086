"""Which of the teacher's passes are made once and kept: over the pool, and over training examples that come again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nfkd.config import ExperimentConfig
from nfkd.distillation.needs import Data
from nfkd.planning.costs import term_needs
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo

_BYTES = 4


@dataclass(frozen=True)
class TeacherCache:
    """The passes of a flow's teacher that are kept.

    Attributes
    ----------
    layers
        The layers whose outputs are kept, beside log p and the latents.
    pool, train
        Whether they are kept for rows of the pool, and for training examples.
    share
        Part of a batch over which the teacher makes no pass.
    memory
        Bytes of what is kept.
    """

    layers: tuple[str, ...] = ()
    pool: bool = False
    train: bool = False
    share: float = 0.0
    memory: int = 0


def teacher_cache(
    config: ExperimentConfig,
    pairs: Sequence[LayerPair],
    layers: Sequence[LayerInfo],
    event_shape: Sequence[int],
    *,
    steps: int,
    pool_rows: int,
    train_rows: int,
) -> TeacherCache:
    """Return which passes are kept; none where no term reads them, or a term differentiates the teacher by x.

    Passes over the pool come first. Those over the training examples are kept if they fit into the rest of
    `DistillationConfig.cache`, and if the training makes more passes over them without a cache.

    Parameters
    ----------
    config
        The experiment.
    pairs, layers
        The matched layers, and the layers of the teacher.
    event_shape
        Shape of one example.
    steps
        Steps of the flow that learns.
    pool_rows
        Rows of the pool.
    train_rows
        Rows of which all batches consist, from `Dataset.fixed_rows`; zero if they are drawn anew.
    """
    terms = config.distillation
    needs = term_needs(terms).get(Data())
    if needs is None or not needs.teacher or needs.input_gradient:
        return TeacherCache()
    names = tuple(pair.teacher for pair in pairs) if needs.trace else ()
    sizes = {layer.name: math.prod(layer.shape) for layer in layers}
    values = math.prod(event_shape) + 2 + sum(sizes[name] + 1 for name in names)  # with log p and log-determinants
    row, free = _BYTES * values, terms.cache << 20
    from_pool = terms.pool.rows(config.training.student_batch_size)
    real = config.training.student_batch_size - from_pool
    pool = bool(terms.pool.share) and pool_rows * row <= free
    free -= pool_rows * row if pool else 0
    train = 0 < train_rows < steps * real and train_rows * row <= free
    return TeacherCache(
        layers=names,
        pool=pool,
        train=train,
        share=terms.pool.share * pool + (1 - terms.pool.share) * train,
        memory=row * (pool_rows * pool + train_rows * train),
    )


def planned_cache(
    config: ExperimentConfig,
    pairs: Sequence[LayerPair],
    layers: Sequence[LayerInfo],
    event_shape: Sequence[int],
    *,
    steps: int,
    train_rows: int,
) -> TeacherCache:
    """Return `teacher_cache` before the pool is drawn."""
    pool = config.distillation.pool
    rows = pool.samples(images=len(event_shape) > 1) if pool.share else 0
    return teacher_cache(config, pairs, layers, event_shape, steps=steps, pool_rows=rows, train_rows=train_rows)


def kept_memory(
    config: ExperimentConfig,
    cache: TeacherCache,
    event_shape: Sequence[int],
    context_features: int,
    *,
    draws: int,
) -> int:
    """Return the bytes of the cache, of the pool's samples with their noise, and of the rows of fixed draws."""
    pool, values = config.distillation.pool, math.prod(event_shape)
    rows = pool.samples(images=len(event_shape) > 1) if pool.share else 0
    return cache.memory + _BYTES * (rows * (2 * values + context_features) + draws * (values + context_features))
