"""Pieces of photographs: where they come from, that the parts share nothing, and how BSDS300's numbers are made."""

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


def places(images: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the photograph, row and column of each crop, found by looking for its bytes everywhere."""
    wanted = {image.tobytes(): number for number, image in enumerate(images)}
    found: dict[int, tuple[int, int, int]] = {}
    firsts = {image[:, 0, 0].tobytes() for image in images}
    for number, photograph in enumerate(PHOTOGRAPHS):
        height, width, _ = photograph.shape
        for row in range(height - 31):
            for column in range(width - 31):
                if photograph[row, column].tobytes() in firsts:
                    crop = np.moveaxis(photograph[row : row + 32, column : column + 32], 2, 0).tobytes()
                    if crop in wanted:
                        found[wanted[crop]] = (number, row, column)
    return [found[number] for number in range(len(images))]


def test_crops_are_of_the_photographs_and_the_parts_share_no_pixel() -> None:
    dataset = load_dataset(NaturalCropsConfig(count=150))
    assert dataset.event_shape == (3, 32, 32)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [150, 32, 32]
    pixels = []
    for part in (dataset.train, dataset.validation, dataset.test):
        seen = np.zeros((2, 427, 640), bool)
        for photograph, row, column in places(part.values[:]):
            seen[photograph, row : row + 32, column : column + 32] = True
        assert seen.any(axis=(1, 2)).all()  # of both photographs
        pixels.append(seen)
    train, validation, test = pixels
    assert not (train & validation).any()
    assert not (train & test).any()
    assert not (validation & test).any()


def every(dataset: Dataset) -> set[bytes]:
    return {image.tobytes() for part in (dataset.train, dataset.validation, dataset.test) for image in part.values[:]}


def test_no_two_crops_are_the_same_and_the_seed_decides_which_they_are() -> None:
    dataset = load_dataset(NaturalCropsConfig(count=2000))
    assert len(every(dataset)) > 0.99 * 2858  # but for crops of a plain background
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
def test_more_pieces_than_there_are_are_refused(config: NaturalCropsConfig | NaturalPatchesConfig) -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(config)
    assert refused.value.problems[0].path == "data.count"


def test_crops_have_no_classes() -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(NaturalCropsConfig(class_labels=True))
    assert refused.value.problems[0].path == "data.class_labels"


def test_patches_are_made_by_the_procedure_of_bsds300() -> None:
    dataset = load_dataset(NaturalPatchesConfig(count=400))
    assert dataset.event_shape == (63,)
    assert dataset.levels is None
    assert dataset.unit == "nats"
    assert len(dataset.columns) == 63
    assert dataset.columns[8] == "pixel 1,0"
    parts = [part.values[:] for part in (dataset.train, dataset.validation, dataset.test)]
    assert [part.shape for part in parts] == [(400, 63), (86, 63), (86, 63)]
    assert all(part.dtype == np.float32 for part in parts)
    grey = [np.rint(photograph @ [0.299, 0.587, 0.114]).astype(np.float32) for photograph in PHOTOGRAPHS]
    windows = np.concatenate([sliding_window_view(image, (8, 8)).reshape(-1, 64) for image in grey])
    windows -= windows.mean(axis=1, keepdims=True)
    squares = (windows**2).sum(axis=1)
    some = np.concatenate([part[:5] for part in parts])
    whole = 256 * np.concatenate([some, -some.sum(axis=1, keepdims=True)], axis=1)  # as MAF's code shows them
    for patch in whole:
        nearest = windows[(squares - 2 * windows @ patch).argmin()]
        noise = patch - nearest  # less its mean
        assert np.abs(noise).max() < 1
        assert noise.std() == pytest.approx(12**-0.5, rel=0.35)


def test_every_patch_has_noise_of_its_own() -> None:
    values = load_dataset(NaturalPatchesConfig(count=400)).train.values[:]
    assert len(np.unique(values)) > 0.99 * values.size
