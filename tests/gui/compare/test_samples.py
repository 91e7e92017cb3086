"""Samples of the chosen runs side by side, from the same noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Sample
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_samples import RunSamplesPanel
from nfkd_gui.theme import tokens
from tests.gui.compare.compare_driver import key
from tests.gui.compare_script import CompareScript
from tests.gui.pixels import count_of

Do = Callable[[Any], Any]


@pytest.fixture
def panel(show: Callable[..., Any]) -> RunSamplesPanel:
    return show(RunSamplesPanel, (488, 400))


def asked(script: CompareScript) -> list[Sample]:
    return [request for request in script.asked if isinstance(request, Sample)]


def finish(panel: RunSamplesPanel, chosen: ChosenRuns, answered: Any) -> None:
    """Wait until every chosen run has its samples."""
    panel.mark_dirty()
    panel.refresh()
    while chosen.sampled.waits:
        answered(panel, chosen.sampled)


def test_rows_are_groups_and_columns_the_same_noise(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    model.choose([key("pool"), key("SKD at 1")])
    finish(panel, chosen, answered)
    requests = asked(script)
    assert [request.run for request in requests] == model.chosen
    assert len({(request.count, request.temperature, request.noise_seed) for request in requests}) == 1
    assert panel.pages.currentWidget() is panel.grid
    picture = panel.grid.grab().toImage()
    for colour in tokens().run[:2]:
        assert count_of(picture, colour) > 5, "the name has the colour of the group"
    first, second = (panel.grid.cell_rect(0, row, 0) for row in (0, 1))
    assert first.left() == second.left()
    text = panel.grid.describe_at(second.center())
    assert text.startswith("SKD at 1, noise 1")
    assert panel.note.text() == "Each column is the same noise."


def test_points_of_the_plane_are_coloured_by_the_angle_of_the_noise(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    script.vectors = True
    model.choose([key("pool"), key("SKD at 1")])
    finish(panel, chosen, answered)
    assert panel.pages.currentWidget() is panel.planes
    cells = [panel.planes.cells[f"run-{number}"] for number in (1, 2)]
    assert [cell.title.text() for cell in cells] == ["pool", "SKD at 1"]
    for cell, colour in zip(cells, tokens().run, strict=False):
        assert count_of(cell.title.grab().toImage(), colour) > 5
    ranges = [cell.plane.canvas.getViewBox().viewRange() for cell in cells]
    assert np.allclose(ranges[0], ranges[1]), "equal limits"
    spots: Any = cells[0].plane.points.points()
    brushes = {spot.brush().color().name() for spot in spots}
    assert len(brushes) > 10


def test_new_noise_is_drawn_for_all_and_what_is_known_is_not_asked_again(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    model.choose([key("pool"), key("SKD at 1")])
    finish(panel, chosen, answered)
    model.choose([key("pool"), key("SKD at 1"), key("mixing only")])
    finish(panel, chosen, answered)
    assert [request.run for request in asked(script)] == [key("pool"), key("SKD at 1"), key("mixing only")]
    panel.fresh.click()
    finish(panel, chosen, answered)
    assert [request.noise_seed for request in asked(script)] == [0, 0, 0, 1, 1, 1]


def test_progress_is_told_and_another_choice_cancels(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any,
    ready: Studio, qtbot: QtBot,
) -> None:  # fmt: skip
    client = ready.clients[-1]  # type: ignore[attr-defined]
    model.choose([key("pool"), key("SKD at 1"), key("mixing only")])
    answered(panel, chosen.sampled)
    if chosen.sampled.waits:
        assert panel.note.text().startswith(f"Sampling: {3 - chosen.sampled.waits} of 3 runs.")
    finish(panel, chosen, answered)
    client.slow = (Sample,)
    panel.fresh.click()
    panel.refresh()
    qtbot.waitUntil(lambda: bool(client.waiting))
    model.choose([key("mixing only")])
    panel.refresh()
    client.slow = ()
    client.release()
    finish(panel, chosen, answered)
    assert list(chosen.sampled.samples) == [key("mixing only")]
    assert [request.run for request in asked(script)[3:]] == [key("pool"), key("mixing only")]


def test_at_most_eight_groups_are_sampled(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any,
    ready: Studio, do: Do,
) -> None:  # fmt: skip
    run = script.add("ninth", dict(script.known[key("pool")]), {"student_test": 2.4})
    ready.list_runs()
    do(ready.clients[-1].settled())  # type: ignore[attr-defined]
    model.choose([group.key for group in model.groups])
    assert run in model.chosen
    finish(panel, chosen, answered)
    assert len(asked(script)) == 8
    assert "The first 8 of 9 chosen." in panel.note.text()


def test_a_run_that_cannot_be_sampled_says_why(
    panel: RunSamplesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    script.refused["Sample"] = ErrorInfo(title="No weights", cause="The student is not trained yet.", action="")
    model.choose([key("pool")])
    finish(panel, chosen, answered)
    label = panel.findChild(QLabel, "compare.samples.sentence")
    assert isinstance(label, QLabel)
    assert label.text() == "pool: No weights. The student is not trained yet."
