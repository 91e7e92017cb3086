"""Measures what is made of a teacher before a stage's first step: the pool, and passes over rows that come again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from nfkd.config.pool import PoolConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.known_passes import KnownPasses, TablePass, teacher_passes
from nfkd.distillation.pool import Pool, PoolError, draw_pool
from nfkd.evaluation.throughput import SPEED_COUNT
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in
from nfkd.planning.teacher_cache import TeacherCache


@dataclass(frozen=True)
class Learnt:
    """What a flow learns from beside its data, small enough for a few steps.

    Attributes
    ----------
    pool
        A few samples; None without a pool.
    known
        The teacher's passes over these and over the rows of the steps.
    seconds
        Of the whole pool and all passes of a run.
    """

    pool: Pool | None
    known: KnownPasses
    seconds: float


def measure_teacher(
    teacher: Flow,
    settings: PoolConfig,
    dataset: Dataset,
    some: Dataset,
    cache: TeacherCache,
    *,
    precision: Precision,
    timed: Callable[[Callable[[], Any]], float],
    between: Callable[[], None],
) -> Learnt:
    """Make a few samples and passes of a teacher, and measure the time of all.

    Parameters
    ----------
    teacher, settings, cache
        The frozen teacher, the pool, and which passes are made once.
    dataset, some
        The data of the stage, and those of the measured steps.
    precision
        Of training: the passes have it, and the pool does not.
    timed
        Returns the seconds of a call.
    between
        Called between two parts of the work; it may raise to stop.
    """
    pool, from_pool, from_train, seconds = None, None, None, 0.0
    if settings.share:
        rows = settings.samples(images=dataset.is_image)
        small = min(rows, SPEED_COUNT)
        pool = _small_pool(teacher, dataset, small, between)
        seconds += timed(lambda: _small_pool(teacher, dataset, small, between)) * rows / small
        if cache.pool:
            from_pool, taken = _passes(teacher, pool, cache, rows, timed, precision)
            seconds += taken
    if cache.train:
        from_train, taken = _passes(teacher, some.fixed_batch(), cache, dataset.fixed_rows, timed, precision)
        seconds += taken
    return Learnt(pool, KnownPasses(from_pool, from_train), seconds)


def _passes(
    teacher: Flow,
    rows: Pool | Batch,
    cache: TeacherCache,
    count: int,
    timed: Callable[[Callable[[], Any]], float],
    precision: Precision,
) -> tuple[TablePass, float]:
    """Return the teacher's passes over rows, and the seconds of those over `count` rows."""
    with networks_in(precision):
        seconds = timed(lambda: teacher_passes(teacher, rows, cache.layers))
        return teacher_passes(teacher, rows, cache.layers), seconds * count / len(rows)


def _small_pool(teacher: Flow, dataset: Dataset, size: int, between: Callable[[], None]) -> Pool:
    generator = torch.Generator().manual_seed(0)
    try:
        return draw_pool(teacher, dataset.train, size, generator, between=between)[0]
    except PoolError:  # samples of an untrained teacher; they took as long
        batch = dataset.batch(dataset.train.some(size), generator)
        noise = tuple(value.cpu() for value in teacher.draw_noise(len(batch), generator))
        return Pool(batch.x, noise, batch.context)
