"""The Compare workspace: the table of runs, panels that compare the chosen runs, and the inspector on demand."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from nfkd_gui.model.selected_run import SelectedRun
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_grid import GridPanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.widgets.panel_dock import PanelDock, PanelHead
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window.compare_panels import add_compare_panels, arrange_compare_panels

_INSPECTOR, _NARROWEST = 376, 300
"""Width of the inspector, which is that in Train, and its least width."""


class CompareWorkspace(Workspace):
    """Lists the runs; panels below compare the chosen ones, and the inspector, hidden at first, shows the selected one.

    Attributes
    ----------
    model
        The runs as groups, and the choice that the panels below compare.
    """

    def __init__(self, studio: Studio, runs: RunsPanel, parent: QWidget | None = None) -> None:
        super().__init__("compare", parent)
        self.model = runs.compare
        self.selected = SelectedRun(studio)
        runs.selected.connect(self.selected.select)
        runs.choose_shown()
        self._runs, self._table = runs, self._centre(runs)
        self.setCentralWidget(self._table)
        self.inspector = InspectorPanel(studio, self.selected, "selected", self)
        dock = PanelDock("selected", "Inspector", self.inspector, self, scrolls=False)
        self.add(dock, Qt.DockWidgetArea.RightDockWidgetArea, _INSPECTOR, _NARROWEST)
        self._show_inspector.clicked.connect(dock.toggle.trigger)
        dock.toggle.toggled.connect(self._show_inspector.setChecked)
        add_compare_panels(self, studio, self.model)

    def _centre(self, runs: RunsPanel) -> QWidget:
        centre = QWidget(self)
        head, body = PanelHead("Runs", centre), QFrame(centre)
        head.remark.setObjectName("runs.count")
        head.add_menu("panel.runs", runs)
        head.add(*runs.head_buttons)
        self._show_inspector = head.button(
            "runs.inspector", "inspector", "Inspector", "Show what the selected run reached."
        )
        self._show_inspector.setCheckable(True)
        runs.counted.connect(head.remark.setText)
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
        return centre

    def show_sweep(self, folder: str) -> None:
        """Show the runs of a sweep, given by its folder below the runs folder, and their progress as a grid."""
        self.model.show_folder(folder)
        self.docks[GridPanel.name].raise_()

    def showEvent(self, event: QShowEvent) -> None:
        """Give the table the keyboard: it is what a user acts on first."""
        super().showEvent(event)
        focus = self.focusWidget()
        if focus is None or not focus.isVisible():
            self._runs.table.setFocus()

    def present(self, *, on: bool) -> None:
        """Keep the panels: in a presentation, too, the table alone says little."""

    def expand(self, dock: PanelDock) -> None:
        super().expand(dock)
        self._table.hide()

    def shrink(self) -> None:
        self._table.show()
        super().shrink()

    def keep_first_layout(self) -> None:
        arrange_compare_panels(self)
        self.docks["selected"].hide()
        super().keep_first_layout()
