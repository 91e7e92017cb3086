"""The Train workspace: the panels of one run as tiles, the inspector at the right, the log below."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd.protocol.events import RunEvent
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.panels.time_slider import TimeSlider
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

PANELS: tuple[type[Panel], ...] = (CurvesPanel, SamplesPanel, InterpolationPanel, MatchingPanel)
"""The tiles, in the order of their tabs."""
_REFRESH = 50
"""Milliseconds between two refreshes of the panels."""
_INSPECTOR, _NARROWEST, _LOG = 376, 300, 160
_TABS_BELOW = 900
"""Width of the window, in pixels, below which the tiles become tabs."""


class TrainWorkspace(Workspace):
    """Watches one run."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("train", parent)
        self._studio = studio
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
        studio.view_changed.connect(self._show_view)
        studio.event_applied.connect(self._show_event)
        self._show_view()
        self._refresher = QTimer(self)
        self._refresher.setInterval(_REFRESH)
        self._refresher.timeout.connect(self._refresh)
        self._refresher.start()

    def stop(self) -> None:
        """Redraw the panels no more."""
        self._refresher.stop()

    def _show_view(self) -> None:
        for panel in self.panels:
            panel.show_run(self._studio.view)

    def _show_event(self, event: RunEvent) -> None:
        for panel in self.panels:
            panel.on_event(event)

    def _refresh(self) -> None:
        for panel in self.panels:
            if panel.isVisible():
                panel.refresh()

    def _add_tile(self, panel: Panel) -> None:
        dock = PanelDock(panel.name, panel.title, panel, self.tiles)
        dock.head.add(*panel.tools)
        dock.add_expand_button()
        dock.expanded.connect(lambda wide, dock=dock: self.tiles.expand(dock) if wide else self.tiles.shrink())
        self.tiles.add(dock, Qt.DockWidgetArea.TopDockWidgetArea)
        self.panels.append(panel)

    def show_log(self) -> None:
        """Show the log."""
        self.docks["log"].show()
        self.docks["log"].raise_()

    def tile_all(self) -> None:
        """Lay the panels out side by side."""
        self.tiles.tile(list(self.tiles.docks.values()))

    def stack_all(self) -> None:
        """Put the panels into tabs."""
        self.tiles.stack(list(self.tiles.docks.values()))

    def keep_first_layout(self) -> None:
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
