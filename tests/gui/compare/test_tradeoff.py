"""Trade-off: points, the front, labels, and the choice with the mouse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF

from nfkd_gui.model.compare import CompareModel
from nfkd_gui.panels.compare_tradeoff import TradeOffPanel
from nfkd_gui.theme import tokens
from nfkd_gui.widgets.combo import FittingComboBox
from tests.gui.compare.compare_driver import drag, key
from tests.gui.compare_script import BASELINES, RECIPES, CompareScript
from tests.gui.pixels import count_of


@pytest.fixture
def panel(show: Callable[..., Any]) -> TradeOffPanel:
    return show(TradeOffPanel, (474, 400))


def pick(panel: TradeOffPanel, combo: FittingComboBox, name: str) -> None:
    combo.setCurrentIndex(combo.findData(name))
    combo.activated.emit(combo.currentIndex())
    panel.refresh()


def front(panel: TradeOffPanel) -> list[str]:
    return [point.key for point in panel.plot.front_of()]


def test_students_baselines_and_teachers_are_shown_once(panel: TradeOffPanel, model: CompareModel) -> None:
    measure, cost = panel.chosen_figures()
    assert (measure.name, cost.name) == ("test", "parameters")
    points = panel.points(model.groups, measure, cost)
    found = {
        kind: [(point.x, point.y) for point in points if point.kind == kind] for kind in ("run", "baseline", "teacher")
    }
    assert len(found["run"]) == len(RECIPES)
    assert sorted(found["baseline"]) == sorted((float(x), y) for x, y in BASELINES.items())
    assert found["teacher"] == [(154_000.0, 2.396)]
    bars = {point.key: point.spread for point in points if point.kind == "run"}
    assert bars[key("pool")] == pytest.approx(RECIPES["pool"][7])


def test_the_front_follows_what_is_better(panel: TradeOffPanel) -> None:
    assert front(panel) == [key(name) for name in ("pool, h 32", "pool + LKD + ILKD", "K = 4, blocks + pool")]
    pick(panel, panel.cost, "samples_per_second")
    assert front(panel) == [key(name) for name in ("K = 4, blocks + pool", "pool + LKD + ILKD", "pool, h 32")]
    pick(panel, panel.measure, "gap_closed")
    assert front(panel)[0] == key("K = 4, blocks + pool")
    assert panel.plot.canvas.getAxis("left").labelText == "Gap closed (%)"


def test_fid_is_a_measure_of_the_runs_that_have_it(script: CompareScript, request: pytest.FixtureRequest) -> None:
    fids = {key("pool"): 21.5, key("pool, h 32"): 30.25}
    for run, fid in fids.items():
        script.known[run]["student_fid_0123456789ab"] = fid
    panel = request.getfixturevalue("show")(TradeOffPanel, (474, 400))
    pick(panel, panel.measure, "fid_0123456789ab")
    assert panel.measure.currentText() == "FID 0123456789ab"
    points = panel.points(panel.model.groups, *panel.chosen_figures())
    assert {point.key: point.y for point in points if np.isfinite(point.y)} == fids
    assert front(panel) == [key("pool, h 32"), key("pool")]


def test_a_rectangle_chooses_and_a_click_adds(panel: TradeOffPanel, model: CompareModel) -> None:
    place = panel.plot.pixel_of(key("K = 4, blocks + pool"))
    drag(panel.plot.viewport(), place - QPointF(25, 25), place, place + QPointF(25, 25))
    assert model.chosen == [key("K = 4, blocks + pool")]
    panel.refresh()
    other = panel.plot.pixel_of(key("pool, h 32"))
    drag(panel.plot.viewport(), other)
    assert model.chosen == [key("K = 4, blocks + pool"), key("pool, h 32")]
    drag(panel.plot.viewport(), other)
    assert model.chosen == [key("K = 4, blocks + pool")]
    drag(panel.plot.viewport(), QPointF(70, 20), QPointF(80, 30), QPointF(90, 40))
    assert model.chosen == []


def test_a_cost_over_decades_is_on_a_logarithmic_axis(panel: TradeOffPanel) -> None:
    where = {
        point.key: place
        for point, place in zip(panel.plot._shown, panel.plot.positions(), strict=True)
        if point.kind == "run"
    }
    assert where[key("pool")][0] == pytest.approx(np.log10(38_600))


def test_chosen_points_have_their_colour_and_labels_that_do_not_overlap(
    panel: TradeOffPanel, model: CompareModel
) -> None:
    model.choose([key(name) for name in list(RECIPES)[:5]])
    panel.refresh()
    picture = panel.plot.grab().toImage()
    for colour in tokens().run[:5]:
        assert count_of(picture, colour) > 10, colour
    texts = [item.toPlainText() for item in panel.plot.labels]
    assert {"Teacher", "Pareto front", "K = 4, blocks + pool"} <= set(texts)
    boxes = [item.mapToScene(item.boundingRect()).boundingRect() for item in panel.plot.labels]
    for first, second in combinations(boxes, 2):
        common = first.intersected(second)
        assert min(common.width(), common.height()) <= 1, "labels overlap"


def test_runs_of_other_data_have_no_common_front(panel: TradeOffPanel, model: CompareModel) -> None:
    group = model.group_of(key("pool"))
    assert group is not None
    dict.update(group.values, {"data": "pinwheel", "unit": "nats"})  # type: ignore[arg-type]
    panel.mark_dirty()
    panel.refresh()
    assert panel.note.text() == "1 of other data left out"
    assert key("pool") not in {point.key for point in panel.plot.front_of()}
    pick(panel, panel.measure, "gap_closed")
    assert panel.note.text() == "2 data sets, so no common front"
    line: Any = panel.plot.front
    assert line.getData()[0].size == 0


def test_the_table_has_every_flow(panel: TradeOffPanel) -> None:
    rows = list(panel.numbers()["Points"].rows)
    assert ["pool", "run", 38_600.0, 2.488] in [row[:4] for row in rows]
    assert ["pool", "teacher", 154_000.0, 2.396] in [row[:4] for row in rows]
    assert panel.figure() is panel.plot
