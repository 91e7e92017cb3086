"""Samples that are not finite or far outside the range of the data, against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nfkd.data import Dataset, DataSplit
from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE

IMAGES = DataSplit(np.random.default_rng(0).integers(0, 17, (20, 1, 2, 2), np.uint8))
VECTORS = DataSplit(np.array([[0.0, 10.0], [1.0, 30.0], [0.5, 20.0]], np.float32))
VALUES = st.sampled_from([-2.01, -0.51, -0.49, 0.0, 0.99, 1.49, 1.51, 1.99, 2.01, 49.0, 51.0, math.nan, math.inf])


def of_images() -> Dataset:
    return Dataset(name="images", train=IMAGES, validation=IMAGES, test=IMAGES, levels=17)


def of_vectors() -> Dataset:
    return Dataset(name="vectors", train=VECTORS, validation=VECTORS, test=VECTORS)


def flag_of(sample: list[float], bounds: list[tuple[float, float]]) -> int:
    if not all(math.isfinite(value) for value in sample):
        return NOT_FINITE
    inside = all(low <= value <= high for value, (low, high) in zip(sample, bounds, strict=True))
    return USABLE if inside else OUT_OF_RANGE


@given(st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=4))
def test_images_may_leave_zero_to_one_by_a_half(samples: list[list[float]]) -> None:
    flags = of_images().sample_flags(torch.tensor(samples).reshape(-1, 1, 2, 2))
    assert flags.tolist() == [flag_of(sample, 4 * [(-0.5, 1.5)]) for sample in samples]


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), min_size=1, max_size=4))
def test_a_feature_may_leave_its_range_by_the_width_of_the_range(samples: list[list[float]]) -> None:
    flags = of_vectors().sample_flags(torch.tensor(samples))
    assert flags.tolist() == [flag_of(sample, [(-1, 2), (-10, 50)]) for sample in samples]


@pytest.mark.parametrize("value", [math.nan, -math.inf, -3.0])
def test_a_black_picture_that_was_not_black_has_a_flag(value: float) -> None:
    x = torch.full((1, 1, 2, 2), value)
    assert not of_images().to_picture(x).any()
    assert of_images().sample_flags(x)[0] != USABLE
