"""The panels of Compare in the window: their places, tabs, menus, and the choice that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import CompareRuns, ReadMatchingProfiles, ReadRunCurves
from nfkd.protocol.requests import Sample
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window.compare_panels import COLUMNS
from nfkd_gui.window.main_window import MainWindow
from tests.gui.compare.compare_driver import drag, key
from tests.gui.compare_script import CompareScript

FRONTS = [kinds[0].name for _, kinds in COLUMNS]
BEHIND = [kind.name for _, kinds in COLUMNS for kind in kinds[1:]]


@pytest.fixture
def script() -> CompareScript:
    script = CompareScript(lambda _event: None)
    script.add_recipes()
    return script


@pytest.fixture
def panels(window: MainWindow, do: Callable[[Any], Any], qtbot: QtBot) -> Workspace:
    window.resize(1600, 1000)
    window.open_workspace("compare")
    do(window.studio.clients[-1].settled())  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: bool(window.compare.model.groups))
    return window.compare


def in_front(panels: Workspace) -> list[str]:
    docks = {name: dock for name, dock in panels.docks.items() if name.startswith("compare.")}
    return [name for name, dock in docks.items() if not dock.panel.visibleRegion().isEmpty()]


def test_three_panels_stand_side_by_side_and_three_are_tabs_behind_them(panels: Workspace, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: in_front(panels) == FRONTS)
    boxes = [panels.docks[name].geometry() for name in FRONTS]
    assert boxes[0].right() < boxes[1].left()
    assert boxes[1].right() < boxes[2].left()
    assert boxes[0].width() > boxes[2].width() > boxes[1].width()
    assert len({box.top() for box in boxes}) == 1
    panels.docks["compare.curves"].raise_()
    qtbot.waitUntil(lambda: "compare.curves" in in_front(panels))
    panels.reset()
    qtbot.waitUntil(lambda: in_front(panels) == FRONTS)


def test_a_brush_selects_in_every_view_and_only_visible_panels_ask(
    window: MainWindow, panels: Workspace, script: CompareScript, qtbot: QtBot
) -> None:
    qtbot.waitUntil(lambda: bool(panels.docks["compare.parallel"].panel.plot.axis_names()))  # type: ignore[attr-defined]
    plot: Any = panels.docks["compare.parallel"].panel.plot  # type: ignore[attr-defined]
    frame = plot.frame()
    x = float(frame.places[plot.axis_names().index("gap_closed")])
    drag(plot, QPointF(x, frame.top), QPointF(x, frame.top + 10), QPointF(x, frame.top + 0.55 * frame.length))
    chosen = window.compare.model.chosen
    assert set(chosen) == {key(name) for name in ("K = 4, blocks + pool", "pool + LKD + ILKD", "blocks + pool", "pool")}
    asked = script.asked
    qtbot.waitUntil(lambda: any(isinstance(request, CompareRuns) for request in asked))
    assert not any(isinstance(request, (ReadRunCurves, ReadMatchingProfiles, Sample)) for request in asked)
    panels.docks["compare.curves"].raise_()
    qtbot.waitUntil(lambda: any(isinstance(request, ReadRunCurves) for request in asked))
    tradeoff: Any = panels.docks["compare.tradeoff"].panel
    qtbot.waitUntil(lambda: {point.key for point in tradeoff.plot.front_of() if point.colour} != set())


def test_the_keyboard_reaches_only_what_is_seen(window: MainWindow, panels: Workspace, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: in_front(panels) == FRONTS)
    window.runs.table.setFocus()
    panels.docks["compare.grid"].raise_()
    qtbot.waitUntil(lambda: "compare.grid" in in_front(panels))
    for name in ("compare.grid", "compare.tradeoff"):
        qtbot.waitUntil(lambda name=name: panels.docks[name].panel.figure() is not None)  # type: ignore[attr-defined]
    names = set[str]()
    for _ in range(60):
        focus = QApplication.focusWidget()
        assert focus is not None
        names.add(focus.objectName())
        assert not focus.visibleRegion().isEmpty(), focus.objectName()
        QTest.keyClick(focus, Qt.Key.Key_Tab)
    assert {"runs.table", "runs.filter", "compare.grid.view", "compare.tradeoff.cost"} <= names
    assert not any(name.startswith(("compare.parallel", "compare.curves")) for name in names)


def test_an_enlarged_panel_has_the_whole_workspace_until_escape(
    window: MainWindow, panels: Workspace, qtbot: QtBot
) -> None:
    dock = panels.docks["compare.tradeoff"]
    before = dock.height()
    button = dock.findChild(QToolButton, "panel.compare.tradeoff.expand")
    assert isinstance(button, QToolButton)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.height() > 1.5 * before)
    assert in_front(panels) == ["compare.tradeoff"]
    QTest.keyClick(panels, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: in_front(panels) == FRONTS)
    qtbot.waitUntil(lambda: dock.height() < 1.2 * before)


def test_every_panel_has_a_menu_with_pictures_and_numbers(window: MainWindow, panels: Workspace, qtbot: QtBot) -> None:
    window.compare.model.choose([key("pool"), key("SKD at 1")])
    for name in [*FRONTS, *BEHIND]:
        dock = panels.docks[name]
        dock.raise_()
        panel: Any = dock.panel
        qtbot.waitUntil(lambda panel=panel: panel.figure() is not None)
        menu = dock.head.menu
        assert menu is not None
        menu.refill()
        offered = {
            action.objectName().removeprefix(f"panel.{name}.") for action in menu.actions() if action.isEnabled()
        }
        assert {"copy", "picture", "numbers"} <= offered, name


def test_the_layout_is_remembered(window: MainWindow, panels: Workspace, qtbot: QtBot) -> None:
    panels.docks["compare.samples"].raise_()
    qtbot.waitUntil(lambda: "compare.samples" in in_front(panels))
    state = window.compare.layout_state()
    window.compare.reset()
    qtbot.waitUntil(lambda: in_front(panels) == FRONTS)
    window.compare.restore(state)
    qtbot.waitUntil(lambda: "compare.samples" in in_front(panels))
