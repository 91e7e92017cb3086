"""FD-local: the classifier of a data set, and the distance in its features."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch

from nfkd.config import DigitsConfig, TwoMoonsConfig
from nfkd.data import Dataset, load_dataset
from nfkd.evaluation.distances import frechet_distance
from nfkd.evaluation.features import local_features, no_features
from nfkd.evaluation.reference import Reference


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DigitsConfig())


def test_the_classifier_knows_digits_and_is_always_the_same(digits: Dataset) -> None:
    features, again = local_features(digits), local_features(dataclasses.replace(digits))
    assert features is not None
    assert again is not None
    assert features.info.accuracy > 0.95
    assert again.classifier is not features.classifier
    assert (again.info.accuracy, again.info.sha256) == (features.info.accuracy, features.info.sha256)
    weights = features.classifier.state_dict().values()
    content = b"".join(value.numpy().tobytes() for value in weights)
    assert features.info.sha256 == hashlib.sha256(content).hexdigest()


def test_training_it_leaves_the_global_random_numbers_alone(digits: Dataset) -> None:
    torch.manual_seed(5)
    local_features(dataclasses.replace(digits))
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def test_fd_local_is_the_frechet_distance_of_features(digits: Dataset) -> None:
    reference = Reference.of(digits)
    features = reference.features
    assert features is not None
    found = features(reference.test.x)
    assert found.shape == (len(digits.test), 32)
    noise = torch.rand(reference.test.x.shape, generator=torch.Generator().manual_seed(0))
    distance = reference.measure(noise)["fd"]
    assert distance == pytest.approx(frechet_distance(found, features(noise)))
    assert reference.floors["fd"] < distance / 10
    assert reference.measure(reference.test.x)["fd"] == pytest.approx(0, abs=1e-4)


def test_data_without_images_or_labels_has_no_classifier(digits: Dataset) -> None:
    moons = load_dataset(TwoMoonsConfig(count=400))
    assert no_features(moons) == "two moons has no images"
    assert local_features(moons) is None
    assert "fd" not in Reference.of(moons).floors
    blank = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=None))
    assert no_features(blank) == "the images of digits have no class labels"
    one = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=np.ones(len(digits.train), int)))
    assert "the same class label" in no_features(one)
