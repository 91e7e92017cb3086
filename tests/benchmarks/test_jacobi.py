"""Jacobi iteration beside exact sampling: speed-up, iterations, difference, and what the samples lose.

The flows are trained briefly, since an untrained one converges at once. Both samplers take turns on one thread, from
the same noise, and CPU time is measured, so that other load slows both in the same way. Ratios are printed, and none is
asserted. Differences are relative to max(1, |x|): a few samples of a MAF are far outside its data.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nfkd.config import DigitsConfig
from nfkd.config.data import DataConfig, NaturalCropsConfig, NaturalPatchesConfig
from nfkd.config.flows import FlowConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.evaluation.distances import frechet_distance
from nfkd.evaluation.features import LatentFeatures, local_features
from nfkd.evaluation.intervals import Estimate, jackknife, mean_estimate, quantile_estimate
from nfkd.evaluation.likelihood import noisy
from nfkd.flows.flow import Flow
from tests.benchmarks.test_flows import Standardised, data_of, own_flow, trained

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

ROUNDS = {1: 15, 4: 7, 16: 5, 64: 3, 256: 3}
"""Pairs of measurements for each batch."""
TOLERANCES = (3e-2, 1e-2, 1e-3)


@dataclass(frozen=True)
class Row:
    """A flow that is measured.

    Attributes
    ----------
    flow, data, steps
        Its config, its data, and the steps of its training.
    largest
        Largest batch.
    samples
        For likelihood and FD-local, and as many test examples.
    """

    flow: FlowConfig
    data: DataConfig
    steps: int
    largest: int = 256
    samples: int = 512


PATCHES = NaturalPatchesConfig(count=10_000)
ROWS = {
    "TarFlow, 64 patches of digits": Row(TarFlowConfig(patch=1), DigitsConfig(), 300),
    "TarFlow, 64 patches of crops": Row(TarFlowConfig(patch=4), NaturalCropsConfig(), 200),
    "TarFlow, 256 patches of crops": Row(TarFlowConfig(patch=2), NaturalCropsConfig(), 100, largest=4, samples=128),
    "MAF, 63 features": Row(MAFConfig(steps=5, hidden=64), PATCHES, 1000),
    "autoregressive NSF, 63 features": Row(NSFConfig(transform="autoregressive", steps=2), PATCHES, 300),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@lru_cache
@torch.enable_grad()
def trained_row(row: str) -> tuple[Flow, Tensor]:
    """Return the flow, and test examples in the units of its samples."""
    settings = ROWS[row]
    dataset = data_of(settings.data)
    log_prob = own_flow(settings.flow, dataset, 1)
    trained(log_prob, dataset, settings.steps, 1)
    examples = noisy(dataset, dataset.test.some(settings.samples)).x
    if isinstance(log_prob, Standardised):
        examples = log_prob.standardise(examples)
    return next(module for module in log_prob.modules() if isinstance(module, Flow)).eval(), examples


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seconds(flow: Flow, count: int, seed: int, **method: Any) -> float:
    began = time.process_time()
    flow.sample(count, generator=noise(seed), **method)
    return time.process_time() - began


@pytest.mark.parametrize("row", ROWS)
def test_speed_of_jacobi_iteration_beside_exact_sampling(row: str) -> None:
    flow, _ = trained_row(row)
    print(f"\n\n{row}: CPU ms of a batch by exact sampling, and how many times faster Jacobi iteration is (medians of")
    print("pairs, and their quartiles), iterations of each block, the last block first, and examples finished exactly")
    for tolerance in TOLERANCES:
        crossover = 0
        for count, rounds in ROUNDS.items():
            if count > ROWS[row].largest:
                break
            pairs = [
                (seconds(flow, count, seed), seconds(flow, count, seed, method="jacobi", tolerance=tolerance))
                for seed in range(rounds + 1)
            ][1:]  # the first is a warm-up
            low, ratio, high = statistics.quantiles([exact / other for exact, other in pairs], n=4)
            crossover = count if ratio >= 1 else crossover
            with flow.jacobi(tolerance) as report:
                flow.sample(count, generator=noise(1))
            iterations = "+".join(str(block.iterations) for block in report.blocks())
            milliseconds = 1e3 * statistics.median(exact for exact, _ in pairs)
            print(
                f"tolerance {tolerance:g}, batch {count}: {milliseconds:.1f} ms, "
                f"{ratio:.2f} ({low:.2f} to {high:.2f}) times, {iterations} iterations, "
                f"{sum(block.exactly for block in report.blocks())} exactly",
                flush=True,
            )
        print(f"tolerance {tolerance:g}: not slower up to a batch of {crossover}", flush=True)


@pytest.mark.parametrize("row", ROWS)
@torch.no_grad()
def test_likelihood_and_fd_local_of_iterated_samples(row: str) -> None:
    flow, examples = trained_row(row)
    features = local_features(data_of(ROWS[row].data)) or LatentFeatures(flow)
    number = ROWS[row].samples
    real, exact = features(examples), samples(flow, number)
    print(f"\n\n{row}: {number} samples of the same noise; mean log p in nats per dimension, and FD-local to as many")
    print("test examples; the changes are Jacobi − exact; 95 % intervals")
    for tolerance in TOLERANCES:
        iterated = samples(flow, number, method="jacobi", tolerance=tolerance)
        difference = float(((exact - iterated).abs() / exact.abs().clamp(min=1)).max())
        own, other = (flow.log_prob(x).double().numpy() / math.prod(flow.event_shape) for x in (exact, iterated))
        usable = np.isfinite(own) & np.isfinite(other)
        change = other[usable] - own[usable]
        found = fd_changes(real, features(exact)[usable], features(iterated)[usable])
        print(
            f"tolerance {tolerance:g}: largest difference {difference:.1e}; log p {shown(mean_estimate(own[usable]))}, "
            f"change {shown(mean_estimate(change))}, median {shown(quantile_estimate(change, 0.5))}; "
            f"FD-local {shown(found[0])}, "
            f"change {shown(found[1])}; {number - usable.sum()} samples left out (log p not finite)",
            flush=True,
        )


def samples(flow: Flow, number: int, **method: Any) -> Tensor:
    generator = noise(7)
    return torch.cat([flow.sample(128, generator=generator, **method) for _ in range(number // 128)])


def fd_changes(real: np.ndarray, exact: np.ndarray, iterated: np.ndarray) -> list[Estimate]:
    """Return FD-local of exact samples, and how much that of the iterated samples differs."""

    def statistic(test: np.ndarray, drawn: np.ndarray) -> list[float]:
        own, other = (frechet_distance(real[test], values[drawn]) for values in (exact, iterated))
        return [own, other - own]

    return jackknife(statistic, [len(real), len(exact)], [(0.0, math.inf), (-math.inf, math.inf)])


def shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"
