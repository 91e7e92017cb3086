"""Flipped and shifted training images; validation and test images are unchanged."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from nfkd.config import DigitsConfig
from nfkd.data import load_dataset
from nfkd.data.augmentation import PLAIN, Augmentation
from tests.core.data.image_files import some


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_about_half_of_the_images_are_flipped() -> None:
    images = some(400, 3, 5, 4)
    found = Augmentation(flip=True)(images, generator())
    flipped = (found == images[..., ::-1]).all(axis=(1, 2, 3))
    kept = (found == images).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert 150 < flipped.sum() < 250


def test_images_are_shifted_by_every_step_and_repeat_their_edge() -> None:
    images = some(500, 1, 6, 7)
    found = Augmentation(shift=2)(images, generator())
    moves = set()
    rows, columns = np.arange(6), np.arange(7)
    for image, moved in zip(images, found, strict=True):
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if (moved == image[:, np.clip(rows + down, 0, 5)][:, :, np.clip(columns + right, 0, 6)]).all()
        ]
        assert fits
        moves.update(fits)
    assert len(moves) == 25


def test_no_augmentation_changes_nothing() -> None:
    assert not PLAIN.active
    images = some(5, 1, 4, 4)
    np.testing.assert_array_equal(PLAIN(images, generator()), images)


def test_only_training_images_are_augmented() -> None:
    plain, augmented = (load_dataset(DigitsConfig(flip=on, shift=2 * on)) for on in (False, True))
    for name in ("train", "validation", "test"):
        changed, unchanged = (dataset.batch(getattr(dataset, name), generator()).x for dataset in (augmented, plain))
        np.testing.assert_array_equal(changed, unchanged)
    index = np.arange(64)
    batches = [dataset.training_batch(index, generator(1), generator(2)).x for dataset in (plain, augmented)]
    levels = [(17 * batch).floor() for batch in batches]
    assert not torch.equal(*levels)
    again = augmented.training_batch(index, generator(1), generator(2)).x
    torch.testing.assert_close(batches[1], again, rtol=0, atol=0)


def test_the_class_of_digits_is_their_context() -> None:
    dataset = load_dataset(DigitsConfig(class_labels=True))
    assert dataset.context_features == 10
    assert dataset.train.context is not None
    assert (dataset.train.context.sum(1) == 1).all()
    batch = dataset.training_batch(np.array([3, 5]), generator(), generator())
    np.testing.assert_array_equal(batch.context, dataset.train.context[[3, 5]])


def test_dropped_labels_are_the_mean_of_all_classes_in_training_only() -> None:
    plain, dropping = (load_dataset(DigitsConfig(class_labels=True, label_dropping=share)) for share in (0.0, 0.25))
    index = np.arange(1000)
    whole, some = (data.training_batch(index, generator(1), generator(2)).context for data in (plain, dropping))
    assert whole is not None
    assert some is not None
    dropped = (some == 0.1).all(1)
    assert 200 < dropped.sum() < 300
    torch.testing.assert_close(some[~dropped], whole[~dropped], rtol=0, atol=0)
    assert (dropping.batch(dropping.test, generator()).context != 0.1).all()


def test_images_may_get_gaussian_noise_in_place_of_uniform_noise() -> None:
    dataset = load_dataset(DigitsConfig(noise="gaussian", noise_scale=0.3))
    middles = torch.from_numpy((dataset.train.values[:] + 0.5) / 17)
    noise = (dataset.batch(dataset.train, generator()).x - middles) / (0.3 / 2)  # images from −1 to 1 are twice as wide
    assert stats.kstest(noise.flatten().numpy()[:20_000], "norm").pvalue > 0.01
    assert dataset.unit == "bits/dim (noisy)"
    # A density at the middles, of a Gaussian around them, has the entropy of the noise.
    log_prob = torch.distributions.Normal(middles, 0.15).log_prob(middles + 0.15 * noise).sum((1, 2, 3))
    expected = 0.5 * math.log2(2 * math.pi * math.e * 0.15**2) + math.log2(17)
    assert float(dataset.nll(log_prob).mean()) == pytest.approx(expected, abs=0.02)
