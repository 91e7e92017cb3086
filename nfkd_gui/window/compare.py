"""The Compare workspace: the table of runs, and what the selected one reached."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.selected_run import SelectedRun
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.widgets.panel_dock import PanelDock, PanelHead
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window.compare_panels import add_compare_panels, arrange_compare_panels

_INSPECTOR, _NARROWEST = 376, 300
"""Width of the inspector, which is that in Train, and its least width."""


class CompareWorkspace(Workspace):
    """Lists the runs; the inspector at the right shows the selected one, panels below compare the chosen ones."""

    def __init__(self, studio: Studio, runs: RunsPanel, parent: QWidget | None = None) -> None:
        super().__init__("compare", parent)
        self.selected = SelectedRun(studio)
        runs.selected.connect(self.selected.select)
        runs.choose_shown()
        centre = self._table = QWidget(self)
        head, body = PanelHead("Runs", centre), QFrame(centre)
        head.add_menu("panel.runs", runs)
        body.setProperty("body", True)
        column = QVBoxLayout(body)
        column.setContentsMargins(1, 0, 1, 1)
        column.addWidget(runs)
        whole = QVBoxLayout(centre)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(head)
        whole.addWidget(body, 1)
        centre.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCentralWidget(centre)
        self.inspector = InspectorPanel(studio, self.selected, "selected", self)
        dock = PanelDock("selected", "Inspector", self.inspector, self, scrolls=False)
        self.add(dock, Qt.DockWidgetArea.RightDockWidgetArea, _INSPECTOR, _NARROWEST)
        self.model = CompareModel(studio, self)
        add_compare_panels(self, studio, self.model)

    def expand(self, dock: PanelDock) -> None:
        super().expand(dock)
        self._table.hide()

    def shrink(self) -> None:
        self._table.show()
        super().shrink()

    def keep_first_layout(self) -> None:
        arrange_compare_panels(self)
        super().keep_first_layout()
