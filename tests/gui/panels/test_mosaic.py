"""The grid of images: as large as the place allows, and at its top left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.plotting.mosaic import Mosaic, best_columns


@given(
    count=st.integers(1, 100),
    tile=st.tuples(st.integers(2, 65), st.integers(2, 65)),
    room=st.tuples(st.integers(32, 2000), st.integers(32, 2000)),
)
def test_no_grid_is_larger_than_the_best(count: int, tile: tuple[int, int], room: tuple[int, int]) -> None:
    def scale(columns: int) -> float:
        free = min(room[0] / (columns * tile[0]), room[1] / (-(-count // columns) * tile[1]))
        return int(free) if free >= 2 else free

    best = best_columns(count, tile, room)
    largest = max(map(scale, range(1, count + 1)))
    assert scale(best) == largest
    full = [columns for columns in range(1, count + 1) if count % columns == 0 and scale(columns) == largest]
    assert best in full or not full


@pytest.mark.parametrize(("size", "across"), [((300, 300), 8), ((450, 150), 16), ((150, 450), 4)])
def test_a_mosaic_takes_the_grid_that_fills_its_place(qtbot: Any, size: tuple[int, int], across: int) -> None:
    mosaic = Mosaic()
    qtbot.addWidget(mosaic)
    mosaic.resize(300, 300)
    mosaic.show_images(np.ones((64, 1, 8, 8), np.float32))
    with qtbot.waitExposed(mosaic):
        mosaic.show()
    mosaic.resize(*size)
    qtbot.waitUntil(lambda: (mosaic.width(), mosaic.height()) == size)
    target = mosaic.target()
    assert target.width() / target.height() == pytest.approx((across * 9 - 1) / (64 // across * 9 - 1), rel=1e-6)
    assert (target.x(), target.y()) == (0, 0)


def test_a_given_number_in_a_row_stays(qtbot: Any) -> None:
    mosaic = Mosaic()
    qtbot.addWidget(mosaic)
    mosaic.resize(100, 900)
    mosaic.show_images(np.ones((18, 1, 8, 8), np.float32), columns=9)
    mosaic.resize(90, 1200)
    target = mosaic.target()
    assert target.width() > target.height()
