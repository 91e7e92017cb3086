"""The processes that train a flow together: each computes a part of every batch, and their gradients are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nfkd.flows.flow import Flow
from nfkd.protocol.run_rows import StartRecord


class Ranks:
    """One process that computes whole batches; `nfkd.training.ranks` has that of several.

    All processes draw the same random numbers for the whole batch, so that the loss and its gradient are those of one
    process up to rounding. Rank 0 leads: it alone validates, writes files and decides what comes next.

    Attributes
    ----------
    rank, size
        The number of this process, from 0, and of all processes.
    """

    rank: int = 0
    size: int = 1

    def device(self, device: torch.device) -> torch.device:
        """Return the device of this process, from that of the experiment."""
        return device

    def record_start(self, start: StartRecord | None) -> StartRecord | None:
        """Return how the run was started, from what is known about the start of this process."""
        return start

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all processes, which call this together; all have one dtype."""
        return list(tensors)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return a tensor of every process, (size, …), in the order of the ranks."""
        sums = tensor.new_zeros(self.size, *tensor.shape)
        sums[self.rank] = tensor
        return self.sum([sums])[0]

    def gather_masks(self, own: Tensor, index: slice, length: int) -> Tensor:
        """Return a mask of the whole batch, (length,) bool, from the masks of the parts that the processes computed."""
        whole = torch.zeros(length, device=own.device)
        whole[index] = own.float()
        return self.sum([whole])[0] > 0

    def share_state(self, flow: Flow) -> None:
        """Give the flow of every process the weights of rank 0."""

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes, in place."""

    def begin_run(self, start: Callable[[], Any]) -> None:
        """Let the other processes load a run's data, with what `start` returns."""

    def begin_stage(self, start: Callable[[], Any]) -> None:
        """Let the other processes begin a stage, with what `start` returns."""

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let the other processes make a step, too."""
        yield

    def require_same(self, flow: Flow) -> None:
        """Refuse to continue if the flow's weights differ between the processes."""

    def end_stage(self) -> None:
        """Let the other processes end the stage."""
