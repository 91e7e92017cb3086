"""Fidelity of a flow to its teacher: layers, log-densities, samples of the same noise, and speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch.nn import functional

from nfkd.data import Batch
from nfkd.distillation.objectives.ilkd import example_errors
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Material, Measured
from nfkd.evaluation.finite_samples import usable_samples
from nfkd.evaluation.intervals import Estimate, jackknife, mean_estimate
from nfkd.evaluation.sample_metrics import draw_samples
from nfkd.flows.flow import Flow, Pass
from nfkd.protocol.records import LayerPair

_NEARLY_ONE = 1 - 1e-12
_LAYERS = ("layer_mse", "layer_cosine")
_LOG_PROBS = ("log_p_correlation", "log_p_difference", "fidelity_per_second")


def measure_fidelity(
    flow: EvaluatedFlow,
    source: Flow,
    names: Collection[str],
    material: Material,
    *,
    rate: Callable[[], Estimate],
    samples: Callable[[], torch.Tensor],
) -> dict[str, Measured]:
    """Return the fidelity of a flow to the flow that it learns from.

    The unit of all intervals is the example, or the sample. References are the same for training examples; that of
    ``same_noise`` is the mean absolute difference of test and training examples, which are unrelated.

    Parameters
    ----------
    flow, source
        The flow, and the one that it learns from.
    names
        Metrics of the group; ``layer_mse`` and ``layer_cosine`` also have a value for each pair of layers.
    material
        The examples.
    rate
        Returns the flow's samples per second; called for ``fidelity_per_second``.
    samples
        Returns the flow's samples; called for ``same_noise``.
    """
    found: dict[str, Measured] = {}
    if not set(_LAYERS).isdisjoint(names):
        found |= _measure_layers(flow, source, material)
    if not set(_LOG_PROBS).isdisjoint(names):
        found |= _measure_log_probs(flow, source, material, rate if "fidelity_per_second" in names else None)
    if "same_noise" in names:
        own, goal = samples(), draw_samples(source, material, flow.seed)
        count = min(len(material.test), len(material.train))
        unrelated = material.test.x[:count] - material.train.x[:count]
        found["same_noise"] = Measured(sample_differences(own, goal), float(unrelated.abs().double().mean()))
    return {name: value for name, value in found.items() if name.partition(".")[0] in names}


def _measure_layers(flow: EvaluatedFlow, source: Flow, material: Material) -> dict[str, Measured]:
    weights = np.array([pair.weight for pair in flow.pairs])
    test, seen = (
        layer_differences(flow.flow, source, flow.pairs, batch, material)
        for batch in (material.test, material.seen(flow.stage))
    )
    found: dict[str, Measured] = {}
    for name, own, other, least in zip(_LAYERS, test, seen, (0.0, -1.0), strict=True):
        means = [np.average(values, axis=1, weights=weights) for values in (own, other)]
        found[name] = Measured(mean_estimate(means[0], least=least), float(means[1].mean()))
        for number, pair in enumerate(flow.pairs):
            estimate = mean_estimate(own[:, number], least=least)
            found[f"{name}.{pair.student}"] = Measured(estimate, float(other[:, number].mean()))
    return found


def _measure_log_probs(
    flow: EvaluatedFlow, source: Flow, material: Material, rate: Callable[[], Estimate] | None
) -> dict[str, Measured]:
    test, seen = (
        [log_probs(each, batch, material) for each in (flow.flow, source)]
        for batch in (material.test, material.seen(flow.stage))
    )
    correlated = correlation(test[0], test[1])
    found = {
        "log_p_correlation": Measured(correlated, pearson(seen[0], seen[1])),
        "log_p_difference": Measured(mean_estimate(_below(test, material)), float(_below(seen, material).mean())),
    }
    if rate is not None:
        speed = rate()
        reference = max(0.0, pearson(seen[0], seen[1])) ** 2 * speed.value
        found["fidelity_per_second"] = Measured(fidelity_per_second(correlated, speed), reference)
    return found


def _below(values: Sequence[np.ndarray], material: Material) -> np.ndarray:
    """Return by how much log p of the first flow is below the second's, in the unit of likelihoods, (N,)."""
    own, goal = (material.dataset.nll(torch.from_numpy(each)) for each in values)
    return (own - goal).numpy()


@torch.no_grad()
def layer_differences(
    flow: Flow, teacher: Flow, pairs: Sequence[LayerPair], batch: Batch, material: Material
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean squared difference and the cosine of matched layers for each example, (N, M) each."""
    squares, cosines = list[torch.Tensor](), list[torch.Tensor]()
    for rows in material.parts(batch):
        own, goal = (each(rows.x, rows.context, trace=True) for each in (flow, teacher))
        squares.append(torch.stack(example_errors(own, goal, pairs), 1).double().cpu())
        cosines.append(_cosines(own, goal, pairs).double().cpu())
    return torch.cat(squares).numpy(), torch.cat(cosines).numpy()


def _cosines(student: Pass, teacher: Pass, pairs: Sequence[LayerPair]) -> torch.Tensor:
    states = [(student.trace[pair.student][0], teacher.trace[pair.teacher][0]) for pair in pairs]
    return torch.stack([functional.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in states], 1)


@torch.no_grad()
def log_probs(flow: Flow, batch: Batch, material: Material) -> np.ndarray:
    """Return log p of each example, (N,) float64 nats."""
    parts = [flow.log_prob(rows.x, rows.context).double().cpu() for rows in material.parts(batch)]
    return torch.cat(parts).numpy()


def correlation(student: np.ndarray, teacher: np.ndarray) -> Estimate:
    """Return Pearson's correlation of two flows' log p, with an interval by the jackknife over examples.

    The interval is computed for Fisher's z = artanh r, and transformed back. The correlation is also that of the
    differences Δlog p between two examples, to which a constant error of log p does not contribute.

    Parameters
    ----------
    student, teacher
        (N,) each.

    Returns
    -------
    Estimate
        NaN where a value is not finite or all are equal.
    """

    def fisher(kept: np.ndarray) -> list[float]:
        return [math.atanh(max(-_NEARLY_ONE, min(_NEARLY_ONE, pearson(student[kept], teacher[kept]))))]

    everything = pearson(student, teacher)
    if not math.isfinite(everything):
        return Estimate(math.nan, math.nan, math.nan, len(student))
    transformed = jackknife(fisher, [len(student)], [(-math.inf, math.inf)])[0]
    return Estimate(everything, math.tanh(transformed.low), math.tanh(transformed.high), len(student))


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation; NaN where it is not defined."""
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def sample_differences(samples: torch.Tensor, teacher_samples: torch.Tensor) -> Estimate:
    """Return the mean absolute difference of samples of the same noise; the unit of the interval is the sample.

    Pairs are left out where one of both is not finite, as by `usable_samples`.
    """
    usable = usable_samples(samples) & usable_samples(teacher_samples)
    differences = (samples[usable].double() - teacher_samples[usable].double()).abs().flatten(1).mean(1)
    return mean_estimate(differences.numpy(), least=0.0)


def fidelity_per_second(correlated: Estimate, rate: Estimate) -> Estimate:
    """Return r²·v: the share of the variance of the teacher's log p that the student's explains, times its throughput.

    Its unit is samples per second. A flow whose log p follows the teacher's exactly has its own throughput v as
    fidelity per second; one whose log p does not follow it has 0, however fast it is. The share is that of a linear
    regression, so a constant error of log p and a wrong temperature do not reduce it. A negative r counts as 0. The
    interval combines the ends of both intervals, so it is wider than needed.

    Parameters
    ----------
    correlated
        Correlation r of log p of student and teacher.
    rate
        Samples per second, v.
    """
    shares = [max(0.0, r) ** 2 for r in (correlated.value, correlated.low, correlated.high) if math.isfinite(r)]
    if len(shares) < 3:
        return Estimate(math.nan, math.nan, math.nan, correlated.count)
    value, low, high = shares
    return Estimate(value * rate.value, low * rate.low, high * rate.high, correlated.count)
