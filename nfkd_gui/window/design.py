"""The Design workspace: outline left, the drawing of the flows in the middle, properties right, the estimate below."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.roles import Role
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.outline import SECTIONS, Outline, section_of
from nfkd_gui.forms.time_box import TimeBox
from nfkd_gui.model.csv_files import Table, sizes_table
from nfkd_gui.model.export_files import file_stem
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.architecture import ArchitecturePanel
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.panel_dock import PanelDock, PanelHead
from nfkd_gui.widgets.workspace import Workspace

_OUTLINE, _PROPERTIES, _ESTIMATE = 256, 360, 176
_LEAST = 208, 336, 176
"""Least widths of the outline and of the properties, and least height of the estimate."""


class DesignWorkspace(Workspace):
    """Sets an experiment up."""

    def __init__(self, studio: Studio, form: ExperimentForm, parent: QWidget | None = None) -> None:
        super().__init__("design", parent)
        self.form = form
        self.outline = Outline(studio.experiment, self)
        self.architecture = ArchitecturePanel(studio, self)
        areas = Qt.DockWidgetArea
        outline = PanelDock("outline", "Experiment", self.outline, self, scrolls=False)
        self.add(outline, areas.LeftDockWidgetArea, _OUTLINE, _LEAST[0])
        self.search = outline.head.button(
            "outline.search", "search", "Search", "Find any field, command, preset or data set (Ctrl+K)."
        )
        self.properties = PanelDock("properties", "Properties", form, self, scrolls=False)
        self.add(self.properties, areas.RightDockWidgetArea, _PROPERTIES, _LEAST[1])
        self.add(
            PanelDock("estimate", "Estimate", EstimatePanel(studio, form, self), self),
            areas.BottomDockWidgetArea,
            _ESTIMATE,
            _LEAST[2],
        )
        self.setCentralWidget(self._centre())
        self.outline.selected.connect(self._select)
        self.outline.problem_clicked.connect(self.open_field)
        self.architecture.section_wanted.connect(self.outline.select)
        self.architecture.field_wanted.connect(self._show_field)
        self.form.preview.note.add_link("preview.undo", "Undo", "Take back the data set and what was adapted to it.")
        self.form.preview.note.chosen.connect(self._undo)
        studio.data_adapter.adapted.connect(self.form.preview.show_note)
        studio.experiment.edited.connect(self._hide_note)
        studio.experiment.replaced.connect(self._hide_note)
        self.outline.select("data")

    def _centre(self) -> QWidget:
        centre = QWidget(self)
        head, body = PanelHead("Architecture", centre), self.architecture
        head.add(*body.tools)
        head.add_menu("panel.architecture", body)
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

    def _show_field(self, path: str, focus: bool) -> None:
        """Show a field for what was chosen in the drawing, which keeps the keyboard unless `focus`."""
        if focus:
            self.open_field(path)
            return
        self.outline.select(section_of(path))
        self.form.scroll_to(path)


class EstimatePanel(QWidget, Exportable):
    """Sizes and time of the experiment, side by side."""

    has_numbers = True

    def __init__(self, studio: Studio, form: ExperimentForm, parent: QWidget) -> None:
        super().__init__(parent)
        self._experiment, self._times = studio.experiment, studio.time_estimate
        line = QHBoxLayout(self)
        set_space(line, 0)
        times = TimeBox(studio.time_estimate, form.estimate)
        studio.theme_changed.connect(times.refresh, Qt.ConnectionType.QueuedConnection)
        form.estimate.add_beside(times)
        line.addWidget(form.estimate)

    def numbers(self) -> dict[str, Table]:
        estimate = self._times.estimate
        times: dict[Role, float] = {stage.stage: stage.seconds for stage in estimate.stages} if estimate else {}
        flows = self._experiment.flows_by_role()
        return {"Estimate": sizes_table(flows, times)} if flows or times else {}

    def export_name(self) -> str:
        return file_stem(self._experiment.name, "estimate")
