"""Icons from Material Design, in the text colour."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize
from PySide6.QtGui import QIcon, QPixmap

from nfkd_gui.theme import tokens

if TYPE_CHECKING:
    from qtawesome.iconic_font import IconicFont

_NAMES = {
    "run": "mdi6.play",
    "pause": "mdi6.pause",
    "resume": "mdi6.play-pause",
    "stop": "mdi6.stop",
    "restart": "mdi6.restart",
    "step": "mdi6.step-forward",
    "draw": "mdi6.pencil-outline",
    "file": "mdi6.file-delimited-outline",
    "open": "mdi6.folder-open-outline",
    "save": "mdi6.content-save-outline",
    "rename": "mdi6.rename-outline",
    "duplicate": "mdi6.content-copy",
    "delete": "mdi6.trash-can-outline",
    "teach": "mdi6.school-outline",
    "continue": "mdi6.play-circle-outline",
    "close": "mdi6.close",
    "menu": "mdi6.menu",
    "more": "mdi6.dots-horizontal",
    "choose": "mdi6.tune",
    "search": "mdi6.magnify",
    "expand": "mdi6.arrow-expand",
    "shrink": "mdi6.arrow-collapse",
    "design": "mdi6.tune-variant",
    "train": "mdi6.chart-line",
    "compare": "mdi6.table",
    "columns": "mdi6.table-column",
    "report": "mdi6.file-chart-outline",
    "learn": "mdi6.school-outline",
    "present": "mdi6.presentation-play",
    "copy": "mdi6.link-variant",
    "data": "mdi6.database-outline",
    "teacher": "mdi6.layers-triple-outline",
    "assistants": "mdi6.layers-plus",
    "student": "mdi6.layers-outline",
    "distillation": "mdi6.chart-bell-curve",
    "training": "mdi6.speedometer",
    "seeds": "mdi6.dice-5-outline",
    "compute": "mdi6.memory",
    "monitor": "mdi6.image-multiple-outline",
    "experiment": "mdi6.text-box-outline",
    "back": "mdi6.chevron-left",
    "folded": "mdi6.chevron-right",
    "unfolded": "mdi6.chevron-down",
    "inspector": "mdi6.dock-right",
    "grid": "mdi6.view-grid-plus-outline",
    "add": "mdi6.plus",
    "refresh": "mdi6.refresh",
    "equal": "mdi6.view-column-outline",
    "heights": "mdi6.chart-bar",
    "differences": "mdi6.swap-horizontal",
    "match": "mdi6.link-variant",
    "fit": "mdi6.fit-to-page-outline",
    "task": "mdi6.flag-outline",
    "right": "mdi6.check",
    "hint": "mdi6.lightbulb-outline",
    "forward": "mdi6.chevron-right",
    "machine": "mdi6.server-network",
    "offline": "mdi6.server-network-off",
}


def icon(name: str, *, on_fill: bool = False) -> QIcon:
    """Return an icon in the current theme's colours; `on_fill` for primary buttons.

    Raises
    ------
    KeyError
        If there is no icon of that name.
    """
    colours = tokens()
    normal, faded = (colours.on_fill if on_fill else colours.text), colours.faint
    return _family().icon(_NAMES[name], color=normal, color_disabled=faded)


@functools.cache
def _family() -> IconicFont:
    """Load Material Design Icons only: qtawesome by itself loads all of its eleven fonts."""
    import qtawesome
    from qtawesome.iconic_font import CharIconEngine, IconicFont

    class Engine(CharIconEngine):
        def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
            return QPixmap() if size.isEmpty() else super().pixmap(size, mode, state)  # a button may have no room

    class Icons(IconicFont):
        def _icon_by_painter(self, painter: Any, options: Any) -> QIcon:
            return QIcon(Engine(self, painter, options))

    folder = Path(qtawesome.__file__).with_name("fonts")
    [characters] = folder.glob("materialdesignicons6-webfont-charmap-*.json")
    [font] = folder.glob("materialdesignicons6-webfont-*.ttf")
    return Icons(("mdi6", font.name, characters.name))
