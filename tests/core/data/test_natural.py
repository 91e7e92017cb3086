"""Crops and patches of photographs: their positions, disjoint splits, and BSDS300's procedure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from nfkd.config.data import NaturalCropsConfig, NaturalPatchesConfig
from nfkd.data import DataError, Dataset, load_dataset

BUNCH: Any = load_sample_images()
PHOTOGRAPHS = [np.asarray(image) for image in BUNCH.images]


def positions(images: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the photograph, row and column of each crop, found by its bytes."""
    indices = {image.tobytes(): number for number, image in enumerate(images)}
    found: dict[int, tuple[int, int, int]] = {}
    firsts = {image[:, 0, 0].tobytes() for image in images}
    for number, photograph in enumerate(PHOTOGRAPHS):
        height, width, _ = photograph.shape
        for row in range(height - 31):
            for column in range(width - 31):
                if photograph[row, column].tobytes() in firsts:
                    crop = np.moveaxis(photograph[row : row + 32, column : column + 32], 2, 0).tobytes()
                    if crop in indices:
                        found[indices[crop]] = (number, row, column)
    return [found[number] for number in range(len(images))]


def test_crops_come_from_the_photographs_and_splits_share_no_pixel() -> None:
    dataset = load_dataset(NaturalCropsConfig(count=150))
    assert dataset.event_shape == (3, 32, 32)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [150, 32, 32]
    pixels = []
    for split in (dataset.train, dataset.validation, dataset.test):
        seen = np.zeros((2, 427, 640), bool)
        for photograph, row, column in positions(split.values[:]):
            seen[photograph, row : row + 32, column : column + 32] = True
        assert seen.any(axis=(1, 2)).all()  # of both photographs
        pixels.append(seen)
    train, validation, test = pixels
    assert not (train & validation).any()
    assert not (train & test).any()
    assert not (validation & test).any()


def every(dataset: Dataset) -> set[bytes]:
    return {image.tobytes() for split in (dataset.train, dataset.validation, dataset.test) for image in split.values[:]}


def test_crops_differ_and_depend_on_the_seed() -> None:
    dataset = load_dataset(NaturalCropsConfig(count=2000))
    assert len(every(dataset)) > 0.99 * 2858  # except crops of a plain background
    np.testing.assert_array_equal(
        dataset.train.values[5:9], load_dataset(NaturalCropsConfig(count=2000)).train.values[5:9]
    )
    other = load_dataset(NaturalCropsConfig(count=2000, split_seed=1))
    assert len(every(dataset) & every(other)) < 200


def test_crops_of_fewer_bits_are_floored() -> None:
    full, few = (load_dataset(NaturalCropsConfig(count=100, bits=bits)) for bits in (8, 5))
    assert few.levels == 32
    np.testing.assert_array_equal(few.test.values[:], np.floor(full.test.values[:] / 8))


@pytest.mark.parametrize("config", [NaturalCropsConfig(count=500_000), NaturalPatchesConfig(count=500_000)])
def test_more_crops_than_exist_are_refused(config: NaturalCropsConfig | NaturalPatchesConfig) -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(config)
    assert refused.value.problems[0].path == "data.count"


def test_crops_have_no_classes() -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(NaturalCropsConfig(class_labels=True))
    assert refused.value.problems[0].path == "data.class_labels"


def test_patches_follow_the_procedure_of_bsds300() -> None:
    dataset = load_dataset(NaturalPatchesConfig(count=400))
    assert dataset.event_shape == (63,)
    assert dataset.levels is None
    assert dataset.unit == "nats"
    assert len(dataset.columns) == 63
    assert dataset.columns[8] == "pixel 1,0"
    splits = [split.values[:] for split in (dataset.train, dataset.validation, dataset.test)]
    assert [values.shape for values in splits] == [(400, 63), (86, 63), (86, 63)]
    assert all(values.dtype == np.float32 for values in splits)
    grey = [np.rint(photograph @ [0.299, 0.587, 0.114]).astype(np.float32) for photograph in PHOTOGRAPHS]
    windows = np.concatenate([sliding_window_view(image, (8, 8)).reshape(-1, 64) for image in grey])
    windows -= windows.mean(axis=1, keepdims=True)
    squares = (windows**2).sum(axis=1)
    some = np.concatenate([values[:2] for values in splits])
    whole = 256 * np.concatenate([some, -some.sum(axis=1, keepdims=True)], axis=1)  # as in MAF's code
    for patch in whole:
        nearest = windows[(squares - 2 * windows @ patch).argmin()]
        noise = patch - nearest  # minus its mean
        assert np.abs(noise).max() < 1
        assert noise.std() == pytest.approx(12**-0.5, rel=0.35)


def test_every_patch_has_noise_of_its_own() -> None:
    values = load_dataset(NaturalPatchesConfig(count=400)).train.values[:]
    assert len(np.unique(values)) > 0.99 * values.size
