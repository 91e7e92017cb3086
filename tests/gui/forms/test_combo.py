"""Combo boxes show their whole entries, or cut them in the middle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication, QComboBox, QStyle, QStyleOptionComboBox
from pytestqt.qtbot import QtBot

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.theme import apply_theme
from nfkd_gui.widgets.combo import FittingComboBox


@pytest.fixture(params=[100, 150])
def scale(request: pytest.FixtureRequest, qapp: QApplication) -> Iterator[int]:
    """The style sheet of the studio at a scale."""
    apply_theme(qapp, "light", request.param)
    yield request.param
    apply_theme(qapp, "light", 100)
    qapp.setStyleSheet("")


def room(box: QComboBox, width: int) -> int:
    """Return the width that a style gives to the text of a box."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    option.rect.setWidth(width)  # type: ignore[attr-defined]
    part = QStyle.SubControl.SC_ComboBoxEditField
    return box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, box).width()


@pytest.mark.parametrize("entries", [["L1"], ["Height (scaled)", "x"], ["Norm corrected", "Distance to the teacher"]])
def test_the_size_hint_fits_each_entry(scale: int, qtbot: QtBot, entries: list[str]) -> None:
    box = FittingComboBox()
    qtbot.addWidget(box)
    box.addItems(entries)
    box.resize(box.sizeHint())
    box.show()
    for index, entry in enumerate(entries):
        box.setCurrentIndex(index)
        assert box.visible_text() == entry
        assert box.fontMetrics().horizontalAdvance(entry) <= room(box, box.sizeHint().width())


def test_a_narrow_box_cuts_in_the_middle_and_has_the_text_in_its_tooltip(qtbot: QtBot) -> None:
    box = FittingComboBox()
    qtbot.addWidget(box)
    box.setToolTip("Which feature.")
    box.addItems(["height of the tree (scaled)", "x"])
    box.resize(110, 28)
    box.show()
    assert "…" in box.visible_text()
    assert box.visible_text().startswith("h")
    assert box.visible_text().endswith(")")
    assert box.toolTip() == "height of the tree (scaled)\nWhich feature."
    box.setCurrentIndex(1)
    assert box.toolTip() == "Which feature."


def test_the_boxes_of_the_form_show_their_whole_entries(form: ExperimentForm, scale: int) -> None:
    form.resize(round(3.6 * scale), 900)
    for section in ("data", "teacher", "distillation", "training", "seeds", "monitor"):
        form.show_section(section)
        for box in form.findChildren(FittingComboBox):
            if box.isVisible():
                for index in range(box.count()):
                    text = box.itemText(index)
                    assert box.fontMetrics().horizontalAdvance(text) <= room(box, box.width()), text
