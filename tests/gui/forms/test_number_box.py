"""The editor of a number."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from nfkd_gui.widgets.number_box import NumberBox


def test_arrow_keys_step_the_first_digit(qtbot: QtBot) -> None:
    up, down = Qt.Key.Key_Up, Qt.Key.Key_Down
    for start, key, end in ((0.05, up, 0.06), (0.1, down, 0.09), (0.001, up, 0.002), (3, up, 4)):
        box = NumberBox(whole=isinstance(start, int))
        qtbot.addWidget(box)
        box.set_value(start)
        QTest.keyClick(box, key)
        assert box.value() == end


def test_only_commas_between_thousands_are_ignored(qtbot: QtBot) -> None:
    box = NumberBox(whole=False)
    qtbot.addWidget(box)
    for text, value in (("1,000", 1000), ("12,345.5", 12345.5), ("0,001", "0,001"), ("1,5", "1,5"), ("7", 7)):
        box.lineEdit().setText(text)
        assert box.value() == value


def test_zero_says_what_it_means_in_place_of_the_unit(qtbot: QtBot) -> None:
    box = NumberBox(whole=True, unit="examples", zero="all")
    qtbot.addWidget(box)
    labels = [label for label in box.findChildren(QLabel) if label.text()]
    box.set_value(0)
    assert [label.text() for label in labels] == ["all"]
    box.set_value(20)
    assert [label.text() for label in labels] == ["examples"]
