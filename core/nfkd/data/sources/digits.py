"""scikit-learn's handwritten digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from nfkd.config import DigitsConfig
from nfkd.data.augmentation import Augmentation
from nfkd.data.dataset import DataSplit
from nfkd.data.images import class_context
from nfkd.data.source import Loaded, Source

_LEVELS = 17


class Digits(Source[DigitsConfig]):
    """1,797 images of 8×8 pixels."""

    config = DigitsConfig
    shape, unit = "1×8×8", "bits/dim"
    examples, origin = "1,797", "scikit-learn"

    def load(self, config: DigitsConfig) -> Loaded:
        """Return the images."""
        from sklearn.datasets import load_digits  # takes a second to import

        bunch: Any = load_digits()
        context = class_context(bunch.target, 10) if config.class_labels else None
        return Loaded(
            name="digits",
            train=DataSplit(bunch.images.astype(np.uint8)[:, None], context, labels=bunch.target.astype(np.int64)),
            levels=_LEVELS,
            gaussian_noise=config.gaussian_noise,
            augmentation=Augmentation(config.flip, config.shift, config.label_dropping),
        )


SOURCES = (Digits(),)
