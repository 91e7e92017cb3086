"""The grid of images: its pixels, and its size in the space it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd_gui.plotting.mosaic import Mosaic, best_columns, compose


def test_compose_draws_every_image_in_its_cell() -> None:
    images = np.random.default_rng(0).random((5, 3, 2, 4)).astype(np.float32)
    picture = compose(images, columns=3, gap=1, background=7)
    assert picture.shape == (2 * 3 - 1, 3 * 5 - 1, 3)
    for index in range(5):
        top, left = index // 3 * 3, index % 3 * 5
        expected = np.rint(images[index].transpose(1, 2, 0) * 255)
        np.testing.assert_array_equal(picture[top : top + 2, left : left + 4], expected)
    assert (picture[2] == 7).all()


@settings(max_examples=50)
@given(
    count=st.integers(1, 100),
    tile=st.tuples(st.integers(2, 65), st.integers(2, 65)),
    room=st.tuples(st.integers(32, 2000), st.integers(32, 2000)),
)
def test_the_best_grid_has_nearly_the_largest_images_and_no_empty_cells_if_it_can(
    count: int, tile: tuple[int, int], room: tuple[int, int]
) -> None:
    def scale(columns: int) -> float:
        return min(room[0] / (columns * tile[0]), room[1] / (-(-count // columns) * tile[1]))

    best = best_columns(count, tile, room)
    largest = max(map(scale, range(1, count + 1)))
    assert scale(best) >= 0.85 * largest
    full = [columns for columns in range(1, count + 1) if count % columns == 0 and scale(columns) >= 0.85 * largest]
    assert best in full or not full


def test_a_mosaic_chooses_the_grid_that_fills_its_space_unless_columns_are_given(qtbot: Any) -> None:
    mosaic = Mosaic()
    qtbot.addWidget(mosaic)
    mosaic.resize(300, 300)
    mosaic.show_images(np.ones((64, 1, 8, 8), np.float32))
    with qtbot.waitExposed(mosaic):
        mosaic.show()
    for size, across in (((300, 300), 8), ((450, 150), 16), ((150, 450), 4)):
        mosaic.resize(*size)
        qtbot.waitUntil(lambda size=size: (mosaic.width(), mosaic.height()) == size)
        target = mosaic.target()
        ratio = (across * 9 - 1) / (64 // across * 9 - 1)
        assert target.width() / target.height() == pytest.approx(ratio, rel=0.02)  # whole pixels
        assert target.width() > size[0] - 4 or target.height() > size[1] - 4  # it fills its room
        assert (target.x(), target.y()) == (0, 0)
    mosaic.show_images(np.ones((18, 1, 8, 8), np.float32), columns=9)
    mosaic.resize(90, 1200)
    assert mosaic.target().width() > mosaic.target().height()
