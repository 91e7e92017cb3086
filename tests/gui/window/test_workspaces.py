"""Workspaces, the start page, the outline and presentation mode, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QMenu, QMessageBox, QPushButton, QScrollArea, QToolButton, QWidget

from nfkd.config import ConfigProblem, ExperimentConfig, preset_names
from nfkd.config.toml import toml_text
from nfkd.protocol.data import PreviewData
from nfkd.protocol.requests import Run
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.theme import font
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.conftest import may_run

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()
TILES = ["curves", "samples", "interpolation", "flow"]


def press(window: MainWindow, kind: type, name: str) -> None:
    widget = window.findChild(kind, name)
    assert isinstance(widget, QWidget), name
    assert widget.isVisible(), name
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


async def settled(studio: Studio) -> None:
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


def test_workspaces_are_switched_by_mouse_and_keyboard_and_an_empty_one_is_not_offered(
    window: MainWindow, script: Any, do: Do
) -> None:
    compare = window.findChild(QToolButton, "header.workspace.compare")
    assert isinstance(compare, QToolButton)
    assert not compare.isVisible()
    window.findChild(QAction, "action.workspace.compare").trigger()  # type: ignore[union-attr]
    assert window.workspace == "design"
    press(window, QToolButton, "header.workspace.train")
    assert window.train.isVisible()
    QTest.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    assert (window.design.isVisible(), window.train.isVisible()) == (True, False)

    async def scenario() -> None:
        script.begin("/runs/old", DIGITS)
        script.finish("/runs/old")
        await settled(window.studio)
        press(window, QToolButton, "header.workspace.compare")
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
        press(window, QPushButton, "header.primary")
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
    press(window, QToolButton, "panel.samples.expand")
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
        press(window, QPushButton, "outline.problem.training.checkpoint_every")
        QApplication.processEvents()
        editor = window.form.findChild(QWidget, "training.checkpoint_every")
        assert isinstance(editor, QWidget)
        assert editor.isVisible()  # an advanced field
        assert editor.hasFocus()

    do(scenario())


# --- the start page -------------------------------------------------------------------------------------------------


def test_a_card_runs_its_preset_and_a_recent_run_is_opened(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.open_workspace("")
        await settled(window.studio)
        assert window.start_page.isVisible()
        card = window.start_page.cards["two_moons"]
        card.setFocus()
        await settled(window.studio)
        press(window, QPushButton, "start.preset.two_moons.run")
        await may_run(window.studio)
        await settled(window.studio)
        started = [request for request in script.asked if isinstance(request, Run)]
        assert [ExperimentConfig.from_toml(request.config).name for request in started] == ["two moons"]
        assert window.workspace == "train"
        script.finish(window.studio.view.row.run)  # type: ignore[union-attr]
        window.studio.close_run()
        window.open_workspace("")
        await settled(window.studio)
        recent = [each for each in window.start_page.findChildren(QPushButton) if each.text() == "two moons"]
        QTest.mouseClick(recent[0], Qt.MouseButton.LeftButton)
        await settled(window.studio)
        assert window.studio.view is not None
        assert window.workspace == "train"

    do(scenario())


def test_a_card_opens_its_preset_by_the_keyboard(window: MainWindow, do: Do) -> None:
    window.open_workspace("")
    QTest.keyClick(window.start_page.cards["pinwheel_few"], Qt.Key.Key_Return)
    assert window.workspace == "design"
    assert window.studio.experiment.name == "pinwheel, 100 points"


def test_the_cards_get_their_pictures_once_the_engine_is_ready(
    studio: Studio, script: Any, do: Do, until: Do, qtbot: Any
) -> None:
    window = MainWindow(studio)
    window.open_workspace("")
    window.show()
    qtbot.waitExposed(window)
    assert not any(isinstance(request, PreviewData) for request in script.asked)

    async def scenario() -> None:
        studio.start()
        await until(studio.rows_changed)
        await settled(studio)
        asked = {request.config for request in script.asked if isinstance(request, PreviewData)}
        assert asked == {toml_text(ExperimentConfig.load(name).data) for name in preset_names()}

    do(scenario())
    window.close()
    window.deleteLater()


def shown_cards(window: MainWindow) -> set[str]:
    return {name for name, card in window.start_page.cards.items() if card.isVisible()}


def test_the_filter_of_the_start_page_shows_a_group_of_presets(window: MainWindow) -> None:
    window.open_workspace("")
    assert shown_cards(window) == set(preset_names())
    press(window, QToolButton, "start.filter.plane")
    planes = {"checkerboard", "iaf_moons", "maf_moons", "nsf_moons", "pinwheel_few", "realnvp_moons", "two_moons"}
    assert shown_cards(window) == planes
    press(window, QToolButton, "start.filter.paper")
    assert shown_cards(window) == {"cifar10_paper", "digits_paper", "natural_patches_paper"}
    cards = [window.start_page.cards[name] for name in shown_cards(window)]
    assert len({(card.x(), card.y()) for card in cards}) == len(cards)
    assert all(card.geometry().right() <= window.start_page.width() for card in cards)


def test_a_finished_run_of_a_preset_changes_its_card(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.open_workspace("")
        card = window.start_page.cards["two_moons"]
        script.begin("/runs/moons", ExperimentConfig.load("two_moons").to_toml())
        script.finish("/runs/moons")
        digest = ExperimentConfig.load("two_moons").digest()
        script.set_state("/runs/moons", "finished", digest=digest, seconds=21.0, seeds=1, gap_closed=0.4)
        await settled(window.studio)
        texts = [label.text() for label in card.findChildren(QLabel)]
        assert "21 s, measured" in texts

    do(scenario())


def test_the_keyboard_reaches_the_buttons_of_a_card(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("")
    card = window.start_page.cards["digits"]
    run = card.findChild(QPushButton, "start.preset.digits.run")
    assert isinstance(run, QPushButton)
    card.setFocus()
    qtbot.waitUntil(run.isVisible)
    QTest.keyClick(card, Qt.Key.Key_Tab)
    qtbot.waitUntil(run.hasFocus)
    QApplication.processEvents()
    assert run.isVisible()
    window.start_page.cards["two_moons"].setFocus()
    qtbot.waitUntil(lambda: not run.isVisible())


def test_run_on_a_card_waits_for_the_question_about_unsaved_changes(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.studio.experiment.edit(window.studio.experiment.document | {"description": "changed"})
        window.open_preset("two_moons", start=True)
        await settled(window.studio)
        assert not any(isinstance(request, Run) for request in script.asked)
        box = window.findChild(QMessageBox, "unsaved")
        assert isinstance(box, QMessageBox)
        box.button(QMessageBox.StandardButton.Discard).click()
        await may_run(window.studio)
        await settled(window.studio)
        started = [request for request in script.asked if isinstance(request, Run)]
        assert [ExperimentConfig.from_toml(request.config).name for request in started] == ["two moons"]

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


def test_the_window_becomes_narrow_and_the_tiles_tabs(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("train")
    for width, tabs in ((1440, False), (1100, False), (880, True), (1440, False)):

        def reached(width: int = width) -> bool:
            window.resize(width, 700)  # again: the least width falls as the header becomes shorter
            return window.width() == width

        qtbot.waitUntil(reached)
        QApplication.processEvents()
        docks = [dock for dock in window.train.tiles.docks.values() if not dock.visibleRegion().isEmpty()]
        assert (len(docks) == 1) == tabs, width


def set_width(window: MainWindow, qtbot: Any, width: int) -> None:
    def reached() -> bool:
        window.resize(width, 700)  # again: the least width falls as the header becomes shorter
        return window.width() == width

    qtbot.waitUntil(reached)
    QApplication.processEvents()


def test_the_inspector_is_a_drawer_in_a_narrow_window(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("train")
    train, inspector = window.train, window.train.inspector
    dock: PanelDock = train.docks["inspector"]
    button = window.findChild(QToolButton, "train.inspector")
    assert isinstance(button, QToolButton)
    set_width(window, qtbot, 1440)
    assert dock.isVisible()
    assert not button.isVisible()
    wide = dock.width()
    set_width(window, qtbot, 1200)
    assert not inspector.isVisible()
    tiles = train.tiles.width()
    press(window, QToolButton, "train.inspector")
    assert inspector.isVisible()
    assert dock.head.isVisible()
    assert train.tiles.width() == tiles, "the drawer is over the panels"
    right = inspector.mapTo(window, inspector.rect().topRight()).x()
    assert right == pytest.approx(window.width() - 8, abs=4)
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert not inspector.isVisible()
    assert not button.isChecked()
    press(window, QToolButton, "train.inspector")
    press(window, QToolButton, "train.inspector")
    assert not inspector.isVisible()
    QTest.keyClick(window, Qt.Key.Key_I, Qt.KeyboardModifier.ControlModifier)
    assert inspector.isVisible()
    set_width(window, qtbot, 1440)
    assert dock.isVisible()
    assert inspector.isVisible()
    assert dock.width() == wide
    assert not button.isVisible()
    QTest.keyClick(window, Qt.Key.Key_I, Qt.KeyboardModifier.ControlModifier)
    assert not inspector.isVisible()
    for width in (1200, 1440):
        set_width(window, qtbot, width)
        assert not dock.isVisible(), "it was hidden before"


def test_a_layout_that_is_saved_in_a_narrow_window_has_the_inspector(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("train")
    set_width(window, qtbot, 1200)
    saved = window.train.layout_state()
    set_width(window, qtbot, 1440)
    window.train.docks["inspector"].hide()
    window.train.restore(saved)
    assert window.train.docks["inspector"].isVisible()
    window.train.docks["inspector"].hide()
    set_width(window, qtbot, 1200)
    window.train.reset()
    assert not window.train.docks["inspector"].isVisible()
    set_width(window, qtbot, 1440)
    assert window.train.docks["inspector"].isVisible()


def test_the_estimate_fits_into_a_low_window(window: MainWindow, qtbot: Any) -> None:
    estimate: PanelDock = window.design.docks["estimate"]
    scroll = estimate.findChild(QScrollArea)
    assert isinstance(scroll, QScrollArea)

    def fits() -> bool:
        window.resize(1280, 720)  # again: the least height falls with the width of the wrapped texts
        return window.height() == 720 and scroll.verticalScrollBar().maximum() == 0

    qtbot.waitUntil(fits)
    status = window.form.estimate.findChild(QLabel, "estimate.status")
    assert isinstance(status, QLabel)
    assert status.text()
    assert not status.visibleRegion().isEmpty()
    bottom = status.mapTo(estimate, status.rect().bottomLeft()).y()
    assert bottom < estimate.height()
