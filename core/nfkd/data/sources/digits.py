"""scikit-learn's handwritten digits."""

from __future__ import annotations

from nfkd.config import DigitsConfig
from nfkd.data.augmentation import Augmentation
from nfkd.data.bundled import digits
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
        images, labels = digits()
        context = class_context(labels, 10) if config.class_labels else None
        return Loaded(
            name="digits",
            train=DataSplit(images[:, None], context, labels=labels),
            levels=_LEVELS,
            gaussian_noise=config.gaussian_noise,
            augmentation=Augmentation(config.flip, config.shift, config.label_dropping),
        )


SOURCES = (Digits(),)
