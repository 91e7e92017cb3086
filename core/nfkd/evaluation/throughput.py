"""Throughput and latency of a flow."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nfkd.flows.flow import Flow

SPEED_COUNT = 256
_ROUNDS = 5
_FEWEST = 6  # timings: with fewer, two order statistics are no 95 % interval of the median


@torch.no_grad()
def samples_per_second(flow: Flow, count: int = SPEED_COUNT, context: Tensor | None = None) -> float:
    """Return the throughput of `Flow.sample`: the median of five rounds after a warm-up round.

    Parameters
    ----------
    count
        Samples per round.
    context
        (count, context features) for a conditional flow.
    """
    device = next(flow.parameters()).device
    generator = torch.Generator()

    def sample() -> None:
        flow.sample(count, generator=generator.manual_seed(0), context=context)

    return count / float(np.median(timings(sample, device, _ROUNDS)))


def timings(
    function: Callable[[], object], device: torch.device, count: int, limit: float = float("inf")
) -> np.ndarray:
    """Return the seconds of some calls after a warm-up call, each until the device has finished.

    Parameters
    ----------
    count
        Most calls.
    limit
        Seconds after which no call begins, if there are at least six.
    """
    found: list[float] = []
    began = time.perf_counter()
    while len(found) <= count and (len(found) <= _FEWEST or time.perf_counter() - began < limit):
        start = time.perf_counter()
        function()
        _wait_for(device)
        found.append(time.perf_counter() - start)
    return np.array(found[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
