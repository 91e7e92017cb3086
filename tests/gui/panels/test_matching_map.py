"""The map of matched layers: words where there is room for them, numbers where there is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from nfkd_gui.panels.matching import MatchingPanel


def names(panel: MatchingPanel) -> list[str]:
    ticks = panel.heat.canvas.getAxis("left")._tickLevels
    assert ticks is not None
    return [name for _, name in ticks[0]]


@pytest.mark.parametrize(
    ("width", "expected"),
    [(900, ["level 1 step 2 ↔ level 1 step 8", "level 2 step 2 ↔ level 2 step 8"]), (360, ["1", "2"])],
)
def test_pairs_are_named_as_the_room_allows(
    show: Any, fake_run: Any, qapp: Any, width: int, expected: list[str]
) -> None:
    run = fake_run()
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    run.matching(50, [1.0, 0.5])
    panel = show(MatchingPanel, run, (640, 500))
    panel.resize(width, 500)
    qapp.processEvents()
    panel.refresh()
    assert names(panel) == expected


@pytest.mark.parametrize(
    ("errors", "levels"),
    [
        ([[2.0, 1.0], [np.inf, 1.0]], (0.0, np.log10(2.0))),
        ([[2.0, 1.0], [np.nan, np.nan]], (0.0, np.log10(2.0))),
        ([[2.0, np.nan], [1.0, np.inf]], (0.0, np.log10(2.0))),
        ([[np.nan, np.inf]], (0.0, 0.1)),
    ],
)
def test_a_training_that_diverges_leaves_gaps(
    show: Any, fake_run: Any, errors: Any, levels: tuple[float, float]
) -> None:
    run = fake_run()
    run.begin("student")
    for step, error in enumerate(errors, start=1):
        run.matching(step, error)
    panel = show(MatchingPanel, run)
    assert not panel.grab().isNull()
    assert panel.bar.levels() == pytest.approx(levels)
    given = np.repeat(np.isfinite(np.array(errors)).T, 4, axis=1)
    np.testing.assert_array_equal(np.isfinite(panel.image.image), given)


def test_a_pair_that_is_only_measured_is_dashed(show: Any, fake_run: Any) -> None:
    run = fake_run(weights=(2.0, 0.0))
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    panel = show(MatchingPanel, run)
    styles = [line.opts["pen"].style() for line in panel.lines]
    assert styles == [Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine]
