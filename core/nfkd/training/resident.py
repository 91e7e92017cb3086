"""Training examples that stay on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from nfkd.data import Batch, Dataset, DataSplit
from nfkd.data.examples import in_memory
from nfkd.planning.devices import memory_available
from nfkd.transfer import to_device

_SHARE = 8
"""The examples may take one part in so many of the free memory: the rest is for the activations."""


def on_device(dataset: Dataset, device: torch.device) -> Dataset:
    """Return the data set with its training examples on a CUDA device, if they fit; else unchanged.

    Batches are equal to those of the given data set. Data on disk, augmented images, columns with noise and fixed draws
    of noise stay on the CPU, where their batches are made.
    """
    train = dataset.train
    size = sum(value.nbytes for value in (train.values, train.context, train.weights) if isinstance(value, np.ndarray))
    if device.type != "cuda" or not can_stay(dataset) or _SHARE * size > memory_available(device):
        return dataset
    return ResidentDataset.of(dataset, device)


def can_stay(dataset: Dataset) -> bool:
    """Return whether batches need nothing but rows of the training examples, and noise."""
    augmentation = dataset.augmentation
    plain = not (augmentation.active or augmentation.label_dropping or dataset.dequantizer or dataset.drawn_rows)
    return plain and in_memory(dataset.train.values) and type(dataset) is Dataset


@dataclass(frozen=True, eq=False)
class ResidentDataset(Dataset):
    """A data set whose training examples are also on a device.

    Attributes
    ----------
    values, context, weights
        Those of the training examples, as in `DataSplit`.
    """

    values: Tensor = field(default_factory=lambda: torch.empty(0))
    context: Tensor | None = None
    weights: Tensor | None = None

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> ResidentDataset:
        """Return a data set with a copy of its training examples on a device."""
        train: DataSplit = dataset.train
        context, weights = (
            None if each is None else torch.tensor(each, device=device) for each in (train.context, train.weights)
        )
        own = {each.name: getattr(dataset, each.name) for each in fields(dataset)}
        values = torch.tensor(np.asarray(train.values), device=device)
        return cls(**own, values=values, context=context, weights=weights)

    def _new_batch(self, index: np.ndarray, dequantization: torch.Generator, augmentation: torch.Generator) -> Batch:
        """Return training examples by their indices, on the device; images are dequantized."""
        rows = to_device(torch.from_numpy(index), self.values.device)
        context, weights = (None if each is None else each[rows] for each in (self.context, self.weights))
        return Batch(self.dequantize(self.values[rows], dequantization), context, weights)
