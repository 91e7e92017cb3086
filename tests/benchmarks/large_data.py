"""Loads a data set and trains on it for some steps in this process, and prints times and memory as JSON.

python -m tests.benchmarks.large_data '{"kind": "table", "path": "rows.csv", "storage": "disk"}' 200
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import DataSplit, load_dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.flows.architectures import build_flow
from nfkd.training import read_ahead
from nfkd.training.freed_memory import keep_freed_memory
from nfkd.training.state import StageState
from nfkd.training.step import make_step

_WARM = 20  # steps


def memory() -> dict[str, int]:
    """Return this process's resident memory in bytes: anonymous, of mapped files, and the peak of both."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - a file of the kernel
        lines = dict(line.split(":", 1) for line in status)
    return {name: 1024 * int(lines[name].split()[0]) for name in ("RssAnon", "RssFile", "VmHWM")}


@contextmanager
def peaks(found: dict[str, int]) -> Iterator[None]:
    """Keep the largest values of `memory` until the end."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for name, value in memory().items():
                found[name] = max(found.get(name, 0), value)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def timed_reads(found: list[float]) -> Iterator[None]:
    """Measure how long the steps wait for their examples."""
    get = read_ahead._Queue.get  # pyright: ignore[reportPrivateUsage]

    def timed(self: Any, index: np.ndarray) -> DataSplit:
        start = time.perf_counter()
        split = get(self, index)
        found.append(time.perf_counter() - start)
        return split

    read_ahead._Queue.get = timed  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        read_ahead._Queue.get = get  # pyright: ignore[reportPrivateUsage]


def main(data: str, steps: int) -> None:
    """Load, train and print."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the trainer does
    import h5py  # noqa: F401 - not counted as memory of the data
    import polars as pl  # noqa: F401
    import scipy.stats  # noqa: F401

    config = ExperimentConfig.model_validate({"data": json.loads(data), "teacher": {"kind": "nsf"}} | flows(data))
    before, peak = memory(), dict[str, int]()
    with peaks(peak):
        began, began_cpu = time.perf_counter(), time.process_time()
        dataset = load_dataset(config.data)
        loaded = time.perf_counter() - began
        flow = build_flow(config.teacher, dataset.event_shape, generator=torch.Generator().manual_seed(0)).train()
        state = StageState.fresh("teacher", 1, flow, config.training, len(dataset.train))
        loss, reads, made = Likelihood(dataset), list[float](), list[float]()
        state.batches.next()
        dataset.training_batch(state.batches.upcoming(1)[0].numpy(), *noise())
        first, first_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        with read_ahead.reading_ahead(dataset, state.batches) as ahead, timed_reads(reads):
            for _ in range(steps):
                start = time.perf_counter()
                make_step(state, loss, ahead, config.training, 1e-3)
                made.append(time.perf_counter() - start)
        fingerprint = time.perf_counter()
        if dataset.fingerprint is not None:
            dataset.fingerprint()
        fingerprint = time.perf_counter() - fingerprint
    above = {name: (value - before[name]) / 2**20 for name, value in peak.items()}
    figures = {
        "load_s": loaded,
        "first_batch_s": first,
        "first_batch_cpu_s": first_cpu,
        "fingerprint_s": fingerprint,
        "step_ms": 1e3 * float(np.median(made[_WARM:])),
        "wait_ms": 1e3 * float(np.mean(reads[_WARM:])) if reads else 0.0,
        "share": float(np.sum(reads[_WARM:]) / np.sum(made[_WARM:])) if reads else 0.0,
        "above_mib": {name: round(value) for name, value in above.items()},
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def noise() -> tuple[torch.Generator, torch.Generator]:
    """Return generators that are not those of the training."""
    return torch.Generator(), torch.Generator()


def flows(data: str) -> dict[str, Any]:
    """Return the settings of the flows for a kind of data."""
    if "image" in data:
        small = {"kind": "glow", "levels": 2, "steps": 4, "hidden": 32}
        return {"teacher": small, "student": small, "training": {"batch_size": 64}}
    small = {"kind": "nsf", "steps": 4, "hidden": 64}
    return {"teacher": small, "student": small, "training": {"batch_size": 256}}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1], int(sys.argv[2]))
