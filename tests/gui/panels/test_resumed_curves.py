"""A stage that is resumed makes points again: what is drawn is what the run has now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nfkd.protocol import events
from nfkd_gui.panels.curves import CurvesPanel

KEY = (1, "student", "validation/nll")
BEFORE = np.linspace(3, 2, 100)


def drawn(panel: CurvesPanel) -> np.ndarray:
    return np.array(panel.plots["likelihood"].lines[KEY].getOriginalDataset()[1])


@pytest.mark.parametrize("again", [30, 50, 60])
@pytest.mark.parametrize("smoothing", [0, 50])
def test_points_made_again_replace_those_that_were_drawn(
    show: Any, fake_run: Any, again: int, smoothing: int, qapp: Any
) -> None:
    run, whole = fake_run(), fake_run()
    for each in (run, whole):
        each.begin("student")
    run.points("student", "validation/nll", BEFORE)
    whole.points("student", "validation/nll", [*BEFORE[:50], *np.full(again, 9.0)])
    panel, other = show(CurvesPanel, run), show(CurvesPanel, whole)
    for each in (panel, other):
        each._smoothing.setValue(smoothing)
        each.refresh()
    # All of it between two repaints, as for a panel behind another tab.
    run.add(events.StageStarted(run=run.view.row.run, seed=1, stage="student", step=50))
    run.points("student", "validation/nll", np.full(again, 9.0), start=51)
    panel.refresh()
    np.testing.assert_allclose(drawn(panel), drawn(other))
