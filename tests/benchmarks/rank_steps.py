"""Times training steps of one flow, alone or as one of the ranks of torchrun: ``rank_steps.py NAME``.

Rank 0 prints the seconds of a step as JSON: wall time, and the CPU time of all ranks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from statistics import median

import numpy as np
import torch

from nfkd.config import ComputeConfig, TrainingConfig
from nfkd.config.flows import FlowConfig, GlowConfig, MAFConfig
from nfkd.data.dataset import Dataset, DataSplit
from nfkd.distillation.distiller import Likelihood
from nfkd.distillation.ranks import Ranks
from nfkd.flows.architectures import build_flow
from nfkd.training.ranks import GroupRanks, world_of
from nfkd.training.state import StageState
from nfkd.training.step import make_step

FLOWS: dict[str, tuple[FlowConfig, tuple[int, ...], int]] = {
    f"{name}, batch {batch:,}": (config, shape, batch)
    for name, config, shape, batches in (
        ("Glow 3×32×32", GlowConfig(levels=3, steps=4, hidden=64), (3, 32, 32), (32, 128)),
        ("MAF 63", MAFConfig(steps=5, hidden=512), (63,), (512, 2048)),
    )
    for batch in batches
}
"""The flow, the shape of an example and the batch of all ranks."""
STEPS, FIRST = 12, 3  # steps that are timed, and steps before


def dataset(shape: tuple[int, ...], count: int) -> Dataset:
    """Return random images, or vectors."""
    random = np.random.default_rng(0)
    images = len(shape) == 3
    values = random.integers(0, 256, (count, *shape)) if images else random.standard_normal((count, *shape))
    part = DataSplit(values.astype(np.uint8 if images else np.float32))
    return Dataset("random", part, part, part, levels=256 if images else None)


def seconds(name: str, ranks: Ranks) -> tuple[float, float]:
    """Return the wall and the CPU time of a step of this process."""
    flow_config, shape, batch = FLOWS[name]
    data, training = dataset(shape, 4 * batch), TrainingConfig(batch_size=batch)
    flow = build_flow(flow_config, shape, generator=torch.Generator().manual_seed(0)).train()
    state = StageState.fresh("teacher", 1, flow, training, len(data.train))
    loss, times = Likelihood(data, ranks), list[tuple[float, float]]()
    for _ in range(FIRST + STEPS):
        began = time.perf_counter(), time.process_time()
        if isinstance(ranks, GroupRanks) and ranks.rank:
            ranks.receive()
            make_step(state, loss, data, training, 1e-3)
        else:
            with ranks.step():
                make_step(state, loss, data, training, 1e-3)
        times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = zip(*times[FIRST:], strict=True)
    return median(wall), median(cpu)


def main(name: str) -> None:
    """Time the steps and print them."""
    torch.set_num_threads(1)
    world = world_of(os.environ)
    ranks = Ranks() if world is None else GroupRanks(world, ComputeConfig(device="cpu"), "torchrun")
    wall, cpu = seconds(name, ranks)
    if ranks.size > 1:
        cpu = float(ranks.sum([torch.tensor(cpu, dtype=torch.float64)])[0])
    if not ranks.rank:
        sys.stdout.write(json.dumps([wall, cpu]) + "\n")
    if isinstance(ranks, GroupRanks):
        if ranks.rank:
            ranks.receive()
        ranks.close()


if __name__ == "__main__":
    main(sys.argv[1])
