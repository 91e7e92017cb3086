"""FID of samples: the Fréchet distance of features of an Inception network (Heusel et al. 2017, arXiv 1706.08500)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nfkd.data import DataSplit
from nfkd.evaluation.distances import FrechetPairs
from nfkd.evaluation.evaluated_flows import Material, Measured
from nfkd.evaluation.finite_samples import usable_samples
from nfkd.evaluation.inception import FEATURES, Inception
from nfkd.evaluation.intervals import Estimate, jackknife

_ROWS = 64  # images in a pass of the network


class Fid:
    """FID between samples of flows and the test examples of an evaluation.

    Parameters
    ----------
    inception
        The network.
    material
        The examples: images of 1 or 3 channels.

    Attributes
    ----------
    notes
        Which network it is, and whether there are few examples.
    """

    def __init__(self, inception: Inception, material: Material) -> None:
        self._inception, self._material = inception, material
        self._known: tuple[np.ndarray, float] | None = None
        text = f"FID uses {inception.name} (SHA-256 {inception.sha256[:12]}…)"
        self.notes = [f"{text}; compare it only with FIDs of the same file"]
        count = min(len(material.test), material.samples)
        if count <= FEATURES:
            few = f"FID has {count:,} examples, no more than its {FEATURES:,} features, so the covariances are singular"
            self.notes.append(f"{few}; compare only FIDs of the same N")

    def measure(self, samples: Tensor) -> dict[str, Measured]:
        """Return FID of samples as flows give them, with that of training examples, under the name of its network."""
        real, reference = self._examples()
        return {self._inception.metric: Measured(self._estimate(real, samples), reference)}

    def _examples(self) -> tuple[np.ndarray, float]:
        """Return the features of the test examples, and their distance from training examples."""
        if self._known is None:
            dataset = self._material.dataset
            test = dataset.test.some(self._material.samples)
            real, train = (self._features(split) for split in (test, dataset.train.some(len(test))))
            distance = FrechetPairs(real, train).distance(np.arange(len(real)), np.arange(len(train)))
            self._known = real, distance
        return self._known

    def _estimate(self, real: np.ndarray, samples: Tensor) -> Estimate:
        samples = samples[usable_samples(samples)]
        if not len(samples):
            return Estimate(math.nan, math.nan, math.nan, 0)
        generated = self._features((samples * (self._material.dataset.levels or 1)).floor())
        pairs, sizes = FrechetPairs(real, generated), (len(real), len(generated))
        [estimate] = jackknife(
            lambda i, j: [pairs.distance(i, j)], sizes, [(0.0, math.inf)], on_group=self._material.check
        )
        return estimate

    def _features(self, levels: DataSplit | Tensor) -> np.ndarray:
        """Return the features of images of whole levels."""
        return self._inception.features(self._parts(levels))

    def _parts(self, levels: DataSplit | Tensor) -> Iterator[Tensor]:
        count = self._material.dataset.levels or 2
        for start in range(0, len(levels), _ROWS):
            self._material.check()
            chosen = slice(start, start + _ROWS)
            part = levels[chosen] if isinstance(levels, Tensor) else torch.from_numpy(levels.take(chosen).values)
            yield to_bytes(part, count)


def to_bytes(levels: Tensor, count: int) -> Tensor:
    """Return images of whole levels as uint8 images as they are shown, (N, 3, height, width).

    Level k of L becomes 255 k/(L − 1), rounded; grey is repeated to three channels.

    Parameters
    ----------
    levels
        (N, 1 or 3, height, width); values outside the levels become the nearest one.
    count
        Number of levels.
    """
    found = (levels.double().clamp(0, count - 1) * (255 / (count - 1))).round().to(torch.uint8)
    return found.expand(-1, 3, -1, -1).contiguous()
