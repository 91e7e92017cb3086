"""Labels beside points: inside the room, apart from each other and from the points."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.plotting.label_places import Box, PointLabel, place_labels

ROOM = (0.0, 0.0, 300.0, 200.0)


def overlaps(first: Box, second: Box) -> bool:
    """Return whether two boxes have more than an edge in common."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return across > 0 and down > 0


LABELS = st.lists(
    st.builds(PointLabel, st.floats(0, 300), st.floats(0, 200), st.floats(10, 90), st.just(14.0)), max_size=12
)


@given(LABELS)
def test_labels_overlap_neither_each_other_nor_points(labels: list[PointLabel]) -> None:
    points = [(label.x - 4, label.y - 4, label.x + 4, label.y + 4) for label in labels]
    placed = [place for place in place_labels(labels, ROOM, points) if place is not None]
    assert not any(overlaps(first, second) for first, second in combinations(placed, 2))
    for left, top, right, bottom in placed:
        assert left >= ROOM[0]
        assert top >= ROOM[1]
        assert right <= ROOM[2]
        assert bottom <= ROOM[3]
        assert not any(overlaps((left, top, right, bottom), point) for point in points)


def test_a_label_alone_stands_at_the_right_and_at_the_left_of_a_line() -> None:
    label = PointLabel(100, 100, 50, 14)
    assert place_labels([label], ROOM, gap=6) == [(106, 93, 156, 107)]
    line = (104.0, 0.0, 106.5, 200.0)
    assert place_labels([label], ROOM, lines=[line], gap=6) == [(44, 93, 94, 107)]


def test_a_label_that_crosses_a_line_everywhere_is_still_shown() -> None:
    label = PointLabel(100, 100, 50, 14)
    assert place_labels([label], ROOM, lines=[ROOM], gap=6) == [(106, 93, 156, 107)]
    assert place_labels([label], ROOM, obstacles=[ROOM], gap=6) == [None]
