"""Icons from Material Design, in the text colour."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QIcon, QPalette
from PySide6.QtWidgets import QApplication

if TYPE_CHECKING:
    from qtawesome.iconic_font import IconicFont

_NAMES = {
    "run": "mdi6.play",
    "pause": "mdi6.pause",
    "resume": "mdi6.play-pause",
    "stop": "mdi6.stop",
    "restart": "mdi6.restart",
    "open": "mdi6.folder-open-outline",
    "save": "mdi6.content-save-outline",
    "rename": "mdi6.rename-outline",
    "duplicate": "mdi6.content-copy",
    "delete": "mdi6.trash-can-outline",
    "teach": "mdi6.school-outline",
    "continue": "mdi6.play-circle-outline",
    "float": "mdi6.dock-window",
    "close": "mdi6.close",
}


def icon(name: str) -> QIcon:
    """Return an icon in the current theme's colours.

    Raises
    ------
    KeyError
        If there is no icon of that name.
    """
    palette = QApplication.palette()
    normal = palette.color(QPalette.ColorGroup.Active, QPalette.ColorRole.ButtonText)
    faded = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.ButtonText)
    return _family().icon(_NAMES[name], color=normal, color_disabled=faded)


@functools.cache
def _family() -> IconicFont:
    """Load Material Design Icons only: qtawesome by itself loads all of its eleven fonts."""
    import qtawesome
    from qtawesome.iconic_font import IconicFont

    folder = Path(qtawesome.__file__).with_name("fonts")
    [characters] = folder.glob("materialdesignicons6-webfont-charmap-*.json")
    [font] = folder.glob("materialdesignicons6-webfont-*.ttf")
    return IconicFont(("mdi6", font.name, characters.name))
