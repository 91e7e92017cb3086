"""Speed on a GPU: training and sampling of Glow and TarFlow on images of CIFAR-10's size, in one table.

    make bench-gpu                                          # needs a CUDA device, and at most ten minutes
    python -m tests.benchmarks.gpu --device cpu --tiny      # a rehearsal of the program; its figures mean nothing

Training is NFKD's own: batches, dequantization, gradient, clipping, Adam, and reads of the values, by `Stepper`. The
arithmetic of a step is three times that of log_prob; its share is that of the highest speed of a product of two
bf16 matrices, which is measured first. normflows, if it is installed, trains the same Glow by its own loss and Adam.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nfkd.config import ComputeConfig, TrainingConfig
from nfkd.config.flows import FlowConfig, GlowConfig, TarFlowConfig
from nfkd.data import Dataset, DataSplit
from nfkd.distillation.distiller import Likelihood
from nfkd.flows.architectures import build_flow
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.devices import device_name, precision_problems
from nfkd.training.job import out_of_memory
from nfkd.training.resident import on_device
from nfkd.training.state import StageState
from nfkd.training.stepper import Stepper

LEVELS = 256
_WARM_UP = 4  # steps: a new flow, the choice of kernels, and the recording of a graph


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes
    ----------
    shape, batch, examples
        Shape of an image, images of a step, and training images.
    glow, tarflow
        The flows.
    matrix
        Rows of the matrices whose product gives the highest speed.
    seconds
        Of each measurement, after the warm-up.
    """

    shape: tuple[int, int, int]
    batch: int
    examples: int
    glow: GlowConfig
    tarflow: TarFlowConfig
    matrix: int
    seconds: float


CIFAR = Sizes(
    shape=(3, 32, 32),
    batch=128,
    examples=50_000,
    glow=GlowConfig(levels=3, steps=32, hidden=512),
    tarflow=TarFlowConfig(patch=2, steps=8, hidden=512, depth=4),
    matrix=8192,
    seconds=12.0,
)
TINY = Sizes(
    shape=(3, 8, 8),
    batch=4,
    examples=64,
    glow=GlowConfig(levels=2, steps=2, hidden=16),
    tarflow=TarFlowConfig(patch=2, steps=2, hidden=64, depth=1),
    matrix=64,
    seconds=0.2,
)
MODES: tuple[tuple[str, TrainingConfig, ComputeConfig], ...] = (
    ("float32", TrainingConfig(), ComputeConfig(check_every=16)),
    ("TF32", TrainingConfig(precision="tf32"), ComputeConfig(check_every=16)),
    ("bf16", TrainingConfig(precision="bf16"), ComputeConfig(check_every=16)),
    ("bf16, values read at every step", TrainingConfig(precision="bf16"), ComputeConfig(check_every=1)),
    ("bf16, CUDA graphs", TrainingConfig(precision="bf16"), ComputeConfig(check_every=16, cuda_graphs=True)),
)


def repeated(function: Callable[[], object], device: torch.device, seconds: float, warm_up: int) -> float:
    """Return the mean seconds of a call; the device finishes its work only after the last one."""
    for _ in range(warm_up):
        function()
    wait(device)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds or not count:
        function()
        count += 1
    wait(device)
    return (time.perf_counter() - began) / count


def wait(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def highest_speed(device: torch.device, rows: int, seconds: float) -> float:
    """Return the operations a second of a product of two square bf16 matrices."""
    first, second = (torch.randn(rows, rows, device=device).bfloat16() for _ in range(2))
    return 2 * rows**3 / repeated(lambda: first @ second, device, seconds, 3)


def random_images(sizes: Sizes) -> Dataset:
    """Return a data set of random levels: speed does not depend on the values."""
    levels = np.random.default_rng(0).integers(0, LEVELS, (sizes.examples, *sizes.shape), np.uint8)
    few = DataSplit(levels[: sizes.batch])
    return Dataset("random images", DataSplit(levels), few, few, levels=LEVELS)


def new_flow(config: FlowConfig, sizes: Sizes, device: torch.device) -> Flow:
    """Return a flow with initial weights in training mode."""
    return build_flow(config, sizes.shape, generator=torch.Generator().manual_seed(0)).to(device).train()


def train(
    config: FlowConfig,
    sizes: Sizes,
    device: torch.device,
    training: TrainingConfig,
    compute: ComputeConfig,
    note: Callable[[str], None],
) -> float:
    """Return the training images a second of NFKD."""
    training = training.model_copy(update={"batch_size": sizes.batch})
    dataset = on_device(random_images(sizes), device)
    state = StageState.fresh("teacher", 1, new_flow(config, sizes, device), training, sizes.examples)
    steps = Stepper(
        state,
        Likelihood(dataset),
        dataset,
        training,
        compute,
        steps=1_000_000,
        elapsed=time.perf_counter,
        report=lambda *_: None,
        warn=note,
    )
    seconds = repeated(steps.step, device, sizes.seconds, _WARM_UP)
    steps.settle()
    return sizes.batch / seconds


@torch.no_grad()
def draw(config: FlowConfig, sizes: Sizes, device: torch.device) -> float:
    """Return the samples a second of NFKD, in float32."""
    flow = new_flow(config, sizes, device)
    flow.initialize(torch.rand(sizes.batch, *sizes.shape).to(device))
    flow.eval()
    generator = torch.Generator().manual_seed(0)
    return sizes.batch / repeated(lambda: flow.sample(sizes.batch, generator=generator), device, sizes.seconds, 1)


def normflows_glow(sizes: Sizes, device: torch.device) -> nn.Module:
    """Return the same Glow built from normflows' parts, as its documentation builds one.

    Raises
    ------
    ImportError
        When it is not installed.
    """
    library: Any = importlib.import_module("normflows")
    config, (channels, height, width) = sizes.glow, sizes.shape
    bases, merges, flows = [], [], []
    for level in range(config.levels):
        most = config.levels - level
        blocks = [
            library.flows.GlowBlock(channels * 2 ** (most + 1), config.hidden, split_mode="channel", scale=True)
            for _ in range(config.steps)
        ]
        flows.append([*blocks, library.flows.Squeeze()])
        latent = channels * 2 ** (most + (level == 0))
        bases.append(library.distributions.DiagGaussian((latent, height >> most, width >> most), trainable=False))
        merges += [library.flows.Merge()] if level else []
    return library.MultiscaleFlow(bases, flows, merges).to(device)


def train_normflows(sizes: Sizes, device: torch.device) -> float:
    """Return its training images a second."""
    flow: Any = normflows_glow(sizes, device)
    x = torch.rand(sizes.batch, *sizes.shape).to(device)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        flow.forward_kld(x).backward()
        optimizer.step()

    return sizes.batch / repeated(step, device, sizes.seconds, _WARM_UP)


@torch.no_grad()
def draw_normflows(sizes: Sizes, device: torch.device) -> float:
    """Return its samples a second."""
    flow: Any = normflows_glow(sizes, device)
    flow.log_prob(torch.rand(sizes.batch, *sizes.shape).to(device), None)  # initialises its ActNorm
    return sizes.batch / repeated(lambda: flow.sample(sizes.batch), device, sizes.seconds, 1)


def measured(work: Callable[[], float], device: torch.device) -> float | str:
    """Return a speed, or why there is none."""
    try:
        return work()
    except ImportError:
        return "not installed"
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return "out of memory"
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


def row(name: str, what: str, speed: float | str, operations: float, peak: float) -> str:
    """Return a row of the table; `operations` of one image."""
    if isinstance(speed, str):
        return f"| {name} | {what} | {speed} | |"
    return f"| {name} | {what} | {speed:,.1f} | {100 * operations * speed / peak:.1f} % |"


@plain_torch()
def table(sizes: Sizes, device: torch.device) -> Iterator[str]:
    """Yield the lines of the table."""
    peak = highest_speed(device, sizes.matrix, sizes.seconds / 4)
    yield f"{device_name(device)}, torch {torch.__version__}; bf16 product: {peak / 1e12:,.3g} · 10¹² operations/s"
    yield ""
    yield "| flow | work | images/s | share of the bf16 product |"
    yield "|---|---|---:|---:|"
    notes: list[str] = []
    for name, config in ((describe(sizes.glow, sizes), sizes.glow), (describe(sizes.tarflow, sizes), sizes.tarflow)):
        once = 2.0 * flow_cost(config, sizes.shape, sizes.batch).multiply_adds
        for mode, training, compute in MODES:
            unusable = precision_problems(training, device) or (compute.cuda_graphs and device.type != "cuda")
            speed = "not on this device" if unusable else measured(
                lambda c=config, t=training, k=compute: train(c, sizes, device, t, k, notes.append), device
            )  # fmt: skip
            yield row(name, f"training, {mode}", speed, 3 * once, peak)
        yield row(name, "sampling, float32", measured(lambda c=config: draw(c, sizes, device), device), once, peak)
        if config is sizes.glow:
            for work, function, times in (("training", train_normflows, 3), ("sampling", draw_normflows, 1)):
                speed = measured(lambda f=function: f(sizes, device), device)
                yield row(f"normflows' {name}", f"{work}, float32", speed, times * once, peak)
    yield from (f"\n{note}" for note in dict.fromkeys(notes))


def describe(config: GlowConfig | TarFlowConfig, sizes: Sizes) -> str:
    """Return a flow's name in the table."""
    size = f"{'×'.join(map(str, sizes.shape))}, batch {sizes.batch}"
    if isinstance(config, GlowConfig):
        return f"Glow K={config.steps} L={config.levels} width {config.hidden}, {size}"
    return f"TarFlow {config.steps} blocks × {config.depth} layers, width {config.hidden}, {size}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure training and sampling on a GPU.")
    parser.add_argument("--device", default="cuda", help="such as cuda:1; cpu for a rehearsal")
    parser.add_argument("--tiny", action="store_true", help="tiny flows and images, for a rehearsal")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        print(f"This machine has no usable {options.device}: nothing was measured.")
        return
    began = time.perf_counter()
    for line in table(TINY if options.tiny else CIFAR, device):
        print(line, flush=True)
    print(f"\nTook {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
