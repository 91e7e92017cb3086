"""Examples as the input of a flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nfkd.transfer import to_device


@dataclass(frozen=True)
class Batch:
    """Examples as the input of a flow.

    Attributes
    ----------
    x
        (B, *event_shape) float32.
    context
        (B, context features) float32, or None.
    weights
        (B,) float32, or None.
    pool_rows
        (B,) int64, always on the CPU: −1 for real examples, and after these the rows of the pool
        (`nfkd.distillation.pool`) that the other examples are; None where all are real.
    train_rows
        (B,) int64, always on the CPU: rows of `Dataset.fixed_rows` that the real examples are, and −1 for others; None
        where noise is drawn anew.
    """

    x: Tensor
    context: Tensor | None = None
    weights: Tensor | None = None
    pool_rows: Tensor | None = None
    train_rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, without waiting for it; `pool_rows` and `train_rows` stay on the CPU."""
        x, context, weights = (
            None if value is None else to_device(value, device) for value in (self.x, self.context, self.weights)
        )
        return replace(self, x=x, context=context, weights=weights)

    def take(self, index: slice | list[int] | Tensor) -> Batch:
        """Return some of the examples."""
        rows = index.cpu() if isinstance(index, Tensor) else index
        context, weights = (None if value is None else value[index] for value in (self.context, self.weights))
        numbers = (None if value is None else value[rows] for value in (self.pool_rows, self.train_rows))
        return Batch(self.x[index], context, weights, *numbers)

    @staticmethod
    def join(parts: Sequence[Batch]) -> Batch:
        """Return the examples of several batches of new examples in one."""
        context, weights = (
            None if values[0] is None else torch.cat([value for value in values if value is not None])
            for values in ([part.context for part in parts], [part.weights for part in parts])
        )
        return Batch(torch.cat([part.x for part in parts]), context, weights)

    def contexts(self, count: int) -> Tensor | None:
        """Return contexts for `count` samples, those of the examples in turn; None if there are none."""
        if self.context is None:
            return None
        return self.context[torch.arange(count, device=self.context.device) % len(self)]
