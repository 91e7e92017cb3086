"""Test examples with which samples are compared, and the floors: what a perfect model would reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from nfkd.data import Batch, Dataset, DataSplit
from nfkd.data.units import evaluation_noise
from nfkd.evaluation.distances import PairDistances, sliced_wasserstein
from nfkd.evaluation.quality import C2ST_MAX

_MEASURES = ("sw", "mmd", "precision", "recall")
"""Fields of `StageSummary` that compare samples with test examples, and that have a floor."""
_FEWEST = 8


def sample_measures(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Return each measure, in float64.

    Parameters
    ----------
    real, generated
        (N, D) and (M, D).

    Returns
    -------
    dict[str, float]
        NaN for samples that are not finite, or for fewer than eight of them.
    """
    real, generated = (np.asarray(values, np.float64) for values in (real, generated))
    if min(len(real), len(generated)) < _FEWEST or not np.isfinite(generated).all():
        return dict.fromkeys(_MEASURES, float("nan"))
    directions = np.random.default_rng(0)  # the same for every flow
    pairs = PairDistances.of(real, generated)
    values = sliced_wasserstein(real, generated, directions), pairs.mmd(), *pairs.precision_recall()
    return dict(zip(_MEASURES, values, strict=True))


@dataclass(frozen=True, eq=False)
class Reference:
    """Test examples and as many training examples, as flows see them; at most 2,000 of each.

    Larger splits are represented by a random subset, the same in every run.

    Attributes
    ----------
    test, train
        The examples, with the noise of evaluations.
    """

    test: Batch
    train: Batch

    @classmethod
    def of(cls, dataset: Dataset) -> Reference:
        """Return the reference of a data set."""
        generator = evaluation_noise()
        test = some(dataset.test, C2ST_MAX)
        train = some(dataset.train, len(test))
        return cls(dataset.batch(test, generator), dataset.batch(train, generator))

    def measure(self, samples: torch.Tensor) -> dict[str, float]:
        """Return each measure of a flow's samples, (N, …)."""
        return sample_measures(_flat(self.test.x), _flat(samples))

    @cached_property
    def floors(self) -> dict[str, float]:
        """Each measure for the training examples in place of samples; without those that are not finite."""
        count = min(len(self.train), len(self.test))
        values = sample_measures(_flat(self.test.x[:count]), _flat(self.train.x[:count]))
        return {name: value for name, value in values.items() if np.isfinite(value)}


def some(split: DataSplit, count: int) -> DataSplit:
    """Return a split, or a random subset of `count` examples if it has more; always the same subset."""
    if len(split) <= count:
        return split
    chosen = np.random.default_rng(0).choice(len(split), count, replace=False)
    return split.take(np.sort(chosen))


def _flat(values: torch.Tensor) -> np.ndarray:
    return values.flatten(1).cpu().numpy()
