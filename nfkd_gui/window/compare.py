"""The Compare workspace: the table of runs, and what the selected one reached."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.widgets.panel_dock import PanelHead
from nfkd_gui.widgets.workspace import Workspace


class CompareWorkspace(Workspace):
    """Lists the runs."""

    def __init__(self, runs: RunsPanel, parent: QWidget | None = None) -> None:
        super().__init__("compare", parent)
        centre = QWidget(self)
        head, body = PanelHead("Runs", centre), QFrame(centre)
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
