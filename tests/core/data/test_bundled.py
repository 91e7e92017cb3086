"""scikit-learn's files and points, read without it: the same as with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images, make_moons

from nfkd.config import TwoMoonsConfig
from nfkd.data.bundled import digits, photographs
from nfkd.data.sources import SOURCES


def test_digits_and_photographs_are_those_of_scikit_learn():
    images, labels = digits()
    photos: Any = load_sample_images()
    bunch: Any = load_digits()
    np.testing.assert_array_equal(images, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(photographs(), np.stack(photos.images))


@pytest.mark.parametrize(("count", "noise"), [(100, 0.0), (101, 0.08), (6000, 1.0)])
def test_the_moons_are_those_of_scikit_learn(count: int, noise: float):
    config = TwoMoonsConfig(count=count, noise=noise, split_seed=count)
    points = np.asarray(make_moons(count, noise=noise, random_state=count)[0])
    np.testing.assert_array_equal(SOURCES["two_moons"].load(config).train.values, points.astype(np.float32))
