"""The visual system: colours, sizes, type and the style sheet of the light, dark and high-contrast themes.

Widgets take colours, sizes and fonts from here and from nowhere else. All sizes are logical pixels at 100 %.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import Template
from typing import Literal

from PySide6.QtCore import QSize, Qt, QTemporaryDir
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QFormLayout, QGridLayout, QLayout, QWidget

from nfkd.protocol.roles import COLOURS, DATA
from nfkd_gui.resources import resource_path

Theme = Literal["system", "light", "dark", "contrast"]
TYPE = {"large": (56, 600), "figure": (28, 600), "title": (20, 600), "heading": (16, 600), "strong": (13, 600),
        "body": (13, 400), "caption": (11, 400), "code": (13, 400),
        "talk_title": (30, 600), "talk_strong": (20, 600), "talk": (20, 400), "talk_caption": (16, 400)}  # fmt: skip
"""Size in pixels and weight of each kind of text; those of a talk are half as large again."""
_MIN_SCALE, _MAX_SCALE = 75, 200


@dataclass(frozen=True)
class Tokens:
    """The colours of a theme, as ``#RRGGBB``.

    Attributes
    ----------
    window, panel, raised, hover
        Surfaces: behind everything, panels and fields, heads of tables, under the pointer.
    border, control
        Lines of panels; of fields and buttons.
    text, muted, faint
        Text: normal, secondary, disabled.
    accent, fill, on_fill, soft
        Links and focus; primary buttons and what is written on them; selected rows.
    good, warn, error, good_soft, warn_soft, error_soft
        Verdicts, remarks and problems, with the backgrounds of their chips.
    grid, track
        Grid lines of plots; tracks of sliders and bars.
    match
        Matching errors from low to high.
    run
        Runs that are compared.
    roles
        Flows and data.
    """

    window: str
    panel: str
    raised: str
    hover: str
    border: str
    control: str
    text: str
    muted: str
    faint: str
    accent: str
    fill: str
    on_fill: str
    soft: str
    good: str
    good_soft: str
    warn: str
    warn_soft: str
    error: str
    error_soft: str
    grid: str
    track: str
    match: tuple[str, ...] = field(default=())
    run: tuple[str, ...] = field(default=())
    roles: dict[str, str] = field(default_factory=dict)


LIGHT = Tokens(
    window="#F1F3F6", panel="#FFFFFF", raised="#F7F8FA", hover="#EBEEF2", border="#DDE1E7", control="#BAC1CC",
    text="#171A1F", muted="#59616E", faint="#8B94A1",
    accent="#5B4FD1", fill="#5B4FD1", on_fill="#FFFFFF", soft="#ECEAFB",
    good="#1B7A43", good_soft="#E4F4EA", warn="#8A5A00", warn_soft="#FBF0D9", error="#B3261E", error_soft="#FBE6E4",
    grid="#E9ECF0", track="#DFE3E9",
    match=("#24365C", "#71235F", "#B3245E", "#DD5A45", "#E8963A"),
    run=("#5B4FD1", "#0B8A8F", "#B3245E", "#6C7A00", "#A05A2C", "#3C7DD9", "#A86500", "#6A7280"),
    roles=COLOURS,
)  # fmt: skip
DARK = Tokens(
    window="#14161A", panel="#1B1E23", raised="#24282F", hover="#2D323A", border="#2F353E", control="#4A525E",
    text="#EDEFF2", muted="#A2AAB6", faint="#6F7783",
    accent="#A99EFF", fill="#6657DB", on_fill="#FFFFFF", soft="#2B2750",
    good="#5CCB8D", good_soft="#17332A", warn="#EFBE5C", warn_soft="#3A2F17", error="#F2857C", error_soft="#432220",
    grid="#2A2F37", track="#333944",
    match=("#7F8CB3", "#B56AA3", "#E06287", "#F58B63", "#FBC94F"),
    run=("#A99EFF", "#3CC3C7", "#F0709F", "#B7C83C", "#D9976A", "#7FB0F5", "#EBB04A", "#A8AEB8"),
    roles={
        "teacher": "#4DB2E8", "assistant-1": "#E39CC4", "assistant-2": "#F6CFE3", "assistant-3": "#C76A9E",
        "student": "#F08A3C", "baseline": "#A8AEB8", "ablation": "#B79AE0", DATA: "#33C79B",
    },
)  # fmt: skip
CONTRAST = Tokens(
    window="#000000", panel="#000000", raised="#141414", hover="#2B2B2B", border="#FFFFFF", control="#FFFFFF",
    text="#FFFFFF", muted="#E0E0E0", faint="#A6A6A6",
    accent="#FFD60A", fill="#FFD60A", on_fill="#000000", soft="#3A3200",
    good="#6DF0A0", good_soft="#003318", warn="#FFC266", warn_soft="#3A2600", error="#FF8A80", error_soft="#480B06",
    grid="#4D4D4D", track="#4D4D4D",
    match=("#B3A1FF", "#D69BFF", "#FF9BC8", "#FFB08A", "#FFE66B"),
    run=DARK.run,
    roles={
        "teacher": "#5CC8FF", "assistant-1": "#FFA8DC", "assistant-2": "#FFD9F0", "assistant-3": "#E07CB8",
        "student": "#FFA04D", "baseline": "#D0D0D0", "ablation": "#CDB4FF", DATA: "#4DE8B4",
    },
)  # fmt: skip


@dataclass
class _Current:
    """What `apply_theme` applied last."""

    tokens: Tokens = LIGHT
    scale: float = 1.0
    drawings: QTemporaryDir | None = None


_current = _Current()


def tokens() -> Tokens:
    """Return the colours of the current theme."""
    return _current.tokens


def is_dark() -> bool:
    """Return whether the current theme has light text on a dark ground."""
    return _current.tokens is not LIGHT


def role_colour(role: str) -> str:
    """Return a role's colour for lines and text in the current theme."""
    return _current.tokens.roles[role]


def scaled(pixels: float) -> int:
    """Return a size at the current scale of the interface."""
    return round(pixels * _current.scale)


def font(kind: str) -> QFont:
    """Return the font of a kind of text, a key of `TYPE`; its figures have equal widths."""
    return QFont(_font(kind, scaled(TYPE[kind][0])))


@functools.cache
def _font(kind: str, pixels: int) -> QFont:
    found = QFont(_fixed_family() if kind == "code" else _family())
    found.setPixelSize(pixels)
    found.setWeight(QFont.Weight(TYPE[kind][1]))
    found.setFeature(QFont.Tag("tnum"), 1)
    return found


@functools.cache
def _family() -> str:
    """Return Inter, or the system's font where it is not installed."""
    return "Inter" if "Inter" in QFontDatabase.families() else QFontDatabase.systemFont(
        QFontDatabase.SystemFont.GeneralFont
    ).family()  # fmt: skip


@functools.cache
def _fixed_family() -> str:
    """Return the system's font in which all letters have the same width."""
    return QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont).family()


def apply_theme(app: QApplication, theme: str, percent: int = 100, *, shapes: bool = True) -> None:
    """Apply a theme of `Theme` at a scale in per cent; unknown names mean ``system``.

    Without `shapes` the style sheet is left out: while a window is built, Qt would apply it to widgets several times.
    """
    if app.style().objectName() != "fusion":
        app.setStyle("fusion")
    _current.tokens = _choose(theme)
    _current.scale = min(max(percent, _MIN_SCALE), _MAX_SCALE) / 100
    app.setPalette(_palette(_current.tokens))
    app.setFont(font("body"))
    app.setStyleSheet(_style_sheet(_current.tokens) if shapes else "")
    for window in app.topLevelWidgets():
        fit_all(window)


def fit_all(parent: QWidget) -> None:
    """Give the widgets and layouts inside a widget their sizes at the current scale.

    Qt applies the style sheet, which also has sizes, when a widget is first shown and when it gets another parent.
    """
    for layout in parent.findChildren(QLayout):
        _rescale(layout)
    for widget in parent.findChildren(QWidget):
        _refit(widget)


def _choose(theme: str) -> Tokens:
    if theme in {"light", "dark", "contrast"}:
        return {"light": LIGHT, "dark": DARK, "contrast": CONTRAST}[theme]
    return DARK if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT


def set_space(layout: QLayout, spacing: int, *margins: int, across: int | None = None) -> None:
    """Set the spacing and the margins (all, or left, top, right, bottom) of a layout; they follow the scale.

    `across` is the spacing between the columns of a grid or a form, if it is not that between its rows.
    """
    four = margins * 4 if len(margins) == 1 else margins or (0, 0, 0, 0)
    layout.setProperty("space", [spacing, *four])
    layout.setProperty("across", across)
    _rescale(layout)


def set_type(widget: QWidget, kind: str) -> None:
    """Give a widget the font of a kind of text, a key of `TYPE`; it follows the scale."""
    widget.setProperty("type", kind)
    _refit(widget)


def fix_size(widget: QWidget, width: int = 0, height: int = 0) -> None:
    """Fix the width, the height or both of a widget; they follow the scale."""
    widget.setProperty("fixed", [width, height])
    _refit(widget)


def limit_size(widget: QWidget, *, least: tuple[int, int] = (0, 0), most: tuple[int, int] = (0, 0)) -> None:
    """Set the least and the largest width and height of a widget, each unless it is 0; they follow the scale."""
    widget.setProperty("least", list(least))
    widget.setProperty("most", list(most))
    _refit(widget)


def set_icon_size(button: QAbstractButton, side: int) -> None:
    """Set the side of a button's icon; it follows the scale."""
    button.setProperty("icon_side", side)
    _refit(button)


def gap(parent: QWidget, width: int = 0, height: int = 0) -> QWidget:
    """Return an empty widget of fixed size for a layout; it follows the scale."""
    empty = QWidget(parent)
    fix_size(empty, width, height)
    return empty


def _refit(widget: QWidget) -> None:
    if widget.dynamicPropertyNames():  # most widgets have none
        _fit_to_properties(widget)
    widget.updateGeometry()


def _fit_to_properties(widget: QWidget) -> None:
    kind, size = widget.property("type"), widget.property("fixed")
    if kind and widget.font() != font(kind):
        widget.setFont(font(kind))
    if size:
        width, height = size
        if width:
            widget.setFixedWidth(scaled(width))
        if height:
            widget.setFixedHeight(scaled(height))
    for name, set_width, set_height in (
        ("least", widget.setMinimumWidth, widget.setMinimumHeight),
        ("most", widget.setMaximumWidth, widget.setMaximumHeight),
    ):
        for value, set_value in zip(widget.property(name) or (), (set_width, set_height), strict=False):
            if value:
                set_value(scaled(value))
    if isinstance(widget, QAbstractButton) and widget.property("icon_side"):
        widget.setIconSize(QSize(*2 * [scaled(widget.property("icon_side"))]))


def _rescale(layout: QLayout) -> None:
    space = layout.property("space")
    if space:
        spacing, *margins = (scaled(value) for value in space)
        layout.setSpacing(spacing)
        layout.setContentsMargins(*margins)
    across = layout.property("across")
    if across is not None and isinstance(layout, (QGridLayout, QFormLayout)):
        layout.setHorizontalSpacing(scaled(across))


def _palette(colours: Tokens) -> QPalette:
    palette = QPalette(QColor(colours.panel), QColor(colours.window))
    roles, groups = QPalette.ColorRole, QPalette.ColorGroup
    values = {
        roles.Window: colours.window, roles.Base: colours.panel, roles.AlternateBase: colours.raised,
        roles.Button: colours.panel, roles.ToolTipBase: colours.raised, roles.Highlight: colours.soft,
        roles.HighlightedText: colours.text, roles.Link: colours.accent, roles.Accent: colours.fill,
        roles.PlaceholderText: colours.muted, roles.WindowText: colours.text, roles.Text: colours.text,
        roles.ButtonText: colours.text, roles.ToolTipText: colours.text, roles.Mid: colours.border,
    }  # fmt: skip
    for role, colour in values.items():
        palette.setColor(role, QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(groups.Disabled, role, QColor(colours.faint))
    return palette


_SHAPES = {
    "down": ("M4 6 L8 10 L12 6", "muted"),
    "up": ("M4 10 L8 6 L12 10", "muted"),
    "check": ("M4 8.5 L7 11.5 L12 5", "on_fill"),
    "dash": ("M4 8 L12 8", "on_fill"),
}
"""Paths of the small drawings that the style sheet needs, and their colours."""


def _style_sheet(colours: Tokens) -> str:
    """Fill the template of the style sheet with colours and sizes; its drawings are written to temporary files."""
    folder = _current.drawings = QTemporaryDir()
    for name, (path, colour) in _SHAPES.items():
        stroke = getattr(colours, colour)
        drawing = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><path d="{path}" fill="none" '
            f'stroke="{stroke}" stroke-width="1.5" stroke-linecap="round"/></svg>'
        )
        Path(folder.filePath(f"{name}.svg")).write_text(drawing, encoding="utf-8")
    names = {name: folder.filePath(f"{name}.svg") for name in _SHAPES}
    sizes = {f"px{size}": f"{scaled(size)}px" for size in (1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 16, 20, 22, 24, 26, 28)}
    sizes["handle"] = f"{scaled(12) // 2 + 2}px"  # Qt draws no larger radius than half of a side
    values = {name: value for name, value in asdict(colours).items() if isinstance(value, str)}
    template = Template(resource_path("style.qss").read_text(encoding="utf-8"))
    return template.substitute(values | sizes | names)


@dataclass(frozen=True)
class PlotColours:
    """The colours of a plot, as ``#RRGGBB``."""

    background: str
    text: str
    grid: str


def plot_colours() -> PlotColours:
    """Return the colours of plots in the current theme."""
    return PlotColours(_current.tokens.panel, _current.tokens.text, _current.tokens.control)


def repolish(widget: QWidget) -> None:
    """Apply the style sheet anew after a dynamic property of a widget has changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
