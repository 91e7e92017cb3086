"""Widgets that take a file dropped on them, and the machine whose engine reads the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox, QInputDialog, QWidget

from nfkd.text import plain
from nfkd_gui.widgets.dialogs import without_icons

_MACHINE, _LONGEST = "machine", 40
"""Name of the property with the machine, and characters of its name."""


class FileTarget:
    """Mixed into a widget that accepts drops and handles their events itself."""

    def takes(self, paths: Sequence[str]) -> bool:
        """Return whether dragged files, given by their paths, are one that fits this widget."""
        raise NotImplementedError


def set_machine(widget: QWidget, name: str) -> None:
    """Note on which machine the engine reads the paths of a widget and of those in it; empty for this machine."""
    widget.setProperty(_MACHINE, plain(name, _LONGEST))


def machine_of(widget: QWidget) -> str:
    """Return the name of the machine that the paths of a widget refer to; empty for this machine."""
    place: QWidget | None = widget
    while place is not None:
        name = place.property(_MACHINE)
        if isinstance(name, str):
            return name
        place = place.parentWidget()
    return ""


def ask_path(parent: QWidget, title: str, then: Callable[[str], object]) -> None:
    """Ask for a path on the machine of `machine_of`, which no file dialog of this machine can show."""
    dialog = QInputDialog(parent.window())
    dialog.setObjectName("ask_path")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle(title)
    dialog.setLabelText(f"Path on {machine_of(parent)}:")
    dialog.textValueSelected.connect(lambda text: then(text.strip()) if text.strip() else None)
    dialog.open()
    for box in dialog.findChildren(QDialogButtonBox):  # they exist only once it is open
        without_icons(box)
