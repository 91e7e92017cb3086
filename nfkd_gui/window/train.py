"""The Train workspace: the panels of one run as tiles, the inspector at the right, the log below."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd_gui.model.studio import Studio
from nfkd_gui.panels import PANELS
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.time_slider import TimeSlider
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

_INSPECTOR, _NARROWEST, _LOG = 376, 300, 160
_TILES = 4
"""Panels that are tiles at first."""
_TABS_BELOW = 900
"""Width of the window, in pixels, below which the tiles become tabs."""


class TrainWorkspace(Workspace):
    """Watches one run."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("train", parent)
        self.panels: list[Panel] = []
        self._narrow: bool | None = None
        self._wide = ""
        """Layout of the tiles before they became tabs."""
        self.tiles = Workspace("tiles", self)
        for panel in PANELS:
            self._add_tile(panel(studio, self.tiles))
        self.time = TimeSlider(studio, self)
        centre = QWidget(self)
        column = QVBoxLayout(centre)
        set_space(column, 8)
        column.addWidget(self.tiles, 1)
        column.addWidget(self.time)
        self.setCentralWidget(centre)
        areas = Qt.DockWidgetArea
        self.inspector = InspectorPanel(studio, studio, parent=self)
        self.inspector.log_wanted.connect(self.show_log)
        self.log = LogPanel(studio, self)
        dock = PanelDock("inspector", "Inspector", self.inspector, self, scrolls=False)
        self.add(dock, areas.RightDockWidgetArea, _INSPECTOR, _NARROWEST)
        self.add(PanelDock("log", "Log", self.log, self, scrolls=False), areas.BottomDockWidgetArea, _LOG).hide()

    def _add_tile(self, panel: Panel) -> None:
        dock = PanelDock(panel.name, panel.title, panel, self.tiles)
        dock.head.add(*panel.tools)
        panel.remarked.connect(dock.head.remark.setText)
        dock.add_expand_button()
        dock.expanded.connect(lambda wide, dock=dock: self.tiles.expand(dock) if wide else self.tiles.shrink())
        self.tiles.add(dock, Qt.DockWidgetArea.TopDockWidgetArea)
        self.panels.append(panel)

    def show_log(self) -> None:
        """Show the log."""
        self.docks["log"].show()
        self.docks["log"].raise_()

    def tile_all(self) -> None:
        """Lay the panels out side by side; further ones that are shown become tabs of the last."""
        docks = list(self.tiles.docks.values())
        tiles, further = docks[:_TILES], [(dock, dock.isHidden()) for dock in docks[_TILES:]]
        self.tiles.tile(tiles)
        for dock, hidden in further:
            self.tiles.tabifyDockWidget(tiles[-1], dock)
            dock.setHidden(hidden)
        tiles[-1].raise_()

    def stack_all(self) -> None:
        """Put the panels into tabs."""
        self.tiles.stack(list(self.tiles.docks.values()))

    def keep_first_layout(self) -> None:
        for dock in list(self.tiles.docks.values())[_TILES:]:
            dock.hide()  # the View menu shows them
        self.tile_all()
        self.tiles.keep_first_layout()
        super().keep_first_layout()

    def layout_state(self) -> str:
        return f"{super().layout_state()}/{self.tiles.layout_state()}"

    def restore(self, text: str) -> None:
        outer, _, inner = text.partition("/")
        super().restore(outer)
        self.tiles.restore(inner)

    def reset(self) -> None:
        self.tiles.reset()
        super().reset()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self._fit_tiles)  # Qt crashes if docks move while it lays them out

    def _fit_tiles(self) -> None:
        """Put the tiles into tabs in a narrow window, and back as they were in a wide one."""
        narrow = self.width() < scaled(_TABS_BELOW)
        if self._narrow is not None and narrow != self._narrow:
            if narrow:
                self._wide = self.tiles.layout_state()
                self.stack_all()
            else:
                self.tiles.restore(self._wide)
        self._narrow = narrow
