"""The Compare workspace: the table of runs, and what the selected one reached."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QSplitter, QVBoxLayout, QWidget

from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.selected_run import SelectedRun
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.widgets.panel_dock import PanelDock, PanelHead
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window.compare_panels import ComparePanels

_INSPECTOR, _NARROWEST = 376, 300
"""Width of the inspector, which is that in Train, and its least width."""
_TABLE, _PANELS = 460, 436
"""Heights of the table and of the panels below it."""


class CompareWorkspace(Workspace):
    """Lists the runs; the inspector at the right shows the selected one."""

    def __init__(self, studio: Studio, runs: RunsPanel, parent: QWidget | None = None) -> None:
        super().__init__("compare", parent)
        self.selected = SelectedRun(studio)
        runs.selected.connect(self.selected.select)
        runs.choose_shown()
        centre = QWidget(self)
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
        self.model = CompareModel(studio, self)
        self.panels = ComparePanels(studio, self.model, self)
        self.split = QSplitter(Qt.Orientation.Vertical, self)
        self.split.setObjectName("compare.split")
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(centre)
        self.panels.filled.connect(centre.setHidden)
        self.split.addWidget(self.panels)
        self.split.setSizes([_TABLE, _PANELS])
        self.setCentralWidget(self.split)
        self.inspector = InspectorPanel(studio, self.selected, "selected", self)
        dock = PanelDock("selected", "Inspector", self.inspector, self, scrolls=False)
        self.add(dock, Qt.DockWidgetArea.RightDockWidgetArea, _INSPECTOR, _NARROWEST)

    def keep_first_layout(self) -> None:
        self.panels.keep_first_layout()
        super().keep_first_layout()

    def layout_state(self) -> str:
        return f"{super().layout_state()}/{self.panels.layout_state()}"

    def restore(self, text: str) -> None:
        outer, _, inner = text.partition("/")
        super().restore(outer)
        self.panels.restore(inner)

    def reset(self) -> None:
        self.panels.reset()
        super().reset()
