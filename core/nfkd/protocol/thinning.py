"""Fewer points of long curves in the snapshot of a run.

Without it, the time and the size of a snapshot grow with the length of the run, up to the largest frame. Every k-th
point of a long curve is kept, and the last point. In one snapshot, k is a power of two that depends only on the curve's
length. So curves of seeds of one length keep equal steps, and those of other lengths share the steps of the larger k.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from nfkd.protocol.records import CurveBatch
from nfkd.protocol.requests import Snapshot

POINTS = 2_000_000
"""Points of all curves of a snapshot together: 48 MB."""


def strides(lengths: Sequence[int], points: int) -> list[int]:
    """Return k for each curve, so that all curves together keep about `points` points; 1 for short curves.

    Parameters
    ----------
    lengths
        Points of each curve.
    points
        Divided equally among the curves.
    """
    share = max(1, points // max(1, len(lengths)))
    return [1 if length <= share else 1 << (-(-length // share) - 1).bit_length() for length in lengths]


def every(batch: CurveBatch, stride: int) -> CurveBatch:
    """Return a copy of every `stride`-th point of a curve, from the first on, and of the last."""
    last = len(batch.steps) - 1
    index = np.arange(0, last + 1, stride)
    if last > 0 and last % stride:
        index = np.append(index, last)
    return CurveBatch(steps=batch.steps[index], values=batch.values[index], times=batch.times[index])


def thinned(snapshot: Snapshot, points: int | None = None) -> Snapshot:
    """Return a snapshot with about `points` points of all curves together, by default `POINTS`.

    Its `stride` is that of the longest curves.
    """
    lengths = [len(batch.steps) for stage in snapshot.stages for batch in stage.curves.values()]
    found = strides(lengths, POINTS if points is None else points)
    if max(found, default=1) == 1:
        return snapshot
    left = iter(found)
    stages = [
        msgspec.structs.replace(
            stage,
            curves={
                name: every(batch, stride) if (stride := next(left)) > 1 else batch
                for name, batch in stage.curves.items()
            },
        )
        for stage in snapshot.stages
    ]
    return msgspec.structs.replace(snapshot, stages=stages, stride=max(found))
