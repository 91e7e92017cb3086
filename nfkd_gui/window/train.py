"""The Train workspace: the panels of one run as tiles, the inspector at the right, the log below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QToolButton, QVBoxLayout, QWidget

from nfkd.protocol.events import RunEvent
from nfkd.protocol.inspection import Origin
from nfkd.protocol.roles import find_role
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.panels.flow import FlowPanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.likelihood import LikelihoodPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.sample import SamplePanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.panels.system import SystemPanel
from nfkd_gui.panels.table import TablePanel
from nfkd_gui.panels.time_slider import TimeSlider
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.drawer import Drawer
from nfkd_gui.widgets.panel_dock import IconButton, PanelDock
from nfkd_gui.widgets.workspace import Workspace

PANELS: tuple[type[Panel], ...] = (
    CurvesPanel,
    SamplesPanel,
    InterpolationPanel,
    FlowPanel,
    MatchingPanel,
    LikelihoodPanel,
    TablePanel,
    SystemPanel,
)
"""The panels, in the order of their tabs."""
_TILES = 4
"""So many of them are shown at first; the others open as tabs of the last tile."""
_REFRESH = 50
"""Milliseconds between two refreshes of the panels."""
_INSPECTOR, _NARROWEST, _LOG, _SAMPLE = 376, 300, 160, 460
_TABS_BELOW, _DRAWER_BELOW = 900, 1280
"""Widths of the window, in pixels, below which the tiles become tabs and the inspector a drawer."""


class TrainWorkspace(Workspace):
    """Watches one run."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("train", parent)
        self._studio = studio
        self.panels: list[Panel] = []
        self._narrow: bool | None = None
        self._docked = True
        """Whether the inspector is shown when it is not a drawer."""
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
        self._make_panels_button()
        self._button = self._make_button()
        self.setCentralWidget(centre)
        areas = Qt.DockWidgetArea
        self.inspector = InspectorPanel(studio, studio, parent=self)
        self.inspector.log_wanted.connect(self.show_log)
        self.log = LogPanel(studio, self)
        dock = PanelDock("inspector", "Inspector", self.inspector, self, scrolls=False)
        self.add(dock, areas.RightDockWidgetArea, _INSPECTOR, _NARROWEST)
        self._add_sample()
        self.drawer = Drawer(dock, _INSPECTOR, self.tiles)
        self.drawer.toggled.connect(self._button.setChecked)
        self._make_toggle(dock)
        self.add(PanelDock("log", "Log", self.log, self, scrolls=False), areas.BottomDockWidgetArea, _LOG).hide()
        studio.theme_changed.connect(self._fit, Qt.ConnectionType.QueuedConnection)
        studio.view_changed.connect(self._show_view)
        studio.event_applied.connect(self._show_event)
        self._show_view()
        self._refresher = QTimer(self)
        self._refresher.setInterval(_REFRESH)
        self._refresher.timeout.connect(self._refresh)
        self._refresher.start()

    def _add_sample(self) -> None:
        """Add the sample inspector, which opens when an example is clicked."""
        self.sample = SamplePanel(self._studio, self)
        self.panels.append(self.sample)
        dock = PanelDock("sample", self.sample.title, self.sample, self)
        close = dock.head.button("sample.close", "close", "Close the sample", "Hide the sample inspector.")
        close.clicked.connect(dock.hide)
        self.add(dock, Qt.DockWidgetArea.RightDockWidgetArea, _INSPECTOR, _NARROWEST).hide()
        self._studio.example_chosen.connect(self._show_sample)
        self.sample.used.connect(self._use_end)
        self.sample.flow_wanted.connect(self.show_in_flow)

    def _make_panels_button(self) -> None:
        """Add the button that opens and closes panels to the row of the time slider."""
        button = QToolButton(self)
        button.setObjectName("train.panels")
        button.setText("Panels ▾")
        button.setAccessibleName("Panels")
        button.setToolTip("Choose which panels are shown.")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        menu = QMenu(button)
        menu.setObjectName("train.panels.menu")
        menu.addActions([dock.toggle for dock in self.tiles.docks.values()])
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.time.add(button)

    def _make_button(self) -> IconButton:
        """Add the button that opens the inspector as a drawer to the row of the time slider."""
        button = IconButton("inspector", "Inspector", "Show the inspector over the panels; Escape closes it.", self)
        button.setObjectName("train.inspector")
        button.setText("Inspector")
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setCheckable(True)
        button.clicked.connect(self._show_inspector)
        button.hide()
        self.time.add(button)
        return button

    def _make_toggle(self, dock: PanelDock) -> None:
        """Let one action show and hide the inspector, as a dock and as a drawer."""
        dock.toggle = QAction(dock.windowTitle(), self)
        dock.toggle.setObjectName("action.inspector")
        dock.toggle.setCheckable(True)
        dock.toggle.triggered.connect(self._show_inspector)
        dock.toggleViewAction().toggled.connect(self._show_toggle)
        self.drawer.toggled.connect(self._show_toggle)
        self._show_toggle()

    def _show_toggle(self) -> None:
        dock = self.docks["inspector"]
        dock.toggle.setChecked(not (self.drawer if self.drawer.has_panel else dock).isHidden())

    def _show_inspector(self, shown: bool) -> None:
        if self.drawer.has_panel:
            self.drawer.set_open(shown)
        else:
            self.docks["inspector"].setVisible(shown)

    def stop(self) -> None:
        """Stop redrawing the panels."""
        self._refresher.stop()

    def _show_view(self) -> None:
        for panel in self.panels:
            panel.show_run(self._studio.view)

    def _show_event(self, event: RunEvent) -> None:
        for panel in self.panels:
            panel.on_event(event)

    def _refresh(self) -> None:
        for panel in self.panels:
            if not panel.visibleRegion().isEmpty():  # Qt calls the panels of tabs behind another one visible
                panel.refresh()

    def _add_tile(self, panel: Panel) -> None:
        dock = PanelDock(panel.name, panel.title, panel, self.tiles)
        dock.head.add(*panel.tools)
        panel.remarked.connect(dock.head.remark.setText)
        dock.add_expand_button()
        dock.expanded.connect(lambda wide, dock=dock: self.tiles.expand(dock) if wide else self.tiles.shrink())
        dock.toggle.triggered.connect(dock.raise_)
        self.tiles.add(dock, Qt.DockWidgetArea.TopDockWidgetArea)
        self.panels.append(panel)

    def show_log(self) -> None:
        """Show the log."""
        self.docks["log"].show()
        self.docks["log"].raise_()

    def _show_sample(self) -> None:
        """Show the sample inspector for an example of the run that is shown."""
        dock = self.docks["sample"]
        first = dock.isHidden()
        dock.show()
        dock.raise_()
        if first:
            self.resizeDocks([dock], [scaled(_SAMPLE)], Qt.Orientation.Vertical)

    def show_in_flow(self, origin: Origin) -> None:
        """Follow an example through the layers of every flow."""
        self._flow_panel().show_example(origin)

    def show_layer(self, name: str, layer: str) -> None:
        """Show the states after a layer of a flow."""
        role = find_role(name)
        if role is not None:
            self._flow_panel().show_layer(role, layer)

    def _flow_panel(self) -> FlowPanel:
        """Bring the Flow panel to the front, and return it."""
        dock = self.tiles.docks["flow"]
        dock.show()
        dock.raise_()
        return next(panel for panel in self.panels if isinstance(panel, FlowPanel))

    def _use_end(self, number: int, origin: Origin) -> None:
        panel = self.tiles.docks["interpolation"].panel
        if isinstance(panel, InterpolationPanel):
            panel.use_end(number, origin)

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
        """Put the open panels into tabs."""
        self.tiles.stack([dock for dock in self.tiles.docks.values() if not dock.isHidden()])

    def keep_first_layout(self) -> None:
        for dock in list(self.tiles.docks.values())[_TILES:]:
            dock.hide()  # the View menu shows them
        self.tile_all()
        self.tiles.keep_first_layout()
        super().keep_first_layout()

    def layout_state(self) -> str:
        with self._as_docked():
            return f"{super().layout_state()}/{self.tiles.layout_state()}"

    def restore(self, text: str) -> None:
        outer, _, inner = text.partition("/")
        with self._as_docked():
            super().restore(outer)
            self.tiles.restore(inner)

    def reset(self) -> None:
        with self._as_docked():
            self.tiles.reset()
            super().reset()

    @contextmanager
    def _as_docked(self) -> Iterator[None]:
        """Save or restore a layout as if the inspector were no drawer."""
        dock = self.docks["inspector"]
        if self.drawer.has_panel:
            dock.setVisible(self._docked)
        yield
        if self.drawer.has_panel:
            self._docked = not dock.isHidden()
            dock.hide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self._fit)  # Qt crashes if docks move while it lays them out

    def _fit(self) -> None:
        self._fit_tiles()
        if not self.window().isFullScreen():  # the presentation has no inspector
            self._fit_inspector()

    def _fit_inspector(self) -> None:
        """Make the inspector a drawer in a narrow window, and a dock as it was in a wide one."""
        dock, narrow = self.docks["inspector"], self.window().width() < scaled(_DRAWER_BELOW)
        if narrow and not self.drawer.has_panel:
            self._docked = not dock.isHidden()
            self.drawer.take()
        elif not narrow and self.drawer.has_panel:
            self.drawer.give_back()
            dock.setVisible(self._docked)
        self._button.setVisible(narrow)
        self._show_toggle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and not self.drawer.isHidden():
            self.drawer.set_open(False)
            return
        super().keyPressEvent(event)

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
