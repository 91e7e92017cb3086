"""The pool: samples of the teacher, drawn once before a student's training, that replace part of each of its batches.

The student sees more examples than the training data has. In likelihood this helps where the data is few: there the
student without a teacher is much better on training than on test data. Training on samples of another model: Bucilă et
al. 2006, "Model compression", doi 10.1145/1150402.1150464.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nfkd.data import Batch, DataSplit
from nfkd.flows.flow import Flow
from nfkd.transfer import to_device

MOST_DROPPED = 0.1
"""Part of the samples that may be dropped; a teacher whose samples are worse is refused."""
_LEAST_LIKELY = 100  # one in so many samples is dropped
_LARGEST = 2.0
_CHUNK = 256  # samples that go through the teacher at once


class PoolError(ValueError):
    """The teacher's samples cannot be used."""


@dataclass(frozen=True)
class PoolCounts:
    """How many samples were drawn and dropped.

    Attributes
    ----------
    drawn
        All samples.
    not_finite
        Samples, or their log p, that are not finite.
    too_large
        Images with a value of 2 or more, or of −2 or less; images of the data are in [0, 1).
    unlikely
        The one per cent of the rest with the lowest log p of the teacher.
    """

    drawn: int
    not_finite: int
    too_large: int
    unlikely: int

    @property
    def dropped(self) -> int:
        """Number of samples that are not used."""
        return self.not_finite + self.too_large + self.unlikely

    @property
    def summary(self) -> str:
        """What was dropped, in one sentence without a full stop."""
        return (
            f"{self.dropped:,} of {self.drawn:,} samples of the teacher were dropped: {self.not_finite:,} not finite, "
            f"{self.too_large:,} too large, {self.unlikely:,} with the lowest log p"
        )


@dataclass(frozen=True)
class Pool:
    """Samples of a teacher, on the CPU.

    Attributes
    ----------
    x
        (M, *event_shape), as flows see them.
    noise
        The ε that they were made from at temperature 1, for every latent, each (M, …).
    context
        (M, context features) of the training data, or None.
    """

    x: Tensor
    noise: tuple[Tensor, ...]
    context: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor | slice) -> Pool:
        """Return some of the rows."""
        context = None if self.context is None else self.context[index]
        return Pool(self.x[index], tuple(part[index] for part in self.noise), context)

    def mix(self, batch: Batch, count: int, generator: torch.Generator) -> Batch:
        """Return a batch whose last `count` examples are replaced by rows of the pool, drawn with replacement.

        Rows of the pool have the weight 1. The generator is on the CPU.
        """
        rows, kept = torch.randint(len(self), (count,), generator=generator), len(batch) - count
        context, weights = batch.context, batch.weights
        if context is not None and self.context is not None:
            own = to_device(self.context[rows], context.device, context.dtype)
            context = torch.cat([context[:kept], own])
        if weights is not None:
            weights = torch.cat([weights[:kept], weights.new_ones(count)])
        x = torch.cat([batch.x[:kept], to_device(self.x[rows], batch.x.device, batch.x.dtype)])
        pool_rows, train_rows = torch.cat([torch.full((kept,), -1), rows]), batch.train_rows
        if train_rows is not None:
            train_rows = torch.cat([train_rows[:kept], train_rows.new_full((count,), -1)])
        return Batch(x, context, weights, pool_rows, train_rows)


@torch.no_grad()
def draw_pool(
    teacher: Flow, part: DataSplit, size: int, generator: torch.Generator, *, between: Callable[[], None] = lambda: None
) -> tuple[Pool, PoolCounts]:
    """Draw samples of a teacher at temperature 1, and drop those that are of no use.

    Dropped are samples that are not finite, then images with max |x| ≥ 2, then one per cent (rounded down) with the
    lowest log p; a teacher without log p keeps these.

    Parameters
    ----------
    teacher
        The frozen teacher.
    part
        The training data that the student may see. Contexts are drawn from it, by its weights if it has any.
    size
        Number of samples.
    generator
        On the CPU; draws the contexts, then the noise.
    between
        Called before each chunk of samples; it may raise to stop.

    Raises
    ------
    PoolError
        When the teacher cannot sample, or more than a tenth of its samples were dropped.
    """
    if "synthesis" in teacher.unsupported:
        msg = f"the teacher cannot sample: {teacher.unsupported['synthesis']}"
        raise PoolError(msg)
    context = _draw_contexts(part, size, generator)
    noise = tuple(value.cpu() for value in teacher.draw_noise(size, generator))
    like = next(teacher.parameters())
    samples = []
    for chunk in chunks(size):
        between()
        part_context = None if context is None else context[chunk].to(like)
        samples.append(teacher.synthesize([value[chunk].to(like) for value in noise], context=part_context).cpu())
    pool = Pool(torch.cat(samples), noise, context)
    kept, counts = _usable(teacher, pool, between)
    if counts.dropped > MOST_DROPPED * size:
        msg = f"{counts.summary}; at most a tenth may be dropped"
        raise PoolError(msg)
    return pool.take(kept), counts


def chunks(size: int) -> Iterator[slice]:
    """Yield slices of the rows that go through the teacher at once; they make up `size` rows."""
    return (slice(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK))


def _draw_contexts(part: DataSplit, count: int, generator: torch.Generator) -> Tensor | None:
    """Return contexts of training examples, drawn with replacement, (count, features)."""
    if part.context is None:
        return None
    if part.weights is None:
        index = torch.randint(len(part), (count,), generator=generator)
    else:
        ends = torch.tensor(part.weights, dtype=torch.float64).cumsum(0)
        points = ends[-1] * torch.rand(count, generator=generator, dtype=torch.float64)
        index = torch.searchsorted(ends, points, right=True).clamp(max=len(part) - 1)
    return torch.from_numpy(part.context[index.numpy()])


def _log_prob(teacher: Flow, pool: Pool, between: Callable[[], None]) -> Tensor:
    """Return the teacher's log p of the rows of a pool, (M,)."""
    like, found = next(teacher.parameters()), pool.x.new_empty(len(pool))
    for chunk in chunks(len(pool)):
        between()
        part = pool.take(chunk)
        context = None if part.context is None else part.context.to(like)
        found[chunk] = teacher.log_prob(part.x.to(like), context).cpu()
    return found


def _usable(teacher: Flow, pool: Pool, between: Callable[[], None]) -> tuple[Tensor, PoolCounts]:
    """Return the indices of the rows that are kept, ascending, and the counts."""
    flat = pool.x.flatten(1)
    finite = flat.isfinite().all(1)
    large = finite & (flat.abs().amax(1) >= _LARGEST) if pool.x.dim() > 2 else torch.zeros_like(finite)
    kept = (finite & ~large).nonzero().flatten()
    lost, unlikely = len(pool) - int(finite.sum()), 0
    if "log_prob" not in teacher.unsupported:
        log_prob = _log_prob(teacher, pool.take(kept), between)
        good = log_prob.isfinite()
        lost += len(kept) - int(good.sum())
        kept, log_prob = kept[good], log_prob[good]
        unlikely = len(kept) // _LEAST_LIKELY
        kept = kept[log_prob.argsort(stable=True)[unlikely:]].sort().values
    return kept, PoolCounts(len(pool), lost, int(large.sum()), unlikely)
