"""What can be read and run apart, light and dark, by the contrast that WCAG 2.1 defines."""

from __future__ import annotations

from PySide6.QtGui import QColor, QIcon, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QCheckBox, QStyle, QStyleOptionButton, QWidget
from pytestqt.qtbot import QtBot

from nfkd.protocol.roles import COLOURS
from nfkd_gui.theme import plot_colours, role_colour
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.workbench import Workbench


def luminance(colour: QColor) -> float:
    parts = (colour.redF(), colour.greenF(), colour.blueF())
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: QColor, other: QColor) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_role_is_seen_on_plots_and_text_is_read(theme: str) -> None:
    background = QColor(plot_colours().background)
    for role in COLOURS:
        assert contrast(QColor(role_colour(role)), background) >= 3, (theme, role)
    assert contrast(QColor(plot_colours().text), background) >= 7


def test_a_box_that_is_not_ticked_is_seen(theme: str) -> None:
    box = QCheckBox("box")
    box.resize(box.sizeHint())
    option = QStyleOptionButton()
    box.initStyleOption(option)
    place = box.style().subElementRect(QStyle.SubElement.SE_CheckBoxIndicator, option, box)
    image = box.grab().toImage()
    ratio = image.devicePixelRatio()
    ground = QApplication.palette().color(QPalette.ColorRole.Window)
    inside = [
        image.pixelColor(int(x * ratio), int(place.center().y() * ratio))
        for x in range(place.left(), place.right() + 1)
    ]
    assert max(contrast(colour, ground) for colour in inside) >= (3 if theme == "dark" else 1.5)
    box.deleteLater()


def test_an_icon_that_cannot_be_pressed_is_seen_less_than_one_that_can(theme: str) -> None:
    ground = QApplication.palette().color(QPalette.ColorRole.Window)

    def strength(mode: QIcon.Mode) -> float:
        image = icon("stop").pixmap(16, 16, mode).toImage()
        return contrast(image.pixelColor(image.rect().center()), ground)

    assert strength(QIcon.Mode.Normal) >= 4.5
    assert 1.3 <= strength(QIcon.Mode.Disabled) <= strength(QIcon.Mode.Normal) / 2


def test_the_buttons_of_a_docks_title_are_seen_wherever_it_is(theme: str, qtbot: QtBot) -> None:
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
        places = ((x, y) for x in range(image.width()) for y in range(image.height()))
        return max(contrast(image.pixelColor(x, y), ground) for x, y in places)

    assert weakest() >= 4.5
    dock.setFloating(True)
    assert weakest() >= 4.5
    bench.stack()
    bench.tile()
    assert weakest() >= 4.5
    assert other.isVisible()
