"""A dock widget with title buttons in the text colour: Fusion's are hardly visible in a dark theme."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QAbstractButton, QDockWidget, QWidget

from nfkd_gui.widgets.icons import icon

_BUTTONS = {
    "qt_dockwidget_floatbutton": ("float", "Move to a separate window, or back", "Float"),
    "qt_dockwidget_closebutton": ("close", "Close; reopen it from the View menu", "Close"),
}
"""Qt's object name of each button, with our icon, tooltip and accessible name."""


class Dock(QDockWidget):
    """A dock whose title buttons follow the theme."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(title, parent)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.update_buttons)
        for signal in (self.topLevelChanged, self.dockLocationChanged, self.visibilityChanged):
            signal.connect(self._later.start)
        self.update_buttons()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange}:
            self._later.start()

    def update_buttons(self) -> None:
        """Set the buttons' icons; Qt resets them when a dock moves, floats or gets another title bar."""
        for name, (picture, tip, label) in _BUTTONS.items():
            button = self.findChild(QAbstractButton, name)
            if isinstance(button, QAbstractButton):
                button.setIcon(icon(picture))
                button.setToolTip(tip)
                button.setAccessibleName(f"{label} {self.windowTitle()}")
