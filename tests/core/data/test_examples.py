"""Examples that are read on access: the same as a plain array, and no more than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nfkd.data import DataSplit
from nfkd.data.examples import Mapped, Rows, in_memory, take

VALUES = np.arange(60, dtype=np.float32).reshape(20, 3)
INDICES = st.one_of(
    arrays.arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 19)),
    st.slices(20),
)


class Recorder:
    """An array that records how many rows each access read."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.read: list[int] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self._values[index]
        self.read.append(len(found))
        return found


@settings(max_examples=50)
@given(INDICES, st.data())
def test_rows_equal_those_of_the_array(index: Any, data: st.DataObject) -> None:
    rows, expected = take(Recorder(VALUES), index), VALUES[index]
    assert rows.shape == expected.shape
    assert len(rows) == len(expected)
    np.testing.assert_array_equal(rows[:], expected)
    if len(expected):
        some = data.draw(arrays.arrays(np.int64, 4, elements=st.integers(0, len(expected) - 1)))
        np.testing.assert_array_equal(rows[some], expected[some])
        np.testing.assert_array_equal(take(rows, some)[1:3], expected[some][1:3])


def test_nothing_is_read_before_access() -> None:
    whole = Recorder(VALUES)
    split = DataSplit(Mapped(whole, lambda values: 2 * values)).take(np.arange(19, 3, -1)).take(slice(2, 8))
    assert whole.read == []
    np.testing.assert_array_equal(split.values[np.array([5, 0])], 2 * VALUES[[12, 17]])
    assert whole.read == [2]


def test_files_are_read_with_ascending_indices(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        rows = Rows(file.create_dataset("x", data=VALUES), np.array([7, 3, 11, 0]))
        np.testing.assert_array_equal(rows[np.array([2, 0, 3, 2])], VALUES[[11, 7, 0, 11]])


def test_a_memory_map_is_not_in_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert in_memory(VALUES)
    assert not in_memory(mapped)
    assert isinstance(take(mapped, np.array([3, 1])), Rows)
