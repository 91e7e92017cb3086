"""The teacher's passes over rows that come again: rows of the pool, and training examples without new noise.

They are made once, before training, in chunks of rows. A pass over another number of rows at once differs from them by
rounding, up to about 1e-5 of the values in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nfkd.data import Batch
from nfkd.distillation.pool import Pool, chunks
from nfkd.flows.flow import Flow, Latents, Pass
from nfkd.transfer import to_device


@dataclass(frozen=True)
class TablePass(Pass):
    """A pass whose tensors are columns of one table: rows are looked up in one copy.

    Attributes
    ----------
    table
        (rows, columns).
    """

    table: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class KnownPasses:
    """The teacher's passes that are made already, on its device.

    Attributes
    ----------
    pool
        Over the rows of the pool; None if they are made at every step.
    train
        The same over the rows of `Dataset.fixed_batch`.
    """

    pool: TablePass | None = None
    train: TablePass | None = None

    @property
    def empty(self) -> bool:
        """Whether no pass is made already."""
        return self.pool is None and self.train is None


NONE_KNOWN = KnownPasses()


@torch.no_grad()
def teacher_passes(
    teacher: Flow, rows: Pool | Batch, layers: Sequence[str], between: Callable[[], None] = lambda: None
) -> TablePass:
    """Return the teacher's pass over all rows, on the teacher's device.

    Parameters
    ----------
    teacher, rows
        The frozen teacher; the samples or examples.
    layers
        The layers whose outputs are kept in the trace.
    between
        Called before each chunk of rows; it may raise to stop.
    """
    like, table, values = next(teacher.parameters()), torch.empty(0), list[Tensor]()
    for chunk in chunks(len(rows)):
        between()
        made = _made(teacher, rows.take(chunk), layers, like)
        different = {id(value): value for value in made}  # the last layer's state is a latent
        if not values:
            sizes = [value[:1].numel() for value in different.values()]
            table = made[0].new_empty(len(rows), sum(sizes))
            columns = dict(zip(different, table.split(sizes, 1), strict=True))
            values = [columns[id(value)].view(len(rows), *value.shape[1:]) for value in made]
        for whole, value in zip(values, made, strict=True):
            whole[chunk] = value
    found = _pass(values, layers)
    return TablePass(found.log_prob, found.latents, found.trace, table=table)


def pass_over(teacher: Flow, batch: Batch, known: KnownPasses, *, trace: bool) -> Pass:
    """Return the teacher's pass over a batch; rows whose pass is known are looked up and not computed.

    Parameters
    ----------
    teacher, batch
        The frozen teacher and the batch.
    known
        A trace of looked-up rows has only its layers.
    trace
        Whether to return the outputs of the layers.
    """
    real = len(batch) if batch.pool_rows is None else int((batch.pool_rows < 0).sum())
    parts = [
        (slice(start, stop), passes, None if rows is None else rows[start:stop])
        for start, stop, passes, rows in (
            (0, real, known.train, batch.train_rows),
            (real, len(batch), known.pool, batch.pool_rows),
        )
        if start < stop
    ]
    found = [passes for _, passes, rows in parts if passes is not None and rows is not None]
    if not found:
        return teacher(batch.x, batch.context, trace=trace)
    layers = list(found[0].trace) if trace else []
    values = [
        _made(teacher, batch.take(part), layers, batch.x)
        if passes is None or rows is None
        else _looked_up(passes, rows, layers)
        for part, passes, rows in parts
    ]
    whole = values[0] if len(values) == 1 else [torch.cat(each) for each in zip(*values, strict=True)]
    return _pass(whole, layers)


def _made(teacher: Flow, part: Pool | Batch, layers: Sequence[str], like: Tensor) -> list[Tensor]:
    """Return the values of a pass over rows, on the device and in the precision of `like`."""
    context = None if part.context is None else part.context.to(like)
    return _values(teacher(part.x.to(like), context, trace=bool(layers)), layers)


def _looked_up(passes: TablePass, rows: Tensor, layers: Iterable[str]) -> list[Tensor]:
    """Return what `_values` returns for some rows of known passes; the numbers of the rows are on the CPU."""
    numbers = to_device(rows, passes.log_prob.device)
    found = passes.table.index_select(0, numbers)
    columns = found.shape[1]
    return [  # not the stride between rows: torch sets that of a single row to another number
        found.as_strided((len(rows), *value.shape[1:]), (columns, *value.stride()[1:]), value.storage_offset())
        for value in _values(passes, layers)
    ]


def _values(made: Pass, layers: Iterable[str]) -> list[Tensor]:
    """Return the tensors of a pass, each (B, …): log p, log-determinant, latents, and the trace of some layers."""
    trace = [value for name in layers for value in made.trace[name]]
    return [made.log_prob, made.latents.log_det, *made.latents.parts, *trace]


def _pass(values: Sequence[Tensor], layers: Sequence[str]) -> Pass:
    """Return the pass of what `_values` returned."""
    log_prob, log_det, *rest = values
    traced = rest[len(rest) - 2 * len(layers) :]
    trace = {name: (traced[2 * number], traced[2 * number + 1]) for number, name in enumerate(layers)}
    return Pass(log_prob, Latents(tuple(rest[: len(rest) - len(traced)]), log_det), trace)
