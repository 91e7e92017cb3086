"""Workspaces, the start page, the outline and presentation mode, by mouse and keyboard."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QMenu, QPushButton, QToolButton, QWidget

from nfkd.config import ConfigProblem
from nfkd_gui.panels.base import Panel
from nfkd_gui.theme import font
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.steps import DIGITS, Do, click, settled

TILES = ["curves", "samples", "interpolation", "flow"]


def test_workspaces_are_switched_by_mouse_and_keyboard_and_an_empty_one_is_not_offered(
    window: MainWindow, script: Any, do: Do
) -> None:
    compare = window.findChild(QToolButton, "header.workspace.compare")
    assert isinstance(compare, QToolButton)
    assert not compare.isVisible()
    window.findChild(QAction, "action.workspace.compare").trigger()  # type: ignore[union-attr]
    assert window.workspace == "design"
    click(window, QToolButton, "header.workspace.train")
    assert window.train.isVisible()
    QTest.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    assert (window.design.isVisible(), window.train.isVisible()) == (True, False)

    async def scenario() -> None:
        script.begin("/runs/old", DIGITS)
        script.finish("/runs/old")
        await settled(window.studio)
        click(window, QToolButton, "header.workspace.compare")
        assert window.runs.isVisible()

    do(scenario())


def test_a_run_that_is_queued_does_not_take_the_view_from_the_watched_one(
    window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        script.begin("/runs/first", DIGITS)
        window.studio.open_run("/runs/first")
        await settled(window.studio)
        script.train("/runs/first", "teacher", 3)
        await settled(window.studio)
        window.open_workspace("design")
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        assert window.studio.view is not None
        assert window.studio.view.row.run == "/runs/first"
        assert window.workspace == "design"
        assert "queued" in window.statusBar().currentMessage()

    do(scenario())


def test_one_key_pauses_and_resumes(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/digits", DIGITS)
        window.studio.open_run("/runs/digits")
        await settled(window.studio)
        script.train("/runs/digits", "teacher", 3)
        await settled(window.studio)
        states = []
        for _ in range(2):
            QTest.keyClick(window, Qt.Key.Key_F6)
            await settled(window.studio)
            states.append(window.studio.rows["/runs/digits"].state)
        assert states == ["paused", "running"]

    do(scenario())


def test_a_tile_fills_the_workspace_and_escape_brings_the_others_back(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("train")
    tiles = window.train.tiles.docks
    assert [name for name, dock in tiles.items() if dock.isVisible()] == TILES
    click(window, QToolButton, "panel.samples.expand")
    assert [name for name, dock in tiles.items() if dock.isVisible()] == ["samples"]
    QTest.keyClick(window.train.tiles, Qt.Key.Key_Escape)
    assert [name for name, dock in tiles.items() if dock.isVisible()] == TILES


def test_matching_becomes_a_tab_beside_flow_when_it_is_chosen(window: MainWindow) -> None:
    window.open_workspace("train")
    tiles = window.train.tiles.docks
    toggle = tiles["matching"].toggleViewAction()
    assert not toggle.isChecked()
    toggle.trigger()
    assert tiles["matching"] in window.train.tiles.tabifiedDockWidgets(tiles["flow"])
    window.actions_.tile.trigger()
    assert tiles["matching"] in window.train.tiles.tabifiedDockWidgets(tiles["flow"])
    assert not tiles["matching"].isHidden()
    toggle.trigger()
    window.actions_.tile.trigger()
    assert tiles["matching"].isHidden()
    assert all(tiles[name].isVisible() for name in TILES)


def in_front(window: MainWindow) -> list[str]:
    return [name for name, dock in window.train.tiles.docks.items() if not dock.visibleRegion().isEmpty()]


def test_further_panels_open_as_tabs_of_the_last_tile_and_only_those_in_front_are_drawn(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open_workspace("train")
    train = window.train
    drawn: set[str] = set()
    monkeypatch.setattr(Panel, "refresh", lambda panel: drawn.add(panel.name))
    menu = window.findChild(QMenu, "train.panels.menu")
    assert isinstance(menu, QMenu)
    system = next(action for action in menu.actions() if action.text() == "System")
    assert not system.isChecked()
    system.trigger()
    QApplication.processEvents()
    assert in_front(window) == ["curves", "samples", "interpolation", "system"]
    train._refresh()
    assert "system" in drawn
    assert "flow" not in drawn, "its tab is behind"
    drawn.clear()
    train.tiles.docks["flow"].raise_()
    QApplication.processEvents()
    train._refresh()
    assert "flow" in drawn
    assert "system" not in drawn
    system.trigger()
    QApplication.processEvents()
    assert not train.tiles.docks["system"].isVisible()


def test_presentation_mode_leaves_the_window_as_it_was(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("train")
    window.showMaximized()
    qtbot.waitUntil(window.isMaximized)
    inspector: PanelDock = window.train.docks["inspector"]
    size = font("body").pixelSize()
    QTest.keyClick(window, Qt.Key.Key_F11)
    qtbot.waitUntil(window.isFullScreen)
    assert not inspector.isVisible()
    assert font("body").pixelSize() > size
    QTest.keyClick(window, Qt.Key.Key_F11)
    qtbot.waitUntil(lambda: not window.isFullScreen())
    assert window.isMaximized()
    assert inspector.isVisible()
    assert font("body").pixelSize() == size


@pytest.mark.parametrize(("key", "scale"), [(Qt.Key.Key_Plus, 125), (Qt.Key.Key_Minus, 75)])
def test_the_interface_scales(window: MainWindow, key: Qt.Key, scale: int) -> None:
    heading = window.findChild(QLabel, "header.name")
    assert isinstance(heading, QLabel)
    before = heading.font().pixelSize()
    QTest.keyClick(window, key, Qt.KeyboardModifier.ControlModifier)
    QApplication.processEvents()
    assert window.studio.preferences.scale == scale
    assert heading.font().pixelSize() == round(before * scale / 100)
    QTest.keyClick(window, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert window.studio.preferences.scale == 100


# --- Design ---------------------------------------------------------------------------------------------------------


def test_the_outline_shows_one_section_at_a_time_with_its_summary(window: MainWindow) -> None:
    rows = window.design.outline.rows
    assert rows["data"].summary == "Digits · 1×8×8"
    assert rows["distillation"].summary == "NLL 0.9 + LKD 0.05 + ILKD 0.05 + pool 0.3"
    assert rows["seeds"].summary == "1 seed · likelihood"
    QTest.mouseClick(rows["training"], Qt.MouseButton.LeftButton)
    steps, hidden = (window.form.findChild(QWidget, name) for name in ("training.student_steps", "student.hidden"))
    assert isinstance(steps, QWidget)
    assert isinstance(hidden, QWidget)
    assert (steps.isVisible(), hidden.isVisible()) == (True, False)
    QTest.keyClick(rows["training"], Qt.Key.Key_Up)
    QTest.keyClick(rows["distillation"], Qt.Key.Key_Up)
    assert (steps.isVisible(), hidden.isVisible()) == (False, True)


def test_a_problem_has_a_badge_and_leads_to_its_field(window: MainWindow, script: Any, do: Do) -> None:
    message = "must be smaller"
    script.find_problems = lambda _config: [ConfigProblem(path="training.checkpoint_every", message=message)]

    async def scenario() -> None:
        window.studio.experiment.describe()
        await settled(window.studio)
        assert [name for name, row in window.design.outline.rows.items() if row.badge] == ["training"]
        click(window, QPushButton, "outline.problem.training.checkpoint_every")
        QApplication.processEvents()
        editor = window.form.findChild(QWidget, "training.checkpoint_every")
        assert isinstance(editor, QWidget)
        assert editor.isVisible()  # an advanced field
        assert editor.hasFocus()

    do(scenario())


def test_an_opened_experiment_is_shown_in_design_and_a_chosen_run_in_train(
    window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        window.open_workspace("")
        window.findChild(QAction, "preset.two_moons").trigger()  # type: ignore[union-attr]
        assert window.workspace == "design"
        script.begin("/runs/old", DIGITS)
        script.finish("/runs/old")
        await settled(window.studio)
        window.files.run_chosen.emit("/runs/old")
        await settled(window.studio)
        assert window.workspace == "train"
        window.open_workspace("")
        window.studio.view_changed.emit()  # such as after events were lost
        assert window.workspace == ""
        window.start_page.findChild(QPushButton, "start.own").click()  # type: ignore[union-attr]
        assert window.workspace == "design"
        assert window.design.properties.head.title.text() == "Data"

    do(scenario())


def test_presentation_shows_the_tiles_from_any_workspace_and_escape_returns(window: MainWindow) -> None:
    window.open_workspace("design")
    window.actions_.presentation.setChecked(True)
    assert window.train.isVisible()
    assert not window.form.isVisible()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not window.actions_.presentation.isChecked()
    assert window.workspace == "design"
    assert window.form.isVisible()


def test_compare_is_presented_with_its_panels(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/a", DIGITS)
        await settled(window.studio)
        window.open_workspace("compare")
        window.actions_.presentation.setChecked(True)
        assert window.workspace == "compare"
        assert not window.statusBar().isVisible()
        assert window.compare.docks["compare.tradeoff"].isVisible()
        QTest.keyClick(window, Qt.Key.Key_Escape)
        assert window.workspace == "compare"
        assert window.statusBar().isVisible()

    do(scenario())
