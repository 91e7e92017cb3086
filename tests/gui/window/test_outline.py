"""The outline keeps the text of a section that is chosen, has the focus and a remark."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from nfkd_gui.forms.outline import Outline
from nfkd_gui.theme import tokens


def test_a_chosen_section_with_a_remark_keeps_its_ground(window: QWidget, qtbot: QtBot) -> None:
    outline = window.findChild(Outline)
    assert outline is not None
    row: Any = outline.findChild(QWidget, "outline.student")
    assert row is not None
    row.show_counts(0, 1)
    row.set_selected(True)
    row.setFocus()
    qtbot.waitUntil(row.hasFocus)
    image = row.grab().toImage()
    assert image.pixelColor(image.width() // 2, 4) == QColor(tokens().soft)
