"""Speed-up of a student with fewer layers; Walton et al. 2025 report the ratio of the layers.

Teacher and student differ only in the number of steps, and take turns on one thread, so that other load slows both in
the same way. CPU time is measured. The cost does not depend on the weights, so the flows are only initialised.
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
"""Least CPU seconds of a round."""


@dataclass(frozen=True)
class Family:
    """Flows that differ in their number of steps: a teacher's and the students'."""

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
        teacher = initialised(family.teacher, family.shape)
        for steps in family.steps:
            student = initialised(family.teacher.model_copy(update={"steps": steps}), family.shape)
            x = torch.rand(COUNT, *family.shape)
            sampling = compared(draw, teacher, student)
            density = compared(lambda flow, x=x: flow.log_prob(x), teacher, student)
            yield f"| {family.title} | {most} → {steps} | {most / steps:.1f} | {sampling} | {density} |"


def initialised(config: FlowConfig, shape: tuple[int, ...]) -> Flow:
    """Return a flow after the first batch."""
    flow = build_flow(config, shape, generator=torch.Generator().manual_seed(0))
    flow.initialize(torch.rand(COUNT, *shape))
    return flow.eval()


def draw(flow: Flow, count: int = COUNT) -> object:
    """Sample, from the same noise each time."""
    return flow.sample(count, generator=torch.Generator().manual_seed(0))


def compared(act: Callable[[Flow], object], teacher: Flow, student: Flow) -> str:
    """Return the speed-up of the student: median of alternating rounds, lowest and highest."""
    found = [slow / quick for slow, quick in rounds(act, teacher, student)]
    return f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f})"


def rounds(act: Callable[[Flow], object], teacher: Flow, student: Flow) -> list[tuple[float, float]]:
    """Return the seconds of teacher and student in alternating rounds, after a warm-up."""
    return [(seconds(act, teacher), seconds(act, student)) for _ in range(ROUNDS + 1)][1:]


def seconds(act: Callable[[Flow], object], flow: Flow) -> float:
    """Return the mean duration over one round."""
    began, times = time.process_time(), 0
    while (spent := time.process_time() - began) < SPAN:
        act(flow)
        times += 1
    return spent / times
