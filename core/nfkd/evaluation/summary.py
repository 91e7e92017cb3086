"""The figures of a flow at the end of its stage."""

from __future__ import annotations

import math

import numpy as np
import torch

from nfkd.data import Dataset, DataSplit
from nfkd.evaluation.likelihood import bootstrap_half_width, example_nll, noisy
from nfkd.evaluation.quality import C2ST_MAX, c2st
from nfkd.evaluation.throughput import SPEED_COUNT, samples_per_second
from nfkd.flows.flow import Flow
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role


def summarise(
    flow: Flow,
    dataset: Dataset,
    *,
    stage: Role,
    seed: int,
    multiply_adds: int,
    steps: int,
    best_step: int,
    seconds: float,
    generator: torch.Generator,
) -> StageSummary:
    """Evaluate a flow, in evaluation mode; figures that it does not support are NaN.

    `generator` (on the CPU) is for the samples of the two-sample test; other arguments as in `StageSummary`.
    """
    flow.eval()
    test, validation = (_nll(flow, dataset, split) for split in (dataset.test, dataset.validation))
    can_sample = "synthesis" not in flow.unsupported
    return StageSummary(
        stage=stage,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in flow.parameters()),
        multiply_adds=multiply_adds,
        steps=steps,
        best_step=best_step,
        validation=float(validation.mean()),
        test=float(test.mean()),
        test_error=bootstrap_half_width(test),
        unit=dataset.unit,
        samples_per_second=_throughput(flow, dataset) if can_sample else math.nan,
        seconds=seconds,
        c2st=_c2st(flow, dataset, generator) if can_sample else math.nan,
    )


def _nll(flow: Flow, dataset: Dataset, split: DataSplit) -> np.ndarray:
    return np.full(1, math.nan) if "log_prob" in flow.unsupported else example_nll(flow, dataset, split)


def _c2st(flow: Flow, dataset: Dataset, generator: torch.Generator) -> float:
    real = noisy(dataset, dataset.test.take(slice(C2ST_MAX)))
    context = _on_device_of(flow, real.contexts(len(real)))
    generated = flow.sample(len(real), generator=generator, context=context)
    return c2st(real.x.numpy(), generated.cpu().numpy())


def _throughput(flow: Flow, dataset: Dataset) -> float:
    example = noisy(dataset, dataset.validation.take(slice(1)))
    return samples_per_second(flow, context=_on_device_of(flow, example.contexts(SPEED_COUNT)))


def _on_device_of(flow: Flow, context: torch.Tensor | None) -> torch.Tensor | None:
    return None if context is None else context.to(next(flow.parameters()).device)
