"""Samples of a flow against test examples: distances, C2ST, precision and recall with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nfkd.evaluation.distances import (
    PairDistances,
    frechet_distance,
    projected_wasserstein,
    random_directions,
)
from nfkd.evaluation.evaluated_flows import ROWS, Material
from nfkd.evaluation.finite_samples import usable_features
from nfkd.evaluation.intervals import Estimate, Statistic, jackknife, normal_estimate
from nfkd.evaluation.quality import C2ST_MAX, c2st, c2st_error
from nfkd.flows.flow import Flow

FEWEST = 8
"""Examples and samples, at least."""
FEWEST_C2ST = 40
"""For C2ST: each leaf of its trees has at least 20 of two thirds of them."""
PAIRED = ("mmd", "precision", "recall")
"""Metrics of the distances of all pairs."""
_RANGES = {"mmd": (-math.inf, math.inf), "sw": (0.0, math.inf), "fd": (0.0, math.inf)}
_NOISE = 20_261_101


class Compared(NamedTuple):
    """Examples or samples, (N, D) float64, and their features for FD-local, (N, F), if there are some."""

    values: np.ndarray
    features: np.ndarray | None = None

    @property
    def usable(self) -> bool:
        """Whether there are enough, and all are finite."""
        return len(self.values) >= FEWEST and bool(np.isfinite(self.values).all())


class _Task(NamedTuple):
    names: tuple[str, ...]
    statistic: Statistic
    sizes: tuple[int, int]


@torch.no_grad()
def draw_samples(flow: Flow, material: Material, seed: int) -> Tensor:
    """Return samples of a flow on the CPU, with the contexts of the test examples.

    The noise is the same for all flows of a seed whose latents have the same shapes.
    """
    generator = torch.Generator().manual_seed(_NOISE + seed)
    context = material.test.contexts(material.samples)
    parts = list[Tensor]()
    for start in range(0, material.samples, ROWS):
        material.check()
        count = min(ROWS, material.samples - start)
        part = None if context is None else context[start : start + count].to(material.device)
        parts.append(flow.sample(count, generator=generator, context=part).cpu())
    return torch.cat(parts)


def sample_estimates(
    real: Compared, generated: Compared, names: Collection[str], check: Callable[[], None] = lambda: None
) -> dict[str, Estimate]:
    """Return metrics of samples with intervals: by the jackknife over examples and samples, C2ST's by `c2st_error`.

    Parameters
    ----------
    real, generated
        Test examples and samples.
    names
        Of ``sw``, ``mmd``, ``c2st``, ``fd``, ``precision``, ``recall``.
    check
        Called now and then; may raise.

    Returns
    -------
    dict[str, Estimate]
        NaN for samples that are not finite, and for fewer than eight of them.
    """
    if not (real.usable and generated.usable):
        return dict.fromkeys(names, Estimate(math.nan, math.nan, math.nan, len(generated.values)))
    found: dict[str, Estimate] = {}
    for task in _tasks(real, generated, names):
        if min(task.sizes) < FEWEST:
            found |= dict.fromkeys(task.names, Estimate(math.nan, math.nan, math.nan, min(task.sizes)))
            continue
        ranges = [_RANGES.get(name, (0.0, 1.0)) for name in task.names]
        estimates = jackknife(task.statistic, task.sizes, ranges, on_group=check)
        found |= dict(zip(task.names, estimates, strict=True))
    if "c2st" in names:
        value, error = c2st_error(real.values, generated.values, check)
        count = min(len(real.values), len(generated.values), C2ST_MAX)
        found["c2st"] = normal_estimate(value, error, count, (0.0, 1.0))
    return {name: found[name] for name in names if name in found}


def sample_values(real: Compared, generated: Compared, names: Collection[str]) -> dict[str, float]:
    """Return the same metrics without intervals, for training examples in place of samples."""
    if not (real.usable and generated.usable):
        return {}
    found = {"c2st": c2st(real.values, generated.values)} if "c2st" in names else {}
    return found | {
        name: value
        for task in _tasks(real, generated, names)
        for name, value in zip(task.names, task.statistic(*map(np.arange, task.sizes)), strict=True)
    }


def _tasks(real: Compared, generated: Compared, names: Collection[str]) -> Iterator[_Task]:
    first, second = real.values, generated.values
    sizes = len(first), len(second)
    if "sw" in names:
        directions = random_directions(first.shape[1], np.random.default_rng(0))  # the same for every flow
        rows = directions @ first.T, directions @ second.T
        yield _Task(("sw",), lambda i, j: [projected_wasserstein(rows[0][:, i], rows[1][:, j])], sizes)
    if not set(PAIRED).isdisjoint(names):
        pairs = PairDistances.of(first, second)
        yield _Task(PAIRED, lambda i, j: _paired(pairs.take(i, j)), sizes)
    if "fd" in names and real.features is not None and generated.features is not None:
        features = [usable_features(each) for each in (real.features, generated.features)]
        sizes = len(features[0]), len(features[1])
        yield _Task(("fd",), lambda i, j: [_frechet(features[0][i], features[1][j])], sizes)


def _paired(pairs: PairDistances) -> list[float]:
    return [pairs.mmd(), *pairs.precision_recall()]


def _frechet(real: np.ndarray, generated: np.ndarray) -> float:
    return frechet_distance(real, generated) if min(len(real), len(generated)) >= FEWEST else math.nan
