"""Jacobi iteration beside exact sampling: speed, iterations and largest difference, for batches of 1, 16 and 256.

The flows are trained briefly, since an untrained one converges at once. Both samplers take turns on one thread, from
the same noise, and CPU time is measured, so that other load slows both in the same way. The difference is relative to
max(1, |x|): a few samples of a MAF are far outside its data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch

from nfkd.config import DigitsConfig
from nfkd.config.data import DataConfig, NaturalPatchesConfig
from nfkd.config.flows import FlowConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.flows.flow import Flow
from tests.benchmarks.test_flows import data_of, own_flow, trained

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

ROUNDS = 9
BATCHES = (1, 16, 256)
TOLERANCES = (1e-2, 1e-3)
FASTER = 3.0
"""Least speed-up of a single sample at a tolerance of 0.01."""
PATCHES = NaturalPatchesConfig(count=10_000)
ROWS: dict[str, tuple[FlowConfig, DataConfig, int, bool]] = {
    "MAF, 63 features": (MAFConfig(steps=5, hidden=64), PATCHES, 1000, True),
    "autoregressive NSF, 63 features": (NSFConfig(transform="autoregressive", steps=2), PATCHES, 300, False),
    "TarFlow, 64 patches of digits": (TarFlowConfig(patch=1), DigitsConfig(), 300, True),
}
"""Flow, data, steps of training, and whether a single sample must be `FASTER`."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    lines = [
        "| flow | batch | tolerance | exact | Jacobi | speed-up | iterations | finished exactly | difference | log p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    yield lines
    print("\n\nCPU ms of a batch, median of 9 rounds; iterations of each block, the last block first; the largest")
    print("difference of a value, and that of log p: the median of its changes, nats per dimension.\n")
    print("\n".join(lines))


@lru_cache(maxsize=1)
def flow_of(row: str) -> Flow:
    config, data, steps, _ = ROWS[row]
    dataset = data_of(data)
    log_prob = own_flow(config, dataset, 1)
    trained(log_prob, dataset, steps, 1)
    return next(module for module in log_prob.modules() if isinstance(module, Flow)).eval()


def seconds(flow: Flow, count: int, noise: int, **method: object) -> float:
    began = time.process_time()
    flow.sample(count, generator=torch.Generator().manual_seed(noise), **method)  # type: ignore[arg-type]
    return time.process_time() - began


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("row", ROWS)
def test_jacobi_iteration_beside_exact_sampling(row: str, count: int, table: list[str]) -> None:
    flow = flow_of(row)
    for tolerance in TOLERANCES:
        pairs = [
            (seconds(flow, count, noise), seconds(flow, count, noise, method="jacobi", tolerance=tolerance))
            for noise in range(ROUNDS + 1)
        ][1:]  # the first is a warm-up
        exact, iterated = (statistics.median(times) for times in zip(*pairs, strict=True))
        faster = statistics.median(own / other for own, other in pairs)
        x = flow.sample(count, generator=torch.Generator().manual_seed(0))
        with flow.jacobi(tolerance) as report:
            y = flow.sample(count, generator=torch.Generator().manual_seed(0))
        difference = float(((x - y).abs() / x.abs().clamp(min=1)).max())
        with torch.no_grad():
            log_p = float((flow.log_prob(y) - flow.log_prob(x)).nanmedian()) / x[0].numel()
        blocks = report.blocks()
        table.append(
            f"| {row} | {count} | {tolerance:g} | {1e3 * exact:.1f} | {1e3 * iterated:.1f} | {faster:.1f} "
            f"| {', '.join(str(block.iterations) for block in blocks)} | {sum(block.exactly for block in blocks)} "
            f"| {difference:.1e} | {log_p:+.1e} |"
        )
        print("\n" + table[-1])
        if count == 1 and tolerance == TOLERANCES[0] and ROWS[row][3]:
            assert faster >= FASTER
