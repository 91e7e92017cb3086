"""Arrays of examples that are read only when they are looked at, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Examples(Protocol):
    """What a part of a data set is made of: an array, or something that reads like one along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples, then the shape of one."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return the examples of a slice or of an array of numbers, as an array."""
        ...


class Rows:
    """Some examples of a larger whole, by their numbers; nothing is copied before it is looked at."""

    def __init__(self, whole: Examples, index: np.ndarray) -> None:
        self._whole, self._index = whole, index

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples, then the shape of one."""
        return (len(self._index), *self._whole.shape[1:])

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: Any) -> np.ndarray:
        rising, back = np.unique(self._index[index], return_inverse=True)  # HDF5 takes no other order
        return np.asarray(self._whole[rising])[back]


class Mapped:
    """Examples that a function is applied to when they are looked at; it keeps their shape."""

    def __init__(self, whole: Examples, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._whole, self._function = whole, function

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples, then the shape of one."""
        return self._whole.shape

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._function(np.asarray(self._whole[index]))


def in_memory(examples: Examples) -> bool:
    """Whether the examples are a plain array."""
    return isinstance(examples, np.ndarray) and not isinstance(examples, np.memmap)


def take(examples: Examples, index: np.ndarray | slice) -> Examples:
    """Return some examples: copied out of a plain array, looked up later in anything else."""
    if in_memory(examples):
        return examples[index]
    return Rows(examples, np.arange(len(examples))[index])
