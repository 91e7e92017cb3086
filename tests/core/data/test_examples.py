"""Examples that are read when they are looked at: the same as a plain array, and never more than was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import given
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
    """An array that remembers how much of it was read."""

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


@given(INDICES, st.data())
def test_rows_read_as_the_array_does(index: Any, data: st.DataObject) -> None:
    rows, expected = take(Recorder(VALUES), index), VALUES[index]
    assert rows.shape == expected.shape
    assert len(rows) == len(expected)
    np.testing.assert_array_equal(rows[:], expected)
    if len(expected):
        some = data.draw(arrays.arrays(np.int64, 4, elements=st.integers(0, len(expected) - 1)))
        np.testing.assert_array_equal(rows[some], expected[some])
        np.testing.assert_array_equal(take(rows, some)[1:3], expected[some][1:3])


def test_nothing_is_read_before_it_is_looked_at() -> None:
    whole = Recorder(VALUES)
    part = DataSplit(Mapped(whole, lambda values: 2 * values)).take(np.arange(19, 3, -1)).take(slice(2, 8))
    assert whole.read == []
    np.testing.assert_array_equal(part.values[np.array([5, 0])], 2 * VALUES[[12, 17]])
    assert whole.read == [2]


def test_files_want_rising_numbers_and_get_them(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        rows = Rows(file.create_dataset("x", data=VALUES), np.array([7, 3, 11, 0]))
        np.testing.assert_array_equal(rows[np.array([2, 0, 3, 2])], VALUES[[11, 7, 0, 11]])


def test_a_memory_map_is_no_array_in_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert in_memory(VALUES)
    assert not in_memory(mapped)
    assert isinstance(take(mapped, np.array([3, 1])), Rows)
