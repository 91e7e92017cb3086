"""The teacher's pass over a batch with rows of the pool: over these the teacher passes only once, before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from nfkd.data import Batch
from nfkd.distillation.pool import Pool, chunks
from nfkd.flows.flow import Flow, Latents, Pass
from nfkd.transfer import to_device


@torch.no_grad()
def teacher_passes(
    teacher: Flow, pool: Pool, layers: Sequence[str], between: Callable[[], None] = lambda: None
) -> Pass:
    """Return the teacher's pass over all rows of a pool, on the teacher's device.

    Parameters
    ----------
    teacher, pool
        The frozen teacher and the samples.
    layers
        The layers whose outputs are kept in the trace.
    between
        Called before each chunk of rows; it may raise to stop.
    """
    like, passes = next(teacher.parameters()), list[Pass]()
    for chunk in chunks(len(pool)):
        between()
        part = pool.take(chunk)
        context = None if part.context is None else part.context.to(like)
        made = teacher(part.x.to(like), context, trace=bool(layers))
        passes.append(_join([made], layers))  # without the other layers
    return _join(passes, layers)


def pass_over(teacher: Flow, batch: Batch, known: Pass | None, *, trace: bool) -> Pass:
    """Return the teacher's pass over a batch; its rows of the pool are looked up and not computed.

    Parameters
    ----------
    teacher, batch
        The frozen teacher and the batch.
    known
        From `teacher_passes`, or None; a trace then has only its layers.
    trace
        Whether to return the outputs of the layers.
    """
    rows = batch.pool_rows
    real = len(batch) if known is None or rows is None else int((rows < 0).sum())
    if known is None or rows is None or real == len(batch):
        return teacher(batch.x, batch.context, trace=trace)
    layers = list(known.trace) if trace else []
    looked_up = _take(known, to_device(rows[real:], known.log_prob.device), layers)
    if not real:
        return looked_up
    own = batch.take(slice(real))
    return _join([teacher(own.x, own.context, trace=trace), looked_up], layers)


def _take(known: Pass, rows: torch.Tensor, layers: Iterable[str]) -> Pass:
    latents = Latents(tuple(part[rows] for part in known.latents.parts), known.latents.log_det[rows])
    trace = {name: (known.trace[name][0][rows], known.trace[name][1][rows]) for name in layers}
    return Pass(known.log_prob[rows], latents, trace)


def _join(passes: Sequence[Pass], layers: Iterable[str]) -> Pass:
    """Return the examples of several passes in one, with the outputs of some layers."""
    parts = zip(*(made.latents.parts for made in passes), strict=True)
    latents = Latents(tuple(map(torch.cat, parts)), torch.cat([made.latents.log_det for made in passes]))
    trace = {
        name: (torch.cat([made.trace[name][0] for made in passes]), torch.cat([made.trace[name][1] for made in passes]))
        for name in layers
    }
    return Pass(torch.cat([made.log_prob for made in passes]), latents, trace)
