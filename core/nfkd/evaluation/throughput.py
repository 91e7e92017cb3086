"""The sampling throughput of a flow."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from nfkd.flows.flow import Flow

SPEED_COUNT = 256
_ROUNDS = 5


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
    rates = []
    for _ in range(_ROUNDS + 1):
        began = time.perf_counter()
        flow.sample(count, generator=torch.Generator().manual_seed(0), context=context)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        rates.append(count / (time.perf_counter() - began))
    return sorted(rates[1:])[_ROUNDS // 2]
