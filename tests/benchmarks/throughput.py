"""How much faster is a student that has fewer layers? Walton et al. 2025 say: by the ratio of the layers.

Teacher and student differ in nothing but the number of steps, and take turns on one thread, so that other work on the
machine slows both alike; the time is the processor's. What a flow costs does not depend on its weights: they are the
first ones, after the first batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from nfkd.config.flows import FlowConfig, Glow1DConfig, GlowConfig, MAFConfig, NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow

ROUNDS = 9
COUNT = 128
SPAN = 0.1
"""Seconds of the processor that a round takes at least."""


@dataclass(frozen=True)
class Family:
    """Flows that differ in their steps: the teacher's, and the students'."""

    title: str
    shape: tuple[int, ...]
    teacher: FlowConfig
    steps: tuple[int, ...]


FAMILIES = [
    Family("Glow, 1×8×8", (1, 8, 8), GlowConfig(levels=2, steps=8, hidden=32), (1, 2, 4)),
    Family("Glow, 3×32×32", (3, 32, 32), GlowConfig(levels=3, steps=8, hidden=64), (2, 4)),
    Family("Glow-1D, 63", (63,), Glow1DConfig(steps=8, hidden=32), (1, 2, 4)),
    Family("NSF, coupling, 63", (63,), NSFConfig(steps=8, hidden=64), (2, 4)),
    Family("MAF, 63", (63,), MAFConfig(steps=8, hidden=64), (2, 4)),
]


@torch.no_grad()
def ratios() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| flow | steps | layers, teacher over student | sampling, student over teacher | log-density |"
    yield "|---|---|---:|---:|---:|"
    for family in FAMILIES:
        most = family.teacher.steps
        teacher = made(family.teacher, family.shape)
        for steps in family.steps:
            student = made(family.teacher.model_copy(update={"steps": steps}), family.shape)
            x = torch.rand(COUNT, *family.shape)
            drawn = compared(draw, teacher, student)
            judged = compared(lambda flow, x=x: flow.log_prob(x), teacher, student)
            yield f"| {family.title} | {most} → {steps} | {most / steps:.1f} | {drawn} | {judged} |"


def made(config: FlowConfig, shape: tuple[int, ...]) -> Flow:
    """Return a flow as after its first batch."""
    flow = build_flow(config, shape, generator=torch.Generator().manual_seed(0))
    flow.initialize(torch.rand(COUNT, *shape))
    return flow.eval()


def draw(flow: Flow) -> object:
    """Sample, from the same noise each time."""
    return flow.sample(COUNT, generator=torch.Generator().manual_seed(0))


def compared(act: Callable[[Flow], object], teacher: Flow, student: Flow) -> str:
    """Return how many times as fast the student is: the median of rounds in turn, and the lowest and highest."""
    found = []
    for number in range(ROUNDS + 1):
        theirs, ours = seconds(act, teacher), seconds(act, student)
        if number:  # the first warms up
            found.append(theirs / ours)
    return f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f})"


def seconds(act: Callable[[Flow], object], flow: Flow) -> float:
    """Return how long a flow takes: the mean of as many times as fill a round."""
    began, times = time.process_time(), 0
    while (spent := time.process_time() - began) < SPAN:
        act(flow)
        times += 1
    return spent / times
