"""Questions about the lab's data: points that the user draws, and two columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPushButton, QVBoxLayout, QWidget

from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.drawing_box import DrawingBox
from nfkd_gui.widgets.feature_picker import FeaturePicker
from nfkd_gui.widgets.labels import WrappedLabel


class _DataDialog(QDialog):
    """A dialog whose button *Use* accepts it."""

    def __init__(self, title: str, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self._buttons = QDialogButtonBox(self)
        self.use: QPushButton = self._buttons.addButton("Use", QDialogButtonBox.ButtonRole.AcceptRole)
        self.use.setObjectName(f"{name}_use")
        cancel = self._buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        cancel.setObjectName(f"{name}_cancel")
        without_icons(self._buttons)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._column = QVBoxLayout(self)
        set_space(self._column, 12, 12)


class DrawDialog(_DataDialog):
    """Asks for points that the user draws."""

    def __init__(self, points: Sequence[Sequence[float]], parent: QWidget) -> None:
        super().__init__("Draw the data", "lab.drawing", parent)
        self.box = DrawingBox(self)
        self.box.setObjectName("lab.drawing")
        self.box.set_value([list(point) for point in points])
        self.box.changed.connect(self._enable)
        self._column.addWidget(self.box, 1)
        self._column.addWidget(self._buttons)
        self.resize(scaled(460), scaled(520))
        self._enable()

    def _enable(self) -> None:
        self.use.setEnabled(bool(self.box.canvas.points))


class ColumnsDialog(_DataDialog):
    """Asks for two of a table's columns.

    Attributes
    ----------
    data
        The ``[data]`` table of the file.
    """

    def __init__(self, data: dict[str, Any], columns: Sequence[str], parent: QWidget) -> None:
        super().__init__("Choose two columns", "lab.columns", parent)
        self.data = data
        about = f"The file has {len(columns):,} columns of numbers. The lab shows two of them."
        self.picker = FeaturePicker("lab.columns", self, "&Columns")
        self.picker.offer(columns)
        self.picker.changed.connect(self._enable)
        self._column.addWidget(WrappedLabel(about, parent=self))
        self._column.addWidget(self.picker, 0, Qt.AlignmentFlag.AlignLeft)
        self._column.addStretch(1)
        self._column.addWidget(self._buttons)
        self.resize(scaled(400), self.sizeHint().height())
        self._enable()

    def _enable(self) -> None:
        first, second = self.picker.chosen
        self.use.setEnabled(first != second)
        self.use.setToolTip("" if first != second else "Choose two different columns.")

    @property
    def columns(self) -> tuple[str, str]:
        """The names of the chosen columns."""
        return self.picker.names
