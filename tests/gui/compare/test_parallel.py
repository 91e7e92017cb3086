"""Settings and results: lines, brushes, axes that are moved, and the choice that follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QAction, QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from nfkd.config.run_filter import Value
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.panels.compare_parallel import ParallelPanel
from nfkd_gui.plotting.parallel import ParallelPlot
from nfkd_gui.plotting.parallel_axes import AxisSource, make_axis
from nfkd_gui.theme import apply_theme, tokens
from nfkd_gui.widgets.figure import draw_image, draw_svg
from tests.gui.compare.compare_driver import double_click, drag, hover, key
from tests.gui.compare_script import RECIPES

GAPS = {name: recipe[8] for name, recipe in RECIPES.items()}


@pytest.fixture
def panel(show: Callable[..., Any]) -> ParallelPanel:
    return show(ParallelPanel)


def at(plot: ParallelPlot, axis: str, position: float) -> QPointF:
    frame = plot.frame()
    x = frame.places[plot.axis_names().index(axis)]
    return QPointF(float(x), float(frame.height_of(np.array(position))))


def place_of(panel: ParallelPanel, name: str, axis: str) -> QPointF:
    """Return where the line of a group crosses an axis."""
    plot = panel.plot
    line = [group.name for group in panel.model.groups].index(name)
    column = plot.axis_names().index(axis)
    return QPointF(float(plot.frame().places[column]), float(plot.heights()[line, column]))


def brush_between(panel: ParallelPanel, axis: str, low: float, high: float) -> None:
    middle = at(panel.plot, axis, (low + high) / 2)
    drag(panel.plot, at(panel.plot, axis, low), middle, at(panel.plot, axis, high))


def test_settings_that_differ_and_results_have_axes(panel: ParallelPanel) -> None:
    names = panel.plot.axis_names()
    assert names[:4] == [
        "student.steps", "student.hidden", "distillation.pool.share", "distillation.inherit",
    ]  # fmt: skip
    assert names[4:] == ["student_samples_per_second", "gap_closed", "student_fd"]


def test_a_brush_chooses_groups_and_its_removal_chooses_none(panel: ParallelPanel, model: CompareModel) -> None:
    brush_between(panel, "gap_closed", 0.45, 1.0)
    expected = {key(name) for name, gap in GAPS.items() if gap > 0.62}
    assert set(model.chosen) == expected == {key(name) for name in RECIPES if GAPS[name] in {1.37, 0.73, 0.68, 0.64}}
    double_click(panel.plot, at(panel.plot, "gap_closed", 0.7))
    assert panel.plot.brushes == []
    assert model.chosen == []


def test_brushes_of_two_axes_must_both_be_passed(panel: ParallelPanel, model: CompareModel) -> None:
    brush_between(panel, "gap_closed", 0.45, 1.0)
    brush_between(panel, "student.steps", 0.0, 0.3)
    assert set(model.chosen) == {key(name) for name in ("pool + LKD + ILKD", "blocks + pool", "pool")}


def test_a_brush_is_moved_and_resized_with_the_mouse(panel: ParallelPanel, model: CompareModel) -> None:
    brush_between(panel, "gap_closed", 0.8, 1.0)
    assert model.chosen == [key("K = 4, blocks + pool")]
    drag(panel.plot, at(panel.plot, "gap_closed", 0.9), at(panel.plot, "gap_closed", 0.55))
    (brush,) = panel.plot.brushes
    assert (brush.low, brush.high) == pytest.approx((0.45, 0.65), abs=0.01)
    assert key("K = 4, blocks + pool") not in model.chosen
    drag(panel.plot, at(panel.plot, "gap_closed", brush.high), at(panel.plot, "gap_closed", 1.0))
    assert key("K = 4, blocks + pool") in model.chosen


def test_another_view_that_chooses_removes_the_brushes(panel: ParallelPanel, model: CompareModel) -> None:
    brush_between(panel, "gap_closed", 0.8, 1.0)
    panel.refresh()
    assert panel.plot.brushes
    model.choose([key("pool")])
    panel.refresh()
    assert panel.plot.brushes == []


def test_chosen_lines_have_their_colours_and_the_brush_is_drawn_above(
    panel: ParallelPanel, model: CompareModel
) -> None:
    before = panel.plot.grab().toImage()
    model.choose([key("K = 4, blocks + pool")])
    panel.refresh()
    after = panel.plot.grab().toImage()
    left, right = (place_of(panel, "K = 4, blocks + pool", axis) for axis in ("gap_closed", "student_fd"))
    middle = ((left + right) / 2).toPoint()
    ratio = after.devicePixelRatio()

    def ink(picture: Any) -> set[str]:
        points = [(round(middle.x() * ratio), round((middle.y() + dy) * ratio)) for dy in (-1, 0, 1)]
        return {picture.pixelColor(*point).name() for point in points}

    assert tokens().run[0].lower() in ink(after)
    assert tokens().run[0].lower() not in ink(before)
    brush_between(panel, "gap_closed", 0.3, 0.4)
    place = at(panel.plot, "gap_closed", 0.35).toPoint()
    brushed = panel.plot.grab().toImage().pixelColor(round((place.x() + 5) * ratio), round(place.y() * ratio))
    assert brushed != QColor(tokens().panel)


def test_hovering_names_the_line_and_a_click_adds_it(panel: ParallelPanel, model: CompareModel) -> None:
    first, second = place_of(panel, "SKD at 1", "gap_closed"), place_of(panel, "SKD at 1", "student_fd")
    middle = (first + second) / 2
    before = panel.plot.grab().toImage()
    hover(panel.plot, middle)
    assert panel.plot.grab().toImage() != before
    drag(panel.plot, middle)
    assert model.chosen == [key("SKD at 1")]
    drag(panel.plot, middle)
    assert model.chosen == []


def test_a_title_is_dragged_to_move_its_axis(panel: ParallelPanel) -> None:
    names = panel.plot.axis_names()
    frame = panel.plot.frame()
    titles = [QPointF(float(x), frame.top - 20) for x in frame.places]
    drag(panel.plot, titles[0], titles[1], titles[2])
    assert panel.plot.axis_names() == [names[1], names[2], names[0], *names[3:]]
    panel.refresh()
    assert panel.plot.axis_names() == [names[1], names[2], names[0], *names[3:]], "the order is kept"
    panel.options()[0].trigger()
    panel.refresh()
    assert panel.plot.axis_names() == names


def test_other_axes_end_a_drag(panel: ParallelPanel, model: CompareModel, qtbot: QtBot) -> None:
    plot, frame = panel.plot, panel.plot.frame()
    title = QPointF(float(frame.places[-1]), frame.top - 20).toPoint()
    QTest.mousePress(plot, Qt.MouseButton.LeftButton, pos=title)
    panel._show_axis(checkable("student.steps", on=False))
    qtbot.waitUntil(lambda: "student.steps" not in plot.axis_names())
    kept = plot.axis_names()
    QTest.mouseMove(plot, QPointF(float(plot.frame().places[0]), frame.top - 20).toPoint())
    QTest.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=title)
    panel.refresh()
    assert plot.axis_names() == kept
    QTest.mousePress(plot, Qt.MouseButton.LeftButton, pos=at(plot, "student_fd", 0.2).toPoint())
    panel._show_axis(checkable("student_fd", on=False))
    qtbot.waitUntil(lambda: "student_fd" not in plot.axis_names())
    QTest.mouseMove(plot, at(plot, "gap_closed", 0.9).toPoint())
    assert not plot.brushes
    assert model.chosen == []


def checkable(name: str, *, on: bool) -> QAction:
    """Return an entry of the menu of axes."""
    action = QAction()
    action.setCheckable(True)
    action.setChecked(on)
    action.setData(name)
    return action


def test_the_icon_follows_the_theme(panel: ParallelPanel, qapp: QApplication) -> None:
    def ink() -> set[str]:
        image = panel.choose_axes.icon().pixmap(16).toImage()
        points = [(x, y) for x in range(image.width()) for y in range(image.height())]
        return {image.pixelColor(x, y).name() for x, y in points if image.pixelColor(x, y).alpha() == 255}

    apply_theme(qapp, "light")
    panel.restyle()
    light = ink()
    apply_theme(qapp, "dark")
    panel.restyle()
    dark = ink()
    assert light
    assert not light & dark


def test_the_keyboard_moves_axes_and_removes_brushes(panel: ParallelPanel, model: CompareModel) -> None:
    names = panel.plot.axis_names()
    panel.plot.setFocus()
    QTest.keyClick(panel.plot, Qt.Key.Key_Right)
    QTest.keyClick(panel.plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ControlModifier)
    assert panel.plot.axis_names()[:2] == [names[1], names[0]]
    brush_between(panel, "gap_closed", 0.8, 1.0)
    QTest.keyClick(panel.plot, Qt.Key.Key_Escape)
    assert model.chosen == []
    assert panel.plot.brushes == []


def test_axes_are_chosen_in_the_menu(panel: ParallelPanel) -> None:
    menu = panel.findChild(QMenu, "compare.parallel.axes.menu")
    assert isinstance(menu, QMenu)
    menu.aboutToShow.emit()
    actions = {action.objectName(): action for action in menu.actions()}
    assert not actions["compare.parallel.axis.distillation.lkd.weight"].isChecked()
    actions["compare.parallel.axis.distillation.lkd.weight"].trigger()
    panel.refresh()
    assert panel.plot.axis_names()[-1] == "distillation.lkd.weight"
    menu.aboutToShow.emit()
    actions = {action.objectName(): action for action in menu.actions()}
    actions["compare.parallel.axis.student.steps"].trigger()
    panel.refresh()
    assert "student.steps" not in panel.plot.axis_names()


def test_pictures_have_lines_and_the_table_has_all_values(panel: ParallelPanel) -> None:
    figure = panel.figure()
    assert figure is panel.plot
    svg = draw_svg(panel.plot, "lines").decode()
    assert svg.count("<polyline") >= len(RECIPES)
    assert "<image" not in svg
    assert draw_image(panel.plot).width() > panel.plot.width()
    table = panel.numbers()["Lines"]
    rows = list(table.rows)
    assert list(table.header[:2]) == ["run", "chosen"]
    assert {row[0] for row in rows} == set(RECIPES)
    gap = list(table.header).index("gap_closed")
    assert {row[0]: row[gap] for row in rows} == pytest.approx(GAPS)


def test_many_lines_are_painted_in_slices(panel: ParallelPanel, qtbot: QtBot) -> None:
    values: list[Value] = [float(number) for number in range(1200)]
    axes = [make_axis(AxisSource(name, name, values, str)) for name in ("first", "second")]
    panel.plot.show_lines(axes, list(map(str, values)), {})

    def is_drawn(line: int) -> bool:
        picture, frame = panel.plot.grab().toImage(), panel.plot.frame()
        x, y = round(float(frame.places.mean())), round(float(panel.plot.heights()[line, 0]))
        return QColor(picture.pixel(x, y)) != QColor(picture.pixel(x, picture.height() - 2))

    assert not is_drawn(-1)
    assert is_drawn(0)
    qtbot.waitUntil(lambda: is_drawn(-1))
