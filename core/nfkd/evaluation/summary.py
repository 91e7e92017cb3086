"""The figures of a flow at the end of its stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from nfkd.data import Dataset, DataSplit
from nfkd.evaluation.fidelity import sample_differences
from nfkd.evaluation.finite_samples import count_not_finite, usable_samples
from nfkd.evaluation.likelihood import bootstrap_half_width, example_nll, noisy
from nfkd.evaluation.outliers import dominating
from nfkd.evaluation.quality import c2st
from nfkd.evaluation.reference import Reference
from nfkd.evaluation.throughput import SPEED_COUNT, samples_per_second
from nfkd.flows.flow import Flow
from nfkd.protocol.events import StageSummary
from nfkd.protocol.records import Ending
from nfkd.protocol.roles import Role


@dataclass(frozen=True)
class Trained:
    """A flow at the end of its stage.

    Attributes
    ----------
    flow
        With its best weights.
    steps, best_step, seconds, ended
        As in `StageSummary`.
    """

    flow: Flow
    steps: int
    best_step: int
    seconds: float
    ended: Ending = ""


def summarise(
    trained: Trained,
    reference: Reference,
    seen: DataSplit,
    *,
    stage: Role,
    seed: int,
    multiply_adds: int,
    generator: torch.Generator,
    teacher: Flow | None = None,
) -> StageSummary:
    """Evaluate a flow, in evaluation mode; figures that it does not support are NaN.

    Parameters
    ----------
    trained
        The flow.
    reference
        The data, and the examples with which samples are compared.
    seen
        The training examples that the flow has seen.
    generator
        Of the noise of the samples, on the CPU.
    teacher
        The flow that this one learns from, or the student that it is compared with; None for the teacher.
    stage, seed, multiply_adds
        As in `StageSummary`.
    """
    flow = trained.flow.eval()
    dataset = reference.dataset
    test, validation = (_nll(flow, dataset, split) for split in (dataset.test, dataset.validation))
    seen = seen.some(len(dataset.test))
    can_sample = "synthesis" not in flow.unsupported
    return StageSummary(
        stage=stage,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in flow.parameters()),
        multiply_adds=multiply_adds,
        steps=trained.steps,
        best_step=trained.best_step,
        validation=float(validation.mean()),
        test=float(test.mean()),
        test_error=bootstrap_half_width(test),
        unit=dataset.unit,
        samples_per_second=_throughput(flow, dataset) if can_sample else math.nan,
        seconds=trained.seconds,
        ended=trained.ended,
        outliers=float(dominating(test)),
        train_test_gap=float(test.mean()) - _mean(_nll(flow, dataset, seen), seen),
        **(_compare(flow, reference, generator, teacher) if can_sample else {}),
    )


def _nll(flow: Flow, dataset: Dataset, split: DataSplit) -> np.ndarray:
    return np.full(1, math.nan) if "log_prob" in flow.unsupported else example_nll(flow, dataset, split)


def _mean(values: np.ndarray, split: DataSplit) -> float:
    """Return the mean of values that were multiplied by the weights of a part of a split."""
    return float(values.mean() / (1 if split.weights is None else split.weights.mean(dtype=np.float64)))


def _compare(flow: Flow, reference: Reference, generator: torch.Generator, teacher: Flow | None) -> dict[str, float]:
    """Return the figures of samples, as many as test examples."""
    state = generator.get_state()
    samples = _sample(flow, reference, generator)
    usable = usable_samples(samples)
    figures = {"c2st": c2st(reference.test.x.numpy(), samples[usable].numpy()), **reference.measure(samples)}
    if teacher is not None and not no_same_noise(flow, teacher):
        same = _sample(teacher, reference, torch.Generator().set_state(state))
        figures["same_noise"] = sample_differences(samples, same).value
    return figures | {"not_finite": float(count_not_finite(samples))}


def no_same_noise(flow: Flow, teacher: Flow) -> str:
    """Return why two flows cannot sample from the same noise; empty if they can."""
    if "synthesis" in teacher.unsupported:
        return f"the teacher cannot sample: {teacher.unsupported['synthesis']}"
    if teacher.latent_shapes != flow.latent_shapes:
        return "student and teacher have latents of different shapes"
    return ""


def _sample(flow: Flow, reference: Reference, generator: torch.Generator) -> torch.Tensor:
    count = len(reference.test)
    context = _on_device_of(flow, reference.test.contexts(count))
    return flow.sample(count, generator=generator, context=context).cpu()


def _throughput(flow: Flow, dataset: Dataset) -> float:
    example = noisy(dataset, dataset.validation.take(slice(1)))
    return samples_per_second(flow, context=_on_device_of(flow, example.contexts(SPEED_COUNT)))


def _on_device_of(flow: Flow, context: torch.Tensor | None) -> torch.Tensor | None:
    return None if context is None else context.to(next(flow.parameters()).device)
