"""A workspace: panels around a centre, in docks whose layout is remembered."""

from __future__ import annotations

import itertools

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QMainWindow, QTabWidget, QWidget

from nfkd_gui.theme import limit_size, scaled
from nfkd_gui.widgets.panel_dock import PanelDock

_VERSION = 3
Area = Qt.DockWidgetArea


class Workspace(QMainWindow):
    """Holds panels in docks.

    Attributes
    ----------
    docks
        By the names of the panels.
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"workspace.{name}")
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockOptions(
            QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.setCorner(Qt.Corner.BottomLeftCorner, Area.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomRightCorner, Area.RightDockWidgetArea)
        self.setDocumentMode(True)
        self.docks: dict[str, PanelDock] = {}
        self._sizes: list[tuple[PanelDock, int, Qt.Orientation]] = []
        self._first = QByteArray()
        self._before_expansion = QByteArray()
        self._before_presentation: list[str] = []

    def add(self, dock: PanelDock, area: Area, size: int = 0, least: int = 0) -> PanelDock:
        """Add a panel at a side, as wide (or high) as `size` at first, and never narrower (or lower) than `least`."""
        self.docks[dock.objectName().removeprefix("panel.")] = dock
        self.addDockWidget(area, dock)
        sides = {Area.LeftDockWidgetArea, Area.RightDockWidgetArea}
        direction = Qt.Orientation.Horizontal if area in sides else Qt.Orientation.Vertical
        limit_size(dock, least=(least, 0) if direction == Qt.Orientation.Horizontal else (0, least))
        if size:
            self._sizes.append((dock, size, direction))
        return dock

    def tile(self, docks: list[PanelDock]) -> None:
        """Lay panels out side by side, two in a row."""
        for dock in docks:
            dock.setFloating(False)
            self.removeDockWidget(dock)
        for dock in docks[:1]:
            self.addDockWidget(Area.TopDockWidgetArea, dock)
            dock.show()  # now, as a hidden dock cannot be split
        for left, right in itertools.pairwise(docks[:2]):
            self.splitDockWidget(left, right, Qt.Orientation.Horizontal)
            right.show()
        for above, below in zip(docks, docks[2:], strict=False):
            self.splitDockWidget(above, below, Qt.Orientation.Vertical)
            below.show()
        even = [1000] * len(docks)  # proportions, not pixels
        self.resizeDocks(docks, even, Qt.Orientation.Horizontal)
        self.resizeDocks(docks, even, Qt.Orientation.Vertical)

    def stack(self, docks: list[PanelDock]) -> None:
        """Put panels into tabs, and show the first."""
        for before, dock in zip([None, *docks], docks, strict=False):
            dock.setFloating(False)
            self.addDockWidget(Area.TopDockWidgetArea, dock)
            dock.show()
            if before is not None:
                self.tabifyDockWidget(before, dock)
        if docks:
            docks[0].raise_()

    # --- the layout -----------------------------------------------------------------------------------------------

    def keep_first_layout(self) -> None:
        """Set the first sizes, and remember the layout for `reset`; Qt ignores sizes before the window is shown.

        A panel gets at most half of the window, which matters at a large scale of the interface.
        """
        for dock, size, orientation in self._sizes:
            room = self.window().width() if orientation == Qt.Orientation.Horizontal else self.window().height()
            self.resizeDocks([dock], [min(scaled(size), room // 2)], orientation)
        self._first = self.saveState(_VERSION)

    def layout_state(self) -> str:
        """Return the layout as text; that before a panel was enlarged."""
        state = self._before_expansion if not self._before_expansion.isEmpty() else self.saveState(_VERSION)
        return bytes(state.toHex().data()).decode()

    def restore(self, text: str) -> None:
        """Restore a layout of `layout_state`; a wrong text changes nothing."""
        self.restoreState(QByteArray.fromHex(QByteArray(text.encode("ascii", "ignore"))), _VERSION)

    def reset(self) -> None:
        """Restore the first layout."""
        self.shrink()
        self.restoreState(self._first, _VERSION)

    def present(self, *, on: bool) -> None:
        """Hide the panels around the centre, or show again those that were there."""
        if on:
            self._before_presentation = [name for name, dock in self.docks.items() if not dock.isHidden()]
        for name, dock in self.docks.items():
            dock.setVisible(not on and name in self._before_presentation)

    # --- one panel alone ------------------------------------------------------------------------------------------

    def expand(self, dock: PanelDock) -> None:
        """Let a panel fill the workspace."""
        if self._before_expansion.isEmpty():
            self._before_expansion = self.saveState(_VERSION)
        for other in self.docks.values():
            if other is not dock:
                other.hide()
        dock.show()
        dock.show_expanded(True)

    def shrink(self) -> None:
        """Bring back the panels that `expand` hid."""
        if not self._before_expansion.isEmpty():
            self.restoreState(self._before_expansion, _VERSION)
            self._before_expansion = QByteArray()
        for dock in self.docks.values():
            dock.show_expanded(False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and not self._before_expansion.isEmpty():
            self.shrink()
            return
        super().keyPressEvent(event)
