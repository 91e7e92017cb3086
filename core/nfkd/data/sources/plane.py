"""Densities in the plane, drawn with a seed."""

from __future__ import annotations

import numpy as np

from nfkd.config import TwoMoonsConfig
from nfkd.data.dataset import Part
from nfkd.data.source import Loaded, Source


class TwoMoons(Source[TwoMoonsConfig]):
    """Two interleaved half circles."""

    config = TwoMoonsConfig
    shape = "2"

    def load(self, config: TwoMoonsConfig) -> Loaded:
        """Return the points."""
        from sklearn.datasets import make_moons

        points, _ = make_moons(config.count, noise=config.noise, random_state=config.split_seed)
        return Loaded(name="two moons", train=Part(np.asarray(points, np.float32)))


SOURCES = (TwoMoons(),)
