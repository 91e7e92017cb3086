"""A dock whose title has buttons in the colour of the text: Fusion's own are all but unseen in the dark."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QAbstractButton, QDockWidget, QWidget

from nfkd_gui.widgets.icons import icon

_BUTTONS = {
    "qt_dockwidget_floatbutton": ("float", "Put in a window of its own, or back", "Float"),
    "qt_dockwidget_closebutton": ("close", "Close; the View menu brings it back", "Close"),
}
"""Qt's names of the two, and for each our icon, its tip, and what it is called."""


class Dock(QDockWidget):
    """A dock in the studio's manner."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(title, parent)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.dress)
        for signal in (self.topLevelChanged, self.dockLocationChanged, self.visibilityChanged):
            signal.connect(self._later.start)
        self.dress()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange}:
            self._later.start()

    def dress(self) -> None:
        """Give the buttons their icons, which Qt replaces when a dock moves, comes loose or gets another title bar."""
        for name, (picture, tip, words) in _BUTTONS.items():
            button = self.findChild(QAbstractButton, name)
            if isinstance(button, QAbstractButton):
                button.setIcon(icon(picture))
                button.setToolTip(tip)
                button.setAccessibleName(f"{words} {self.windowTitle()}")
