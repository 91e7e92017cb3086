"""The layers of teacher and student side by side, as the engine describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QTableView, QVBoxLayout, QWidget

from nfkd.protocol.requests import FlowDescription, LayerInfo
from nfkd.protocol.roles import ASSISTANTS, Role, role_label
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.numbers import format_count
from nfkd_gui.theme import limit_size, role_colour, scaled, set_space
from nfkd_gui.widgets.labels import MarkupLabel, escaped

_HEADS = ("Layer", "Kind", "Output", "Parameters")
_KIND, _NUMBER = 1, 3
_ROW, _LEAST = 26, 48
"""Height of a row, and least height of a table, in pixels."""
_WIDE = 420
"""Width in pixels below which a table has no column of kinds."""
Index = QModelIndex | QPersistentModelIndex


class LayersModel(QAbstractTableModel):
    """The layers of a flow, one in a row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers: Sequence[LayerInfo] = ()

    def show_layers(self, layers: Sequence[LayerInfo]) -> None:
        """Show other layers."""
        if list(layers) != list(self.layers):
            self.beginResetModel()
            self.layers = layers
            self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.layers)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(_HEADS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _HEADS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(section)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        layer = self.layers[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            texts = (layer.label, layer.kind, "×".join(map(str, layer.shape)), format_count(layer.parameters))
            return texts[index.column()]
        return self._alignment(index.column()) if role == Qt.ItemDataRole.TextAlignmentRole else None

    @staticmethod
    def _alignment(column: int) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column == _NUMBER else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter


class LayerTables(QWidget):
    """A table of layers for each flow of the experiment."""

    def __init__(self, experiment: Experiment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("layers")
        self.experiment = experiment
        self.tables: dict[Role, _FlowTable] = {}
        self._line = QHBoxLayout(self)
        set_space(self._line, 16)
        for role in ("teacher", *ASSISTANTS, "student"):
            table = self.tables[role] = _FlowTable(role, self)
            self._line.addWidget(table, 1)
        experiment.checked.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the layers that the engine described last."""
        description = self.experiment.description
        if description is None:
            return  # keep the former tables until the engine has answered
        flows: dict[str, FlowDescription | None] = {"teacher": description.teacher, "student": description.student}
        flows |= dict(zip(ASSISTANTS, description.assistants, strict=False))
        for role, table in self.tables.items():
            table.show_flow(flows.get(role))
            table.setVisible(flows.get(role) is not None)

    def restyle(self) -> None:
        """Apply the current theme."""
        for table in self.tables.values():
            table.restyle()


class _FlowTable(QWidget):
    """A heading in the flow's colour, and its layers."""

    def __init__(self, role: Role, parent: QWidget) -> None:
        super().__init__(parent)
        self._role, self._flow = role, None
        self._heading = MarkupLabel(self)
        self.model = LayersModel(self)
        view = self._view = QTableView(self)
        view.setObjectName(f"layers.{role}")
        view.setAccessibleName(f"Layers of the {role}")
        view.setModel(self.model)
        view.setShowGrid(False)
        view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.verticalHeader().hide()
        view.horizontalHeader().setHighlightSections(False)
        view.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        view.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        limit_size(view, least=(0, _LEAST))
        column = QVBoxLayout(self)
        set_space(column, 8)
        column.addWidget(self._heading)
        column.addWidget(view, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._view.setColumnHidden(_KIND, self.width() < scaled(_WIDE))  # the names of layers say it too

    def show_flow(self, flow: FlowDescription | None) -> None:
        self._flow = flow
        self.model.show_layers(flow.layers if flow is not None else ())
        self.restyle()

    def restyle(self) -> None:
        self._view.verticalHeader().setDefaultSectionSize(scaled(_ROW))
        about = f" {escaped(self._flow.summary)}" if self._flow is not None else ""
        self._heading.setText(f'<b style="color:{role_colour(self._role)}">{role_label(self._role)}</b>{about}')
