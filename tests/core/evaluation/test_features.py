"""FD-local: the classifier of a data set, the latents of a teacher, and the distance in their features."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pytest
import torch

from nfkd.config import DigitsConfig, GlowConfig, TwoMoonsConfig
from nfkd.config.flows import Glow1DConfig
from nfkd.data import Dataset, load_dataset
from nfkd.evaluation.distances import frechet_distance
from nfkd.evaluation.features import LatentFeatures, local_features, no_features
from nfkd.evaluation.reference import Reference
from nfkd.flows.architectures import build_flow
from nfkd.flows.bijections import ActNormPermutation
from nfkd.flows.flow import Entry, Flow


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
    itself = reference.measure(reference.test.x)
    assert itself["fd"] == pytest.approx(0, abs=1e-4)
    assert itself["fd_floor"] < distance / 10
    seen = features(reference.train.x)
    assert itself["fd_floor"] == pytest.approx(frechet_distance(found, seen))
    assert reference.with_teacher(build_flow(GlowConfig(), (1, 8, 8))) is reference  # the classifier is preferred


def test_data_without_images_or_labels_has_no_classifier(digits: Dataset) -> None:
    moons = load_dataset(TwoMoonsConfig(count=400))
    assert no_features(moons) == "two moons has no images"
    assert local_features(moons) is None
    assert "fd" not in Reference.of(moons).measure(torch.zeros(40, 2) + torch.linspace(0, 1, 40)[:, None])
    blank = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=None))
    assert no_features(blank) == "the images of digits have no class labels"
    one = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=np.ones(len(digits.train), int)))
    assert "the same class label" in no_features(one)


def test_without_labels_the_features_are_the_latents_of_the_teacher() -> None:
    moons = load_dataset(TwoMoonsConfig(count=400))
    teacher = build_flow(Glow1DConfig(steps=2, hidden=4), (2,), generator=torch.Generator().manual_seed(1))
    teacher.initialize(torch.from_numpy(moons.train.values[:200]))
    reference = Reference.of(moons).with_teacher(teacher.eval())
    samples = torch.randn(60, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        real, made, seen = (
            teacher(x).latents.parts[0].double().numpy() for x in (reference.test.x, samples, reference.train.x)
        )
    found = reference.measure(samples)
    assert found["fd"] == pytest.approx(frechet_distance(real, made))
    assert found["fd_floor"] == pytest.approx(frechet_distance(real, seen))


def test_many_latents_are_projected_on_orthonormal_directions() -> None:
    """The latents of a permutation are the examples; the Fréchet distance of N(0, I) and N(0, 1.5² I) is 64 · 0.5²."""
    permutation = Flow((192,), [Entry("mix", "mix", "permutation", (192,))], [ActNormPermutation(192)])
    x = torch.randn(4000, 192, generator=torch.Generator().manual_seed(3))
    features = LatentFeatures(permutation.eval())
    found = features(x)
    assert found.shape == (4000, 64)
    np.testing.assert_allclose(np.cov(found, rowvar=False), np.eye(64), atol=0.12)
    assert frechet_distance(found, features(1.5 * x)) == pytest.approx(64 * 0.5**2, rel=0.05)


def test_a_few_latents_that_are_not_finite_are_left_out_of_the_distance() -> None:
    moons = load_dataset(TwoMoonsConfig(count=400))
    teacher = build_flow(Glow1DConfig(steps=2, hidden=4), (2,), generator=torch.Generator().manual_seed(1)).eval()
    reference = Reference.of(moons).with_teacher(teacher)
    far, farther = (reference.measure(torch.full((60, 2), value))["fd"] for value in (1e4, 1e8))
    assert far == farther < 2 * (10 + 5) ** 2  # limited to ±10, for each of both
    assert math.isnan(reference.measure(torch.full((60, 2), 3e38))["fd"])
    samples = torch.randn(200, 2, generator=torch.Generator().manual_seed(2))
    expected = reference.measure(samples[2:])["fd"]
    samples[:2] = 3e38  # finite, but their latents are not
    assert reference.measure(samples)["fd"] == pytest.approx(expected)
    samples[:3] = 3e38
    assert math.isnan(reference.measure(samples)["fd"]), "more than one per cent"
