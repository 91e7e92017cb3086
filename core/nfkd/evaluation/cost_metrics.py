"""What encoding and decoding cost: parameters, multiply-adds, peak memory, latency and throughput."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch

from nfkd.data import Batch
from nfkd.evaluation.evaluated_flows import ROWS, Material
from nfkd.evaluation.intervals import Estimate, quantile_estimate
from nfkd.evaluation.peak_memory import peak_memory
from nfkd.evaluation.throughput import timings
from nfkd.flows.cost import frozen_cost
from nfkd.flows.flow import Flow

_CALLS, _CALL_SECONDS = 200, 2.0  # of one example
_SAMPLES = 32  # whose iterations are counted
_ROUNDS, _ROUND_SECONDS = 20, 3.0  # of a batch


@torch.no_grad()
def cost_estimates(flow: Flow, material: Material, names: Collection[str]) -> dict[str, Estimate]:
    """Return the cost of a flow on its device.

    Parameters
    ----------
    flow, material
        The flow, and the test examples that it encodes.
    names
        Of ``parameters``, ``multiply_adds`` (of one log p), ``peak_memory`` (of encoding and decoding a batch, with
        the weights), ``encode_ms``, ``encode_p95_ms``, ``decode_ms``, ``decode_p95_ms`` (of one example) and
        ``encode_per_second``, ``decode_per_second`` (in a batch of 256). With ``jacobi`` in place of ``decode``,
        samples are made by Jacobi iteration at the usual tolerance; ``jacobi_iterations`` is the sum over the blocks
        for one example, the median of 32. Intervals of timings are between order statistics; the unit is one call.
    """
    parameters, multiply_adds, _ = frozen_cost(flow)
    found = {"parameters": Estimate.exact(parameters), "multiply_adds": Estimate.exact(multiply_adds)}
    rows = torch.arange(ROWS) % len(material.test)
    batch, single = (material.test.take(rows[:count]).to(material.device) for count in (ROWS, 1))
    if "peak_memory" in names:
        found["peak_memory"] = Estimate.exact(_memory(flow, batch, material) / 2**20)
    if "jacobi_iterations" in names:
        material.check()
        found["jacobi_iterations"] = quantile_estimate(_iterations(flow, single), 0.5)
    for name, call in (("encode", _encoding), ("decode", _decoding), ("jacobi", _iterating)):
        if {f"{name}_ms", f"{name}_p95_ms"} & set(names):
            material.check()
            milliseconds = 1e3 * timings(call(flow, single), material.device, _CALLS, _CALL_SECONDS)
            found[f"{name}_ms"] = quantile_estimate(milliseconds, 0.5)
            found[f"{name}_p95_ms"] = quantile_estimate(milliseconds, 0.95)
        if f"{name}_per_second" in names:
            material.check()
            seconds = timings(call(flow, batch), material.device, _ROUNDS, _ROUND_SECONDS)
            found[f"{name}_per_second"] = quantile_estimate(ROWS / seconds, 0.5)
    return {name: found[name] for name in names}


def _encoding(flow: Flow, batch: Batch) -> Callable[[], object]:
    return lambda: flow.log_prob(batch.x, batch.context)


def _decoding(flow: Flow, batch: Batch) -> Callable[[], object]:
    generator = torch.Generator()
    return lambda: flow.sample(len(batch), generator=generator.manual_seed(0), context=batch.context)


def _iterating(flow: Flow, batch: Batch) -> Callable[[], object]:
    generator = torch.Generator()
    return lambda: flow.sample(len(batch), generator=generator.manual_seed(0), context=batch.context, method="jacobi")


def _iterations(flow: Flow, single: Batch) -> np.ndarray:
    """Return the iterations of all blocks for each of some samples, made one by one."""
    generator, counts = torch.Generator().manual_seed(0), list[float]()
    for _ in range(_SAMPLES):
        with flow.jacobi() as report:
            flow.sample(1, generator=generator, context=single.context)
        counts.append(sum(block.iterations for block in report.blocks()))
    return np.array(counts)


def _memory(flow: Flow, batch: Batch, material: Material) -> int:
    """Return the bytes of the weights and of the tensors of a batch's encoding or decoding, whichever are more."""
    weights = sum(value.nbytes for value in flow.state_dict().values())
    calls = (_encoding(flow, batch), _decoding(flow, batch))
    return weights + max(peak_memory(call, material.device) for call in calls)
