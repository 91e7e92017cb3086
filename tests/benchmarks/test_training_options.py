"""Time and memory of a Glow step with bf16, micro-batches and recomputed activations."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch

from nfkd.config import GlowConfig, TrainingConfig
from nfkd.data import Batch
from nfkd.flows.architectures import build_flow
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow, Pass
from nfkd.planning.devices import precision_warnings
from nfkd.training.optimizers import make_optimizer
from nfkd.training.step import passes_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

SHAPE, ROUNDS = (3, 32, 32), 5
STEPS: dict[str, TrainingConfig] = {
    "float32": TrainingConfig(),
    "bf16": TrainingConfig(precision="bf16"),
    "float32, 2 micro-batches": TrainingConfig(accumulate=2),
    "float32, 4 micro-batches": TrainingConfig(accumulate=4),
    "bf16, 4 micro-batches": TrainingConfig(precision="bf16", accumulate=4),
    "float32, recomputed activations": TrainingConfig(activations="recompute"),
    "bf16, recomputed activations": TrainingConfig(precision="bf16", activations="recompute"),
}
GLOW = GlowConfig(levels=3, steps=8, hidden=128)


def glow(generator: torch.Generator, count: int) -> tuple[Flow, Batch]:
    flow = build_flow(GLOW, SHAPE, generator=generator)
    x = torch.rand(count, *SHAPE, generator=generator)
    flow.initialize(x)
    return flow, Batch(x)


def loss(result: Pass) -> torch.Tensor:
    return -result.log_prob.mean() / 3072


def step(flow: Flow, optimizer: torch.optim.Optimizer, batch: Batch, config: TrainingConfig) -> tuple[float, float]:
    """Return wall time and CPU time in seconds; CPU time does not depend on other processes."""
    began = time.perf_counter(), time.process_time()
    optimizer.zero_grad(set_to_none=True)
    with passes_of(config):
        for micro_batch in batch.x.chunk(config.accumulate):
            (loss(flow(micro_batch)) / config.accumulate).backward()
    optimizer.step()
    return time.perf_counter() - began[0], time.process_time() - began[1]


@pytest.mark.parametrize("count", [8, 32])
def test_time_of_a_glow_step(count: int) -> None:
    """Interleave the options, so that other load affects all in the same way."""
    flow, batch = glow(torch.Generator().manual_seed(0), count)
    optimizers = {name: make_optimizer(config, flow.parameters()) for name, config in STEPS.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}
    for turn in range(ROUNDS + 1):
        for name, config in STEPS.items():
            taken = step(flow, optimizers[name], batch, config)
            if turn:  # the first is a warm-up
                seconds[name].append(taken)
    native = not precision_warnings(STEPS["bf16"], torch.device("cpu"))
    threads = torch.get_num_threads()
    print(f"\nGlow K=8, L=3, width 128, batch {count} at 3×32×32, {threads} threads, native bf16: {native}")
    print("| step | wall | ratio | CPU | ratio (lowest to highest) | estimate |")
    print("|---|---:|---:|---:|---|---:|")
    for name, config in STEPS.items():
        wall, processor = (median(pair[kind] for pair in seconds[name]) for kind in (0, 1))
        pairs = list(zip(seconds[name], seconds["float32"], strict=True))
        walls, processors = ([found[kind] / plain[kind] for found, plain in pairs] for kind in (0, 1))
        part, precision, activations = count // config.accumulate, config.precision, config.activations
        size = flow_cost(GLOW, SHAPE, part, precision=precision, activations=activations).training_memory
        print(
            f"| {name} | {1000 * wall:.0f} ms | {median(walls):.2f} | {1000 * processor:.0f} ms "
            f"| {median(processors):.2f} ({min(processors):.2f} to {max(processors):.2f}) | {size / 2**20:.0f} MiB |"
        )


PEAK = """
import sys
from pathlib import Path
import torch
from nfkd.data import Batch
from tests.benchmarks.test_training_options import SHAPE, STEPS, glow, make_optimizer, step

def kib(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if name in line)

torch.set_num_threads(1)
config = STEPS[sys.argv[1]]
flow, batch = glow(torch.Generator().manual_seed(0), 32)
optimizer = make_optimizer(config, flow.parameters())
step(flow, optimizer, Batch(torch.rand(config.accumulate, *SHAPE)), config)  # allocates gradients and moments
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
before = kib("VmRSS")
step(flow, optimizer, batch, config)
print(kib("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux /proc")
def test_memory_of_a_glow_step() -> None:
    print("\n| step, batch 32 | peak above weights, gradients and moments |\n|---|---:|")
    for name in STEPS:
        done = subprocess.run([sys.executable, "-c", PEAK, name], check=True, capture_output=True, text=True)
        print(f"| {name} | {int(done.stdout) / 2**10:.0f} MiB |")
