"""The middle of the window: panels as docks, in tabs, side by side or floating."""

from __future__ import annotations

import itertools

from PySide6.QtCore import QByteArray, Qt, QTimer
from PySide6.QtWidgets import QFrame, QMainWindow, QScrollArea, QTabWidget, QWidget

from nfkd_gui.widgets.dock import Dock

_AREA = Qt.DockWidgetArea.TopDockWidgetArea


class Workbench(QMainWindow):
    """Holds the panels. A panel in a tab has no title bar, because its tab shows the title."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("workbench")
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockOptions(
            QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.setDocumentMode(True)
        self.docks: list[Dock] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._update_title_bars)

    def add(self, panel: QWidget, name: str, title: str) -> Dock:
        """Add a panel as the last tab, in a scroll area."""
        scroll = QScrollArea(self)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidgetResizable(True)
        scroll.setWidget(panel)
        dock = Dock(title, self)
        dock.setObjectName(f"panel.{name}")
        dock.setWidget(scroll)
        dock.topLevelChanged.connect(self._later.start)
        dock.dockLocationChanged.connect(self._later.start)
        dock.visibilityChanged.connect(self._later.start)
        self.addDockWidget(_AREA, dock)
        if self.docks:
            self.tabifyDockWidget(self.docks[-1], dock)
        self.docks.append(dock)
        return dock

    def show_first(self) -> None:
        """Raise the first panel."""
        if self.docks:
            self.docks[0].raise_()
        self._later.start()

    def stack(self) -> None:
        """Put all panels into tabs, in their original order."""
        for before, dock in zip([None, *self.docks], self.docks, strict=False):
            dock.setFloating(False)
            self.addDockWidget(_AREA, dock)
            dock.show()
            if before is not None:
                self.tabifyDockWidget(before, dock)
        self.show_first()

    def tile(self) -> None:
        """Lay the panels out side by side, two per row."""
        for dock in self.docks:
            dock.setFloating(False)
            self.removeDockWidget(dock)
        for dock in self.docks[:1]:
            self.addDockWidget(_AREA, dock)
            dock.show()  # now, as a hidden dock cannot be split
        for left, right in itertools.pairwise(self.docks[:2]):
            self.splitDockWidget(left, right, Qt.Orientation.Horizontal)
            right.show()
        for above, below in zip(self.docks, self.docks[2:], strict=False):
            self.splitDockWidget(above, below, Qt.Orientation.Vertical)
            below.show()
        even = [1000] * len(self.docks)  # proportions, not pixels
        self.resizeDocks(self.docks, even, Qt.Orientation.Horizontal)
        self.resizeDocks(self.docks, even, Qt.Orientation.Vertical)
        self._later.start()

    def restore(self, state: QByteArray, version: int) -> bool:
        """Restore a saved layout and return whether that worked."""
        restored = self.restoreState(state, version)
        self._later.start()
        return restored

    def _update_title_bars(self) -> None:
        """Hide the title bars of docks in tabs."""
        for dock in self.docks:
            tabbed = bool(self.tabifiedDockWidgets(dock)) and not dock.isFloating()
            hidden = dock.titleBarWidget() is not None
            if tabbed and not hidden:
                bar = QWidget(dock)
                bar.setFixedHeight(0)
                dock.setTitleBarWidget(bar)
            elif hidden and not tabbed:
                bar = dock.titleBarWidget()
                dock.setTitleBarWidget(None)  # type: ignore[arg-type]
                bar.deleteLater()
                dock.update_buttons()
