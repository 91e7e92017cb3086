"""Light and dark theme, and the colour of each role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from nfkd.protocol.roles import COLOURS, DATA

Theme = Literal["system", "light", "dark"]

_ON_DARK = {
    "teacher": "#4DB2E8",
    "assistant-1": "#E39CC4",
    "assistant-2": "#F0C64A",
    "assistant-3": "#A6DBFA",
    "student": "#F08A3C",
    "baseline": "#A8A8A8",
    "ablation": "#B79AE0",
    DATA: "#33C79B",
}
_SCHEMES = {
    "system": Qt.ColorScheme.Unknown,
    "light": Qt.ColorScheme.Light,
    "dark": Qt.ColorScheme.Dark,
}


def apply_theme(app: QApplication, theme: str) -> None:
    """Apply Qt's Fusion style in a theme of `Theme`; unknown names mean ``system``."""
    if app.style().objectName() != "fusion":
        app.setStyle("fusion")
    app.setPalette(QPalette())
    QGuiApplication.styleHints().setColorScheme(_SCHEMES.get(theme, Qt.ColorScheme.Unknown))
    if theme == "dark" and not is_dark():
        app.setPalette(_dark_palette())  # without a desktop, Qt ignores the scheme
    for kind in ("QCheckBox", "QRadioButton"):
        app.setPalette(box_palette(), kind)  # type: ignore[arg-type] - the stubs want bytes, which Qt refuses


def box_palette() -> QPalette:
    """Return a palette for check boxes and radio buttons: Fusion's empty ones are hardly visible in the dark."""
    palette = QGuiApplication.palette()
    if is_dark():
        palette.setColor(QPalette.ColorRole.Base, QColor("#808080"))
        palette.setColor(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Base, QColor("#404040"))
    return palette


def _dark_palette() -> QPalette:
    roles = QPalette.ColorRole
    palette = QPalette(QColor("#323232"), QColor("#323232"))
    colours = {
        roles.Window: "#323232",
        roles.Base: "#242424",
        roles.AlternateBase: "#2E2E2E",
        roles.Button: "#3C3C3C",
        roles.ToolTipBase: "#3C3C3C",
        roles.Highlight: "#308CC6",
        roles.Link: "#4DB2E8",
        roles.PlaceholderText: "#9A9A9A",
    }
    for role, colour in colours.items():
        palette.setColor(role, QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText, roles.ToolTipText, roles.HighlightedText):
        palette.setColor(role, QColor("#F0F0F0"))
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#8C8C8C"))
    return palette


def is_dark() -> bool:
    """Return whether the current palette is dark."""
    return QGuiApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128


def role_colour(role: str) -> str:
    """Return a role's colour for lines and text in the current theme."""
    return _ON_DARK[role] if is_dark() else COLOURS[role]


@dataclass(frozen=True)
class PlotColours:
    """The colours of a plot, as ``#RRGGBB``."""

    background: str
    text: str
    grid: str


def plot_colours() -> PlotColours:
    """Return the colours of plots in the current theme."""
    palette = QGuiApplication.palette()
    background = palette.color(QPalette.ColorRole.Base).name()
    text = palette.color(QPalette.ColorRole.Text).name()
    return PlotColours(background, text, "#5A5A5A" if is_dark() else "#C8C8C8")
