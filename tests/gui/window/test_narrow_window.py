"""Narrow and low windows: tiles become tabs, and the inspector a drawer."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QScrollArea, QToolButton

from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.steps import click


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
    click(window, QToolButton, "train.inspector")
    assert inspector.isVisible()
    assert dock.head.isVisible()
    assert train.tiles.width() == tiles, "the drawer is over the panels"
    right = inspector.mapTo(window, inspector.rect().topRight()).x()
    assert right == pytest.approx(window.width() - 8, abs=4)
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert not inspector.isVisible()
    assert not button.isChecked()
    click(window, QToolButton, "train.inspector")
    click(window, QToolButton, "train.inspector")
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
