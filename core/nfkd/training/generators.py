"""Random numbers: a generator for each purpose of each stage, independent of all others."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def named_generator(seed: int, stage: str, purpose: str) -> torch.Generator:
    """Return a new CPU generator that depends only on seed, stage and purpose."""
    digest = hashlib.sha256(f"{seed}/{stage}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


class Generators:
    """The generators that the training of one stage uses.

    Attributes
    ----------
    order, augmentation, dequantization
        For the order of the examples, flips and shifts of images, and noise on grey levels.
    """

    def __init__(self, seed: int, stage: str) -> None:
        self._seed, self._stage = seed, stage
        self._all: dict[str, torch.Generator] = {}
        self.order, self.augmentation, self.dequantization = map(self, ("order", "augmentation", "dequantization"))

    def __call__(self, purpose: str) -> torch.Generator:
        """Return the generator of a purpose, such as ``synthesis``; created on first use."""
        if purpose not in self._all:
            self._all[purpose] = named_generator(self._seed, self._stage, purpose)
        return self._all[purpose]

    def state(self) -> dict[str, Tensor]:
        """Return every generator's state as uint8."""
        return {purpose: generator.get_state() for purpose, generator in self._all.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the states from `state`."""
        for purpose, value in state.items():
            self(purpose).set_state(value)


class Batches:
    """Endless batches of indices: each example at most once an epoch; an incomplete last batch is dropped.

    Parameters
    ----------
    count
        Number of examples.
    size
        Examples in a batch, at most `count`.
    generator
        Shuffles each epoch.
    """

    def __init__(self, count: int, size: int, generator: torch.Generator) -> None:
        self._count = count
        self._size = min(size, count)
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64)
        self._cursor = 0

    def next(self) -> Tensor:
        """Return the indices of the next batch, (size,) int64."""
        if self._cursor + self._size > len(self._order):
            self._order = torch.randperm(self._count, generator=self._generator)
            self._cursor = 0
        chosen = self._order[self._cursor : self._cursor + self._size]
        self._cursor += self._size
        return chosen

    def upcoming(self, count: int) -> list[Tensor]:
        """Return the indices of at most `count` batches that come next in this epoch."""
        stop = min(len(self._order), self._cursor + count * self._size)
        return [chosen for chosen in self._order[self._cursor : stop].split(self._size) if len(chosen) == self._size]

    def state(self) -> tuple[Tensor, int]:
        """Return the epoch's order and the index in it."""
        return self._order, self._cursor

    def restore(self, order: Tensor, cursor: int) -> None:
        """Restore the order and the index in it."""
        self._order, self._cursor = order, cursor
