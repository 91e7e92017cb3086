"""Data sets: their splits, dequantization noise, and units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from nfkd.config import DataConfig, DigitsConfig, TwoMoonsConfig
from nfkd.data import DataError, Dataset, DataSplit, load_dataset
from nfkd.evaluation.likelihood import bootstrap_half_width, noisy, noisy_batches

BOTH = pytest.mark.parametrize("config", [DigitsConfig(), TwoMoonsConfig(count=500)], ids=["digits", "two moons"])


def rows(values: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in values]


@BOTH
def test_the_splits_partition_the_data(config: DataConfig) -> None:
    dataset = load_dataset(config)
    splits = [dataset.train, dataset.validation, dataset.test]
    assert sum(map(len, splits)) == (1797 if dataset.is_image else 500)
    joined = sorted(row for split in splits for row in rows(split.values[:]))
    if dataset.is_image:
        assert joined == sorted(rows(load_digits().images.astype(np.uint8)[:, None]))  # type: ignore[union-attr]
    else:
        assert len(set(joined)) == 500
    assert len(dataset.validation) == len(dataset.test) == round(0.15 * sum(map(len, splits)))


@BOTH
def test_the_seed_decides_the_splits(config: DataConfig) -> None:
    first, second = load_dataset(config), load_dataset(config)
    np.testing.assert_array_equal(first.test.values[:], second.test.values[:])
    other = load_dataset(config.model_copy(update={"split_seed": 5}))
    assert not np.array_equal(first.test.values[:], other.test.values[:])


def test_a_split_that_would_be_too_small_is_refused() -> None:
    for fraction in (1e-4, 0.01):
        with pytest.raises(DataError) as refused:
            load_dataset(TwoMoonsConfig(count=100, validation_fraction=fraction, test_fraction=fraction))
        paths = [problem.path for problem in refused.value.problems]
        assert paths == ["data.validation_fraction", "data.test_fraction"]


def test_dequantization_noise_is_uniform() -> None:
    dataset = load_dataset(DigitsConfig())
    raw = torch.from_numpy(dataset.train.values[:])
    x = dataset.dequantize(raw, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    noise = (17 * x.double() - raw).flatten()
    assert noise.min() >= -1e-5
    assert noise.max() <= 1 + 1e-5
    assert noise.mean().item() == pytest.approx(0.5, abs=0.005)
    assert noise.var().item() == pytest.approx(1 / 12, abs=0.002)


def test_a_uniform_density_costs_the_bits_of_its_levels() -> None:
    dataset = load_dataset(DigitsConfig())
    uniform = torch.zeros(3, dtype=torch.float64)  # p = 1 on the unit cube: all levels are equally likely
    torch.testing.assert_close(dataset.nll(uniform), torch.full((3,), math.log2(17), dtype=torch.float64))
    halved = torch.full((3,), -64 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(dataset.nll(halved), torch.full((3,), math.log2(17) + 1, dtype=torch.float64))


def test_vectors_are_in_nats_and_their_loss_in_nats_per_dimension() -> None:
    dataset = load_dataset(TwoMoonsConfig(count=500))
    log_prob = torch.tensor([-3.0, 1.0])
    torch.testing.assert_close(dataset.nll(log_prob), torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(dataset.nll_loss(log_prob), torch.tensor([1.5, -0.5]))


@BOTH
def test_evaluation_noise_is_the_same_for_every_model(config: DataConfig) -> None:
    dataset = load_dataset(config)
    torch.manual_seed(1)
    first = noisy(dataset, dataset.test)
    torch.manual_seed(2)
    second = noisy(dataset, dataset.test)
    torch.testing.assert_close(first.x, second.x, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([batch.x for batch in noisy_batches(dataset, dataset.test)]), first.x)


def test_the_extent_holds_every_point() -> None:
    dataset = load_dataset(TwoMoonsConfig(count=500))
    x0, x1, y0, y1 = dataset.extent
    assert (dataset.train.values[:] > [x0, y0]).all()
    assert (dataset.train.values[:] < [x1, y1]).all()
    with pytest.raises(ValueError, match="no plane"):
        _ = load_dataset(DigitsConfig()).extent


@settings(max_examples=30)
@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
def test_pictures_of_any_values_are_in_range(values: list[float]) -> None:
    image = Dataset("x", *[DataSplit(np.zeros((1, 1, 2, 2), np.uint8))] * 3, levels=17)
    shown = image.to_picture(torch.tensor(values).reshape(1, 1, 2, 2))
    assert shown.dtype == np.float32
    assert ((shown >= 0) & (shown <= 1)).all()


def test_the_bootstrap_interval_is_the_normal_one_for_a_large_sample() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    assert bootstrap_half_width(values) == pytest.approx(1.96 * values.std() / math.sqrt(4000), rel=0.1)
    assert bootstrap_half_width(np.ones(5)) == 0.0
