"""Test examples with which samples are compared, and the noise floor: what a perfect model would reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from nfkd.data import Batch, Dataset
from nfkd.data.units import evaluation_noise
from nfkd.evaluation.distances import PairDistances, frechet_distance, sliced_wasserstein
from nfkd.evaluation.features import LocalFeatures, local_features
from nfkd.evaluation.quality import C2ST_MAX

_MEASURES = ("sw", "mmd", "precision", "recall")
"""Fields of `StageSummary` that compare samples with test examples, and that have a noise floor."""
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
    dataset
        The data set; its training split is that which the evaluated flow has seen.
    test, train
        The examples, with the noise of evaluations.
    features
        For FD-local; None for data without class labels.
    """

    dataset: Dataset
    test: Batch
    train: Batch
    features: LocalFeatures | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Reference:
        """Return the reference of a data set."""
        generator = evaluation_noise()
        test = dataset.test.some(C2ST_MAX)
        train = dataset.train.some(len(test))
        return cls(dataset, dataset.batch(test, generator), dataset.batch(train, generator), local_features(dataset))

    def measure(self, samples: torch.Tensor) -> dict[str, float]:
        """Return each measure of a flow's samples, (N, …) on the CPU; ``fd`` only with `features`."""
        return self._measure(self.test.x, samples)

    @cached_property
    def floors(self) -> dict[str, float]:
        """Each measure for the training examples in place of samples; without those that are not finite."""
        count = min(len(self.train), len(self.test))
        values = self._measure(self.test.x[:count], self.train.x[:count])
        return {name: value for name, value in values.items() if np.isfinite(value)}

    def _measure(self, real: torch.Tensor, generated: torch.Tensor) -> dict[str, float]:
        values = sample_measures(real.flatten(1).numpy(), generated.flatten(1).numpy())
        if self.features is not None and np.isfinite(values["sw"]):
            values["fd"] = frechet_distance(self.features(real), self.features(generated))
        return values
