"""The Design workspace: outline left, data and layers in the middle, properties right, the estimate below."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.outline import SECTIONS, Outline, section_of
from nfkd_gui.forms.time_box import TimeBox
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.layer_tables import LayerTables
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.panel_dock import PanelDock, PanelHead
from nfkd_gui.widgets.workspace import Workspace

_OUTLINE, _PROPERTIES, _ESTIMATE = 256, 360, 200


class DesignWorkspace(Workspace):
    """Sets an experiment up."""

    def __init__(self, studio: Studio, form: ExperimentForm, parent: QWidget | None = None) -> None:
        super().__init__("design", parent)
        self.form = form
        self.outline = Outline(studio.experiment, self)
        self.layers = LayerTables(studio.experiment, self)
        areas = Qt.DockWidgetArea
        outline = self.add(
            PanelDock("outline", "Experiment", self.outline, self, scrolls=False), areas.LeftDockWidgetArea, _OUTLINE
        )
        self.search = outline.head.button(
            "outline.search", "search", "Search", "Find any field, command, preset or data set (Ctrl+K)."
        )
        self.properties = self.add(
            PanelDock("properties", "Properties", form, self, scrolls=False), areas.RightDockWidgetArea, _PROPERTIES
        )
        self.add(
            PanelDock("estimate", "Estimate", self._estimates(studio), self), areas.BottomDockWidgetArea, _ESTIMATE
        )
        self.setCentralWidget(self._centre())
        self.outline.selected.connect(self._select)
        self.outline.problem_clicked.connect(self.open_field)
        studio.theme_changed.connect(self.layers.restyle, Qt.ConnectionType.QueuedConnection)
        self.form.preview.note.add_link("preview.undo", "Undo", "Take back the data set and what was adapted to it.")
        self.form.preview.note.chosen.connect(self._undo)
        studio.data_adapter.adapted.connect(self.form.preview.show_note)
        studio.experiment.edited.connect(self._hide_note)
        studio.experiment.replaced.connect(self._hide_note)
        self.outline.select("data")

    def _estimates(self, studio: Studio) -> QWidget:
        """Return sizes and time side by side."""
        both = QWidget(self)
        line = QHBoxLayout(both)
        set_space(line, 8)
        line.addWidget(self.form.estimate, 1)
        line.addWidget(TimeBox(studio.time_estimate, both), 1)
        return both

    def _centre(self) -> QWidget:
        centre = QWidget(self)
        head = PanelHead("Data and layers", centre)
        body = QFrame(centre)
        body.setProperty("body", True)
        column = QVBoxLayout(body)
        set_space(column, 16, 16, 12, 16, 12)
        column.addWidget(self.form.preview)
        column.addWidget(self.layers, 1)
        whole = QVBoxLayout(centre)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(head)
        whole.addWidget(body, 1)
        return centre

    def _undo(self) -> None:
        self.form.undo_stack.undo()

    def _hide_note(self) -> None:
        self.form.preview.note.hide()

    def _select(self, name: str) -> None:
        self.form.show_section(name)
        self.properties.head.title.setText(SECTIONS[name][0])

    def open_field(self, path: str) -> None:
        """Show a field in the properties and give it the focus."""
        self.outline.select(section_of(path))
        self.properties.show()
        self.form.open_field(path)
