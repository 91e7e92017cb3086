"""Grids of images: they fit their room, and fill it with images of a readable size."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd_gui.plotting.grid_shape import GAP, GridShape, fit_paths, fit_samples

ROOMS = st.tuples(st.integers(120, 1600), st.integers(120, 1000))


def fits(shape: GridShape, rows: int, room: tuple[int, int], *, head: bool = False) -> bool:
    return shape.columns * (shape.width + GAP) - GAP <= room[0] and shape.used(rows, head=head) <= room[1]


@settings(max_examples=60)
@given(count=st.integers(1, 64), rows=st.integers(1, 4), room=ROOMS, head=st.booleans())
def test_samples_fit_and_no_line_more_would(count: int, rows: int, room: tuple[int, int], head: bool) -> None:
    shape = fit_samples(count, rows, room, 1.0, head=head)
    assert fits(shape, rows, room, head=head)
    assert 1 <= shape.columns <= count
    assert shape.groups * shape.columns < count + shape.columns, "no group is empty"
    one_more = GridShape(shape.columns, shape.width, shape.height, shape.groups + 1)
    if shape.groups * shape.columns < count:
        assert not fits(one_more, rows, room, head=head)
    assert shape.width > 0
    assert shape.height == shape.width


def test_samples_fill_the_tiles_of_the_window() -> None:
    for room in ((500, 300), (380, 200), (900, 700), (1300, 800)):
        shape = fit_samples(64, 3, room, 1.0, head=True)
        area = (shape.columns * (shape.width + GAP) - GAP) * shape.used(3, head=True)
        assert area >= 0.75 * room[0] * room[1]
        assert 28 <= shape.width <= 80


@settings(max_examples=60)
@given(length=st.integers(3, 25), paths=st.integers(1, 4), rows=st.integers(1, 4), room=ROOMS)
def test_paths_show_at_least_one_whole_path(length: int, paths: int, rows: int, room: tuple[int, int]) -> None:
    shape = fit_paths(length, paths, rows, room, 1.0)
    lines = -(-length // shape.columns)
    assert shape.groups % lines == 0
    assert lines <= shape.groups <= lines * paths
    if shape.width > 8:  # the smallest; below it, the grid is cut
        assert fits(shape, rows, room)
    one_line = min((room[0] + GAP) // length - GAP, (room[1] + 3) // rows - 3)
    assert shape.width >= min(one_line, 32), "wrapping never makes frames smaller"


def test_paths_fill_the_room() -> None:
    for room in ((700, 360), (1385, 830), (1900, 1200)):
        shape = fit_paths(9, 4, 3, room, 1.0)
        assert (shape.columns * (shape.width + GAP) - GAP) * shape.used(3, head=False) >= 0.65 * room[0] * room[1]


def test_many_frames_wrap_where_they_would_be_small() -> None:
    assert fit_paths(9, 1, 3, (450, 250), 1.0).columns == 9
    wrapped = fit_paths(25, 1, 3, (450, 400), 1.0)
    assert wrapped.columns < 25
    assert wrapped.width >= 28
