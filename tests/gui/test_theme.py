"""What can be read and run apart, light and dark, by the contrast that WCAG 2.1 defines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtGui import QColor, QIcon, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QCheckBox, QStyle, QStyleOptionButton, QWidget
from pytestqt.qtbot import QtBot

from nfkd.protocol.roles import COLOURS
from nfkd_gui.theme import apply_theme, plot_colours, role_colour
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.workbench import Workbench


@pytest.fixture(params=["light", "dark"])
def theme(qapp: QApplication, request: pytest.FixtureRequest) -> Iterator[str]:
    apply_theme(qapp, request.param)
    yield request.param
    apply_theme(qapp, "light")


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


def test_the_title_buttons_of_a_dock_are_visible_docked_and_floating(theme: str, qtbot: QtBot) -> None:
    bench = Workbench()
    qtbot.addWidget(bench)
    dock, other = (bench.add(QWidget(), name, name) for name in ("one", "two"))
    bench.resize(600, 400)
    bench.tile()
    bench.show()
    qtbot.waitExposed(bench)

    def weakest() -> float:
        buttons = [b for b in dock.findChildren(QAbstractButton) if b.objectName().startswith("qt_dockwidget")]
        assert len(buttons) == 2
        qtbot.waitUntil(lambda: all(b.isVisible() and "one" in b.accessibleName() and b.toolTip() for b in buttons))
        return min(strongest(button) for button in buttons)

    def strongest(button: QAbstractButton) -> float:
        image = button.grab().toImage()
        ground = QApplication.palette().color(QPalette.ColorRole.Window)
        points = ((x, y) for x in range(image.width()) for y in range(image.height()))
        return max(contrast(image.pixelColor(x, y), ground) for x, y in points)

    assert weakest() >= 4.5
    dock.setFloating(True)
    assert weakest() >= 4.5
    bench.stack()
    bench.tile()
    assert weakest() >= 4.5
    assert other.isVisible()
