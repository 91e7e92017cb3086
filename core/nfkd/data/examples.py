"""Arrays of examples that are read on access, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Examples(Protocol):
    """The values of a split: an array, or an object that reads like one along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples, then the shape of one."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return the examples of a slice or of an array of indices, as an array."""
        ...


class Rows:
    """Some examples of a larger whole, by their indices; read on access."""

    def __init__(self, whole: Examples, index: np.ndarray) -> None:
        self.whole, self.index = whole, index
        self.shape = (len(index), *whole.shape[1:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> np.ndarray:
        chosen = self.index[index]
        if (np.diff(chosen) > 0).all():
            return np.asarray(self.whole[chosen])
        ascending, back = np.unique(chosen, return_inverse=True)  # HDF5 takes no other order
        return np.asarray(self.whole[ascending])[back]


class Mapped:
    """Examples to which a function is applied on access; it keeps their shape."""

    def __init__(self, whole: Examples, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.whole, self.function = whole, function
        self.shape = whole.shape

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.function(np.asarray(self.whole[index]))


def in_memory(examples: Examples) -> bool:
    """Return whether the examples are a plain array."""
    return isinstance(examples, np.ndarray) and not isinstance(examples, np.memmap)


def apply(function: Callable[[np.ndarray], np.ndarray], examples: Examples) -> Examples:
    """Return examples with a function applied: now to a plain array, on access to anything else."""
    return function(examples[:]) if in_memory(examples) else Mapped(examples, function)


def take(examples: Examples, index: np.ndarray | slice) -> Examples:
    """Return some examples: copied from a plain array, read on access from anything else."""
    if isinstance(examples, Mapped):
        return Mapped(take(examples.whole, index), examples.function)
    if isinstance(examples, Rows):
        return Rows(examples.whole, examples.index[index])
    if not isinstance(examples, np.ndarray) or not in_memory(examples):
        return Rows(examples, np.arange(len(examples))[index])
    if isinstance(index, np.ndarray) and index.dtype.kind in "iu" and not examples.flags.c_contiguous:
        return np.take(examples, index, axis=0)  # faster where the columns are contiguous
    return examples[index]


def in_any_order(examples: Examples) -> Examples:
    """Return the same examples in the order in which they are read fastest: that of the file."""
    if isinstance(examples, Mapped):
        return Mapped(in_any_order(examples.whole), examples.function)
    return Rows(examples.whole, np.sort(examples.index)) if isinstance(examples, Rows) else examples
