"""Training examples on the device: the same batches, and only where they fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.training.resident import ResidentDataset, can_stay, on_device
from tests.core.tiny import digits, moons

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def generators() -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)


@pytest.mark.parametrize(
    "config",
    [moons(), digits(), digits(data={"class_labels": True})],
)
def test_batches_are_those_of_the_data_on_the_cpu(config: ExperimentConfig) -> None:
    dataset = load_dataset(config.data)
    weights = np.linspace(0.5, 1.5, len(dataset.train), dtype=np.float32)
    dataset = replace(dataset, train=replace(dataset.train, weights=weights))
    index = np.array([5, 0, 17, 5, 200])
    resident = ResidentDataset.of(dataset, CPU)
    expected, found = (each.training_batch(index, *generators()) for each in (dataset, resident))
    for name in ("x", "context", "weights"):
        first, second = getattr(expected, name), getattr(found, name)
        assert (first is None) == (second is None)
        assert first is None or torch.equal(first, second)
    assert resident.unit == dataset.unit
    assert resident.summary == dataset.summary


@pytest.mark.parametrize("changes", [{"flip": True}, {"shift": 1}])
def test_augmented_images_stay_on_the_cpu(changes: dict[str, Any]) -> None:
    dataset = load_dataset(digits().data)
    assert can_stay(dataset)
    assert not can_stay(replace(dataset, augmentation=replace(dataset.augmentation, **changes)))


def test_only_draws_that_are_kept_stay_on_the_cpu() -> None:
    assert not can_stay(replace(load_dataset(digits().data), noise_draws=2))
    assert can_stay(replace(load_dataset(moons().data), noise_draws=2))  # a table without noise has no draws


def test_examples_move_only_where_they_take_a_small_part_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, free, moved = load_dataset(moons().data), [0], []
    monkeypatch.setattr("nfkd.training.resident.memory_available", lambda _: free[0])
    monkeypatch.setattr(ResidentDataset, "of", lambda _, device: moved.append(device) or dataset)
    size = np.asarray(dataset.train.values).nbytes
    for free[0] in (size, 7 * size, 8 * size - 1):
        assert on_device(dataset, CUDA) is dataset
    assert moved == []
    free[0] = 8 * size
    on_device(dataset, CUDA)
    assert moved == [CUDA]
    assert on_device(dataset, CPU) is dataset
