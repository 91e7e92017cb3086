"""A drawer: shows a dock's panel over the right side of a workspace where there is no room for the dock."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRect, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from nfkd_gui.theme import fit_all, scaled, set_space
from nfkd_gui.widgets.panel_dock import PanelDock

_GAP, _EDGE = 8, 24
"""Pixels between the drawer's panel and what is beside it, and those at the left that the drawer never covers."""


class Drawer(QFrame):
    """Takes head and body of a dock, and gives them back.

    Parameters
    ----------
    dock
        The dock; while the drawer has its panel, it is hidden.
    width
        The width of the drawer, in pixels at 100 %.
    parent
        The workspace that the drawer covers in part.
    """

    toggled = Signal(bool)
    """The drawer was opened (True) or closed."""

    def __init__(self, dock: PanelDock, width: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(f"drawer.{dock.panel.objectName()}")
        self.setAutoFillBackground(True)
        self.setAccessibleName(dock.windowTitle())
        self._dock, self._width, self._whole = dock, width, parent
        self._body: QWidget | None = None
        self._column = QVBoxLayout(self)
        set_space(self._column, 0, _GAP, 0, 0, 0)
        self._had_focus: QWidget | None = None
        self.hide()
        parent.installEventFilter(self)

    @property
    def has_panel(self) -> bool:
        """Whether the dock's panel is in the drawer."""
        return self._body is not None

    def take(self) -> None:
        """Hide the dock and take its panel."""
        if self._body is None:
            self._body = self._dock.widget()
            self._dock.hide()
            self._column.addWidget(self._dock.head)
            self._column.addWidget(self._body, 1)
            self._dock.head.show()
            self._body.show()
            fit_all(self)

    def give_back(self) -> None:
        """Close the drawer and put the panel back into the dock, which stays hidden."""
        if self._body is not None:
            self.set_open(False)
            self._dock.setTitleBarWidget(self._dock.head)
            self._dock.setWidget(self._body)
            self._body = None
            fit_all(self._dock)

    def set_open(self, open_: bool) -> None:
        """Open or close the drawer; the focus goes into it, and back to where it was."""
        if open_ != self.isHidden():
            return
        if open_:
            self._had_focus = self.window().focusWidget()
            self._fit()
        inside = self.isAncestorOf(self.window().focusWidget() or self)
        self.setVisible(open_)
        if open_:
            self.raise_()
            self.setFocus()
        elif inside and self._had_focus is not None:
            self._had_focus.setFocus()
        self.toggled.emit(open_)

    def _fit(self) -> None:
        """Cover the right side of the workspace."""
        whole = self._whole.rect()
        width = min(scaled(self._width), whole.width() - scaled(_EDGE))
        self.setGeometry(QRect(whole.right() + 1 - width, whole.top(), width, whole.height()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and not self.isHidden():
            self._fit()
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.set_open(False)
            return
        super().keyPressEvent(event)
