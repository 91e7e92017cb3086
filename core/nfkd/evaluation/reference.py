"""Test examples with which samples are compared, and the noise floor: what a perfect model would reach."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from nfkd.data import Batch, Dataset
from nfkd.data.units import evaluation_noise
from nfkd.evaluation.distances import PairDistances, frechet_distance, sliced_wasserstein
from nfkd.evaluation.features import LatentFeatures, LocalFeatures, local_features
from nfkd.evaluation.finite_samples import usable_features, usable_samples
from nfkd.evaluation.quality import C2ST_MAX
from nfkd.flows.flow import Flow

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
        The data set.
    test, train
        The examples, with the noise of evaluations.
    features
        For FD-local; None for data without class labels, as long as there is no teacher.
    """

    dataset: Dataset
    test: Batch
    train: Batch
    features: LocalFeatures | LatentFeatures | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Reference:
        """Return the reference of a data set."""
        generator = evaluation_noise()
        test = dataset.test.some(C2ST_MAX)
        train = dataset.train.some(len(test))
        return cls(dataset, dataset.batch(test, generator), dataset.batch(train, generator), local_features(dataset))

    def with_teacher(self, teacher: Flow) -> Reference:
        """Return the same with the teacher's latents as features, if there is no classifier and it has latents."""
        if self.features is not None or "latents" in teacher.unsupported:
            return self
        return replace(self, features=LatentFeatures(teacher))

    def measure(self, samples: torch.Tensor) -> dict[str, float]:
        """Return each measure of a flow's samples, (N, …) on the CPU, drawn with the test examples' contexts.

        A few samples that are not finite are left out, as by `usable_samples`.
        ``fd`` and ``fd_floor``, that of the training examples in place of samples, are there with `features` only.
        """
        usable, context = usable_samples(samples), self.test.contexts(len(samples))
        samples, context = samples[usable], None if context is None else context[usable]
        values = sample_measures(self.test.x.flatten(1).numpy(), samples.flatten(1).numpy())
        if self.features is not None and np.isfinite(values["sw"]):
            values |= {"fd": self._distance(self.features(samples, context)), "fd_floor": self._fd_floor}
        return values

    @cached_property
    def floors(self) -> dict[str, float]:
        """Each measure but FD-local for training examples in place of samples; without those that are not finite."""
        count = min(len(self.train), len(self.test))
        real, seen = (batch.x[:count].flatten(1).numpy() for batch in (self.test, self.train))
        return {name: value for name, value in sample_measures(real, seen).items() if np.isfinite(value)}

    @cached_property
    def _fd_floor(self) -> float:
        return math.nan if self.features is None else self._distance(self.features(self.train.x, self.train.context))

    @cached_property
    def _test_features(self) -> np.ndarray | None:
        return None if self.features is None else self.features(self.test.x, self.test.context)

    def _distance(self, features: np.ndarray) -> float:
        """Return the Fréchet distance of features from those of the test examples.

        Features that are not finite are left out, as by `usable_features`; NaN where fewer than eight are used.
        """
        if self._test_features is None:
            return math.nan
        used = [usable_features(each) for each in (self._test_features, features)]
        return frechet_distance(*used) if min(map(len, used)) >= _FEWEST else math.nan
