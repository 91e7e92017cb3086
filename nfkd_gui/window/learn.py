"""The Learn workspace: a lesson at the left, the lab beside it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from nfkd.config.datasets import kind_label
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_view import LabView
from nfkd_gui.panels.lesson import LessonPanel
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

_LESSON, _NARROWEST, _PRESENTED = 400, 320, 560


class LearnWorkspace(Workspace):
    """Teaches with flows that train while one watches; the lab trains only while it is on the screen."""

    run_wanted = Signal(str)
    """The name of a recorded run that a lesson shows."""
    named = Signal(str, str)
    """What the lab shows, and its flows."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("learn", parent)
        self.lab = LabModel(studio, self)
        self.view = LabView(self.lab, studio, self)
        self.setCentralWidget(self.view)
        self.lesson = LessonPanel(self.lab, studio, parent=self)
        self.lesson.parts_wanted.connect(self.view.show_parts)
        self.lesson.run_wanted.connect(self.run_wanted)
        dock = PanelDock("lesson", "Lessons", self.lesson, self, scrolls=False)
        self.add(dock, Qt.DockWidgetArea.LeftDockWidgetArea, _LESSON, _NARROWEST)

        self.lab.state_changed.connect(self._name)
        self.lab.opened.connect(self._name)

    def _name(self) -> None:
        lab, info = self.lab, self.lab.info
        flows = "" if info is None else " → ".join(info.flows[role].summary for role in ("teacher", "student"))
        data = "own points" if lab.state.lab.points else kind_label(lab.state.data.kind).lower()
        self.named.emit(f"Lab: {data}", flows)

    def present(self, *, on: bool) -> None:
        """Show the presenter view, with speaker notes and large type, or leave it."""
        self.lesson.present(on)
        self.view.present(on)
        self.resizeDocks([self.docks["lesson"]], [_PRESENTED if on else _LESSON], Qt.Orientation.Horizontal)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._name()

    def stop(self) -> None:
        """Close the lab in the engine."""
        self.lab.close()
