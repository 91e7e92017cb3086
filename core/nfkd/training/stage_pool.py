"""The pool of a stage: drawn at its start, or read where the stage is resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset
from nfkd.distillation.known_passes import KnownPasses, teacher_passes
from nfkd.distillation.pool import Pool, PoolError, draw_pool
from nfkd.flows.flow import Flow
from nfkd.flows.precision import networks_in
from nfkd.planning.plans import stage_steps
from nfkd.planning.teacher_cache import teacher_cache
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role, role_name, the_role
from nfkd.runs.errors import RunError
from nfkd.training.generators import named_generator
from nfkd.training.pool_file import PoolFile, PoolFileError

if TYPE_CHECKING:
    from nfkd.training.context import RunContext


def stage_pool(
    context: RunContext, file: PoolFile, teacher: Flow, *, resumed: bool, between: Callable[[], None]
) -> Pool | None:
    """Return the pool of a stage that learns from a teacher.

    Parameters
    ----------
    context
        The run.
    file
        Where the pool is kept; it names stage and seed.
    teacher
        The frozen flow that the stage learns from.
    resumed
        Whether the stage has made steps: it then needs the pool of these.
    between
        Called before each chunk of samples; it may raise to stop.

    Returns
    -------
    Pool | None
        None if the experiment has no pool.

    Raises
    ------
    RunError
        When the teacher's samples cannot be used.
    """
    if not context.config.distillation.pool.share:
        return None
    pool = _read(context, file, teacher) if resumed else None
    return _draw(context, file, teacher, between) if pool is None else pool


def _read(context: RunContext, file: PoolFile, teacher: Flow) -> Pool | None:
    try:
        return file.load(teacher)
    except PoolFileError as error:
        message = f"{file.path} cannot be used ({error}): the pool is drawn again from the same seed"
        context.warn(f"Seed {file.seed}, {role_name(file.stage)}: {message}")
        return None


def _draw(context: RunContext, file: PoolFile, teacher: Flow, between: Callable[[], None]) -> Pool:
    dataset = context.data(file.stage)
    size = context.config.distillation.pool.samples(images=dataset.is_image)
    generator = named_generator(file.seed, file.stage, "pool")
    try:
        pool, counts = draw_pool(teacher, dataset.train, size, generator, between=between)
    except PoolError as error:
        raise pool_failure(file.stage, error) from error
    context.log(f"Seed {file.seed}, {role_name(file.stage)}: the pool has {len(pool):,} samples; {counts.summary}")
    file.save(pool)
    return pool


def pool_failure(stage: Role, error: PoolError) -> RunError:
    """Return what to tell the user where the teacher's samples cannot be used."""
    title = f"The pool of {the_role(stage)} cannot be made"
    action = "Train the teacher longer, or set distillation.pool.share to 0 in a new run."
    return RunError(title, f"{error}.", action)


def known_passes(
    config: ExperimentConfig,
    stage: Role,
    pairs: Sequence[LayerPair],
    teacher: Flow,
    pool: Pool | None,
    dataset: Dataset,
    between: Callable[[], None] = lambda: None,
) -> KnownPasses:
    """Return the teacher's passes over the rows that come again, if a term reads them and they fit into the cache.

    They depend on the experiment alone, not on the step, so that a resumed run has the same.

    Parameters
    ----------
    config, stage, pairs
        The experiment, and the stage with its matched layers.
    teacher, pool
        The frozen flow that the stage learns from, and its samples.
    dataset
        The data of the stage.
    between
        Called before each chunk of rows; it may raise to stop.
    """
    cache = teacher_cache(
        config,
        pairs,
        teacher.layer_info(),
        teacher.event_shape,
        steps=stage_steps(config)[stage],
        pool_rows=0 if pool is None else len(pool),
        train_rows=dataset.fixed_rows,
    )
    with networks_in(config.training.precision):  # as in the steps
        return KnownPasses(
            pool=teacher_passes(teacher, pool, cache.layers, between) if cache.pool and pool is not None else None,
            train=teacher_passes(teacher, dataset.fixed_batch(), cache.layers, between) if cache.train else None,
        )
