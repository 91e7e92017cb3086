"""What can be read and run apart, light and dark, by the contrast that WCAG 2.1 defines."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPalette
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QSlider, QStyle, QStyleOptionButton
from pytestqt.qtbot import QtBot

from nfkd.protocol.roles import COLOURS
from nfkd_gui.theme import apply_theme, plot_colours, role_colour
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.number_field import DecimalField, NumberField


@pytest.fixture(params=["light", "dark", "contrast"])
def theme(qapp: QApplication, request: pytest.FixtureRequest) -> str:
    apply_theme(qapp, request.param)
    return request.param


def test_fields_of_a_line_are_equally_high_and_indent_their_text(theme: str) -> None:
    box, number, slider = QComboBox(), NumberField(), QSlider(Qt.Orientation.Horizontal)
    number.setValue(8)
    number.ensurePolished()
    number.resize(number.sizeHint())
    assert number.height() == box.sizeHint().height(), theme
    picture = number.grab().toImage()
    middle = picture.height() // 2
    colours = [picture.pixelColor(x, middle) for x in range(2, picture.width() // 2)]
    text = next(x for x, colour in enumerate(colours, start=2) if contrast(colour, colours[0]) > 2)
    assert 6 <= text / picture.devicePixelRatio() <= 14
    slider.resize(100, slider.sizeHint().height())
    handle = slider.grab().toImage()
    rim = [contrast(handle.pixelColor(8, y), handle.pixelColor(60, 1)) > 1.5 for y in range(handle.height())]
    assert not rim[0], "the handle is cut"
    assert not rim[-1], "the handle is cut"
    assert any(rim)
    for widget in (box, number, slider):
        widget.deleteLater()


def test_a_decimal_field_has_a_minus_and_takes_a_hyphen(qtbot: QtBot) -> None:
    field = DecimalField()
    qtbot.addWidget(field)
    field.setRange(-9, 9)
    field.setValue(-1.25)
    assert (field.text(), field.value()) == ("−1.25", -1.25)
    field.selectAll()
    QTest.keyClicks(field, "-2.5")
    field.interpretText()
    assert (field.text(), field.value()) == ("−2.50", -2.5)


def luminance(colour: QColor) -> float:
    channels = (colour.redF(), colour.greenF(), colour.blueF())
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: QColor, other: QColor) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_role_colours_text_boxes_and_icons_have_enough_contrast(theme: str) -> None:
    background = QColor(plot_colours().background)
    for role in COLOURS:
        assert contrast(QColor(role_colour(role)), background) >= 3, (theme, role)
    assert contrast(QColor(plot_colours().text), background) >= 7
    ground = QApplication.palette().color(QPalette.ColorRole.Window)
    assert box_contrast(ground) >= (3 if theme == "dark" else 1.5)
    normal, disabled = (icon_contrast(mode, ground) for mode in (QIcon.Mode.Normal, QIcon.Mode.Disabled))
    assert normal >= 4.5
    assert 1.3 <= disabled <= normal / 2


def box_contrast(ground: QColor) -> float:
    """Return the contrast of an unchecked box."""
    box = QCheckBox("box")
    box.resize(box.sizeHint())
    option = QStyleOptionButton()
    box.initStyleOption(option)
    indicator = box.style().subElementRect(QStyle.SubElement.SE_CheckBoxIndicator, option, box)
    image = box.grab().toImage()
    ratio = image.devicePixelRatio()
    inside = [
        image.pixelColor(int(x * ratio), int(indicator.center().y() * ratio))
        for x in range(indicator.left(), indicator.right() + 1)
    ]
    box.deleteLater()
    return max(contrast(colour, ground) for colour in inside)


def icon_contrast(mode: QIcon.Mode, ground: QColor) -> float:
    image = icon("stop").pixmap(16, 16, mode).toImage()
    return contrast(image.pixelColor(image.rect().center()), ground)


def test_an_icon_without_room_draws_nothing(qapp: QApplication) -> None:
    for size in (QSize(0, 0), QSize(16, 0), QSize(-4, 16)):  # a warning of Qt fails the test
        assert icon("run").pixmap(size).isNull()
    image = icon("run").pixmap(QSize(16, 16)).toImage()
    assert any(image.pixelColor(x, y).alpha() for x in range(image.width()) for y in range(image.height()))
