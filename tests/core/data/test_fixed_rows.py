"""Training rows that come again: tables without noise, and fixed draws of noise, flips and shifts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import DigitsConfig, TwoMoonsConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.data.dequantization import Dequantizer, GridNoise


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(dataset: Dataset, seed: int = 3) -> Batch:
    return dataset.training_batch(np.arange(0, len(dataset.train), 7), generator(seed), generator(seed))


def digits(draws: int = 0, **settings: Any) -> Dataset:
    return replace(load_dataset(DigitsConfig(**settings)), noise_draws=draws)


@pytest.mark.parametrize("draws", [0, 3])
def test_rows_of_a_table_without_noise_are_always_the_same(draws: int) -> None:
    dataset = replace(load_dataset(TwoMoonsConfig(count=400)), noise_draws=draws)
    found = batch(dataset)
    assert found.train_rows is not None
    assert (dataset.fixed_rows, dataset.drawn_rows) == (len(dataset.train), 0)
    np.testing.assert_array_equal(found.train_rows.numpy(), np.arange(0, len(dataset.train), 7))
    np.testing.assert_array_equal(found.x.numpy(), dataset.train.values[:][::7])
    torch.testing.assert_close(dataset.fixed_batch().x[found.train_rows], found.x, rtol=0, atol=0)


def test_noise_is_drawn_anew_without_a_number_of_draws() -> None:
    dataset = digits()
    assert dataset.fixed_rows == 0
    assert batch(dataset).train_rows is None
    assert not torch.equal(batch(dataset, 3).x, batch(dataset, 4).x)
    table = load_dataset(TwoMoonsConfig(count=400))
    assert replace(table, dequantizer=Dequantizer({0: GridNoise(0.0, 0.5)})).fixed_rows == 0


@pytest.mark.parametrize("settings", [{}, {"class_labels": True, "label_dropping": 0.5}, {"noise": "gaussian"}])
def test_each_batch_takes_one_of_the_draws_of_each_example(settings: dict[str, Any]) -> None:
    dataset = digits(4, **settings)
    count = len(dataset.train)
    rows = dataset.fixed_batch()
    assert dataset.fixed_rows == dataset.drawn_rows == len(rows) == 4 * count
    chosen = []
    for seed in (3, 4):
        found = batch(dataset, seed)
        assert found.train_rows is not None
        np.testing.assert_array_equal(found.train_rows.numpy() % count, np.arange(0, count, 7))
        assert torch.equal(found.x, rows.x[found.train_rows])
        if found.context is not None and rows.context is not None:
            assert torch.equal(found.context, rows.context[found.train_rows])
        chosen.append(found.train_rows // count)
    assert not torch.equal(chosen[0], chosen[1])
    assert set(chosen[0].tolist()) == {0, 1, 2, 3}


def test_the_draws_are_those_of_the_data_and_differ() -> None:
    dataset = digits(3)
    x = dataset.fixed_batch().x.reshape(3, -1, 1, 8, 8)
    levels = torch.from_numpy(np.array(dataset.train.values[:]))
    for draw in x:
        assert torch.equal((draw * 17).floor(), levels.float())  # level ≤ 17·x < level + 1
    assert not torch.equal(x[0], x[1])
    again = digits(3).fixed_batch().x
    assert torch.equal(again, x.flatten(0, 1))
    noise = 17 * x - levels
    assert noise.mean().item() == pytest.approx(0.5, abs=0.005)
    assert np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1] == pytest.approx(0, abs=0.02)


def test_flips_and_shifts_belong_to_a_draw() -> None:
    dataset, plain = digits(8, flip=True), digits(1)
    first = np.array(plain.train.values[:])[:50]
    x = (17 * dataset.fixed_batch().x.reshape(8, -1, 1, 8, 8)[:, :50]).floor().numpy()
    same, flipped = ((x == image).all(axis=(2, 3, 4)) for image in (first, first[..., ::-1]))
    assert (same | flipped).all()
    assert 0.4 < flipped.mean() < 0.6
