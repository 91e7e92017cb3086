"""TarFlow: the time of a training step beside the same architecture written plainly, and of a sample.

Both take turns on one thread, so that other load slows both in the same way. CPU time is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from nfkd.config.flows import TarFlowConfig
from nfkd.flows.architectures import build_flow
from tests.benchmarks.plain_tarflow import PlainTarFlow

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

ROUNDS = 15
CASES = {
    "digits": ((1, 8, 8), TarFlowConfig(), 128),
    "colour crops": ((3, 32, 32), TarFlowConfig(patch=4, hidden=128), 32),
}
MOST = 1.1


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stepping(module: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (-log_prob(x).mean()).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()

    return step


def seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


@pytest.mark.parametrize("name", CASES)
def test_a_training_step_takes_as_long_as_the_plain_one(name: str) -> None:
    shape, config, size = CASES[name]
    own = build_flow(config, shape)
    plain = PlainTarFlow(shape, config.patch, config.hidden, config.steps, config.depth)
    x = torch.rand(size, *shape)
    steps = stepping(own, own.log_prob, x), stepping(plain, plain, x)
    for step in steps:
        step()
    times = [tuple(seconds(step) for step in steps) for _ in range(ROUNDS)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    ratio = statistics.median(ours / theirs for ours, theirs in times)
    print(f"\n{name}, batch {size}: {1000 * medians[0]:.1f} ms, plain {1000 * medians[1]:.1f} ms, ratio {ratio:.3f}")
    assert ratio <= MOST


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_sampling_with_a_cache_beside_a_pass(name: str) -> None:
    shape, config, _ = CASES[name]
    flow = build_flow(config, shape)
    print()
    for size in (1, 16, 256):
        x = torch.rand(size, *shape)
        times = [(seconds(lambda x=x: flow.log_prob(x)), seconds(lambda x=x: flow.sample(len(x)))) for _ in range(5)]
        passed, drawn = (min(column) for column in zip(*times, strict=True))
        print(f"{name}, {size}: pass {1000 * passed:.1f} ms, samples {1000 * drawn:.1f} ms, {drawn / passed:.1f} times")
