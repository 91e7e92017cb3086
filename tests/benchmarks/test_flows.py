"""Likelihood after a small budget, compared with zuko's or normflows' flow of the same architecture.

Both get the same examples in the same order with the same noise, the same optimizer and the same number of steps.
Vectors are standardised by their training split for both, as zuko's documentation recommends. A row says *worse*, and
its test fails, if our mean over seeds is lower by more than the larger of the two standard deviations over seeds.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nfkd.config import DigitsConfig, Glow1DConfig, GlowConfig, TwoMoonsConfig
from nfkd.config.data import DataConfig, NaturalPatchesConfig
from nfkd.config.flows import FlowConfig, IAFConfig, JetConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.data import Dataset, load_dataset
from nfkd.evaluation.likelihood import noisy_batches
from nfkd.flows.architectures import ARCHITECTURES, build_flow
from tests.benchmarks.peers.libraries import (
    LogProb,
    normflows_glow,
    normflows_glow1d,
    normflows_iaf,
    normflows_nsf,
    zuko_maf,
    zuko_nsf,
    zuko_realnvp,
)
from tests.benchmarks.plain_jet import PlainJet
from tests.benchmarks.plain_tarflow import PlainTarFlow

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SEEDS = (1, 2, 3)
BATCH = 128
RATE = 1e-3
CLIP = 30.0

MOONS, PATCHES, DIGITS = TwoMoonsConfig(), NaturalPatchesConfig(count=10_000), DigitsConfig()
LABELS = {"two_moons": "two moons", "natural_patches": "natural patches", "digits": "digits"}


class Standardised(nn.Module):
    """A density of vectors, computed from a density of their standardised values."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, log_prob: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.log_prob = log_prob
        values = torch.from_numpy(np.asarray(dataset.train.values[:])).float()
        self.register_buffer("mean", values.mean(0))
        self.register_buffer("deviation", values.std(0))

    def standardise(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(self.standardise(x)) - self.deviation.log().sum()


# --- the other libraries ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rival:
    """A flow of another library, built for a config of ours and a number of features."""

    name: str
    make: Callable[[FlowConfig, int], LogProb]


def plain_jet(config: FlowConfig, features: int) -> LogProb:
    del features
    assert isinstance(config, JetConfig)
    flow = PlainJet((1, 8, 8), config.patch, config.hidden, config.steps, config.depth)
    return LogProb(flow, flow.log_prob)


def plain_tarflow(config: FlowConfig, features: int) -> LogProb:
    """On 8×8 grey images."""
    assert isinstance(config, TarFlowConfig)
    assert features == 1
    flow = PlainTarFlow((1, 8, 8), config.patch, config.hidden, config.steps, config.depth)
    return LogProb(flow, flow)


# --- comparison ------------------------------------------------------------------------------------------------------

MAF = MAFConfig(steps=5, hidden=64)
IAF = IAFConfig(steps=4, hidden=32)
AUTOREGRESSIVE = NSFConfig(transform="autoregressive", steps=3, hidden=64, permutation="reverse", tail_bound=5.0)
COUPLING = NSFConfig(steps=4, hidden=64)
REVERSED = NSFConfig(steps=4, hidden=64, permutation="reverse", tail_bound=5.0)
GLOW_1D = Glow1DConfig(steps=6, hidden=64)
REALNVP = Glow1DConfig(steps=6, hidden=64, permutation="reverse", scale="tanh")
GLOW = GlowConfig(levels=1, steps=6, hidden=32)

ZUKO_MAF, ZUKO_NSF = Rival("zuko", zuko_maf), Rival("zuko", zuko_nsf)
NORMFLOWS_NSF, NORMFLOWS_GLOW_1D = Rival("normflows", normflows_nsf), Rival("normflows", normflows_glow1d)

ROWS: dict[str, tuple[FlowConfig, DataConfig, Rival, int]] = {
    "MAF": (MAF, MOONS, ZUKO_MAF, 1000),
    "MAF on patches": (MAF, PATCHES, ZUKO_MAF, 1000),
    "IAF": (IAF, MOONS, Rival("normflows", normflows_iaf), 600),
    "autoregressive NSF": (AUTOREGRESSIVE, MOONS, ZUKO_NSF, 600),
    "autoregressive NSF on patches": (AUTOREGRESSIVE.model_copy(update={"steps": 2}), PATCHES, ZUKO_NSF, 300),
    "coupling NSF": (COUPLING, MOONS, NORMFLOWS_NSF, 600),
    "coupling NSF on patches": (COUPLING, PATCHES, NORMFLOWS_NSF, 300),
    "coupling NSF, reversed": (REVERSED, MOONS, ZUKO_NSF, 600),
    "Glow-1D": (GLOW_1D, MOONS, NORMFLOWS_GLOW_1D, 1000),
    "Glow-1D on patches": (GLOW_1D, PATCHES, NORMFLOWS_GLOW_1D, 600),
    "RealNVP": (REALNVP, MOONS, Rival("zuko", zuko_realnvp), 1000),
    "TarFlow": (TarFlowConfig(), DIGITS, Rival("plain PyTorch", plain_tarflow), 300),
    "Jet": (JetConfig(), DIGITS, Rival("plain PyTorch", plain_jet), 150),
    "Glow": (GLOW, DIGITS, Rival("normflows", normflows_glow), 400),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    lines = [
        "| flow | data | steps | parameters, ours / theirs | ours | theirs | difference | verdict | CPU s a seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    yield lines
    print("\n\nTest log-likelihood, mean ± standard deviation over 3 seeds; higher is better.\n")
    print("\n".join(lines))


@lru_cache(maxsize=4)
def data_of(config: DataConfig) -> Dataset:
    return load_dataset(config)


def first_batch(dataset: Dataset, seed: int) -> Tensor:
    index = np.random.default_rng(seed).choice(len(dataset.train), BATCH, replace=False)
    noise = torch.Generator().manual_seed(seed)
    return dataset.training_batch(np.sort(index), noise, noise).x


def own_flow(config: FlowConfig, dataset: Dataset, seed: int) -> nn.Module:
    flow = build_flow(config, dataset.event_shape, generator=torch.Generator().manual_seed(seed))
    log_prob, x = LogProb(flow, flow.log_prob), first_batch(dataset, seed)
    if dataset.is_image:
        flow.initialize(x)
        return log_prob
    standardised = Standardised(log_prob, dataset)
    flow.initialize(standardised.standardise(x))
    return standardised


def rival_flow(rival: Rival, config: FlowConfig, dataset: Dataset, seed: int) -> nn.Module:
    """Data-dependent layers initialise themselves in the first step, with the same batch."""
    torch.manual_seed(seed)
    log_prob = rival.make(config, dataset.event_shape[0])
    return log_prob if dataset.is_image else Standardised(log_prob, dataset)


def trained(log_prob: nn.Module, dataset: Dataset, steps: int, seed: int) -> float:
    """Train for a budget; return the mean test log-likelihood in the data's unit."""
    optimizer = torch.optim.Adam(log_prob.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    noise, order = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    log_prob.train()
    for _ in range(steps):
        index = np.sort(order.choice(len(dataset.train), BATCH, replace=False))
        x = dataset.training_batch(index, noise, noise).x
        optimizer.zero_grad(set_to_none=True)
        dataset.nll_loss(log_prob(x)).mean().backward()
        nn.utils.clip_grad_norm_(log_prob.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    log_prob.eval()
    with torch.no_grad():
        figures = [dataset.nll(log_prob(batch.x)) for batch in noisy_batches(dataset, dataset.test)]
    return -torch.cat(figures).mean().item()


@dataclass(frozen=True)
class Outcome:
    """One library's test log-likelihoods over seeds; CPU seconds of one seed."""

    values: list[float]
    parameters: int
    seconds: float

    @classmethod
    def of(cls, make: Callable[[int], nn.Module], dataset: Dataset, steps: int) -> Outcome:
        began = time.process_time()
        flows = [make(seed) for seed in SEEDS]
        values = [trained(flow, dataset, steps, seed) for flow, seed in zip(flows, SEEDS, strict=True)]
        parameters = sum(parameter.numel() for parameter in flows[0].parameters())
        return cls(values, parameters, (time.process_time() - began) / len(SEEDS))

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def spread(self) -> float:
        return statistics.stdev(self.values)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.spread:.3f}"


@pytest.mark.parametrize("row", ROWS)
def test_likelihood_after_a_small_budget(row: str, table: list[str]) -> None:
    config, data, rival, steps = ROWS[row]
    dataset = data_of(data)
    own = Outcome.of(lambda seed: own_flow(config, dataset, seed), dataset, steps)
    other = Outcome.of(lambda seed: rival_flow(rival, config, dataset, seed), dataset, steps)
    difference = own.mean - other.mean
    worse = difference < -max(own.spread, other.spread)
    unit = "−bits/dim" if dataset.is_image else dataset.unit
    table.append(
        f"| {row.partition(' on ')[0]} beside {rival.name} | {LABELS[data.kind]} | {steps} "
        f"| {own.parameters:,} / {other.parameters:,} | {own} {unit} | {other} | {difference:+.3f} "
        f"| {'worse' if worse else 'not worse'} | {own.seconds:.1f} / {other.seconds:.1f} |"
    )
    print("\n" + table[-1])
    assert not worse, f"worse by {-difference:.3f} {unit}, more than the spread over seeds"


def test_every_architecture_has_a_rival() -> None:
    assert {config.kind for config, _, _, _ in ROWS.values()} == set(ARCHITECTURES)
