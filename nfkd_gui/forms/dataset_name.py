"""The dialog that gives a data set a name, or another one."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLineEdit, QVBoxLayout, QWidget

from nfkd.config.datasets import dataset_name_problems
from nfkd.text import sentence
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_WIDTH = 420


class DatasetNameDialog(QDialog):
    """Asks for a name; a wrong one cannot be chosen, and one that is taken is replaced knowingly.

    Parameters
    ----------
    model
        Saves the name.
    old
        The present name of the data set that is renamed; empty to save the data of the form.
    """

    def __init__(self, model: DataPreviewModel, parent: QWidget | None = None, *, old: str = "") -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("dataset_name")
        self.setWindowTitle("Rename data set" if old else "Save as named data set")
        self._model, self._old = model, old
        self._verb = "Rename" if old else "Save"
        self._line = QLineEdit(old, self)
        self._line.selectAll()
        self._line.setObjectName("dataset_name.line")
        self._line.setAccessibleName("Name of the data set")
        self._line.setAcceptDrops(False)
        self._message = WrappedLabel(tone="error", parent=self)
        self._message.setObjectName("dataset_name.message")
        self._message.setMinimumHeight(2 * self._message.fontMetrics().lineSpacing())  # so that nothing moves
        self._message.setAlignment(Qt.AlignmentFlag.AlignTop)
        buttons = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(buttons.Save | buttons.Cancel, parent=self)
        self._save = self._buttons.button(buttons.Save)
        self._save.setObjectName("dataset_name.save")
        without_icons(self._buttons)
        column = QVBoxLayout(self)
        set_space(column, 8, 16)
        label = PlainLabel("&Name", self)
        label.setBuddy(self._line)
        for widget in (label, self._line, self._message, self._buttons):
            column.addWidget(widget)
        limit_size(self, least=(_WIDTH, 0))
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._line.textChanged.connect(self._check)
        self._check()

    def accept(self) -> None:
        """Save the data set, or rename it; the dialog stays open if that fails."""
        name = self._line.text().strip()
        if self._model.rename_named(self._old, name) if self._old else self._model.save_named(name):
            super().accept()

    def _check(self) -> None:
        name = self._line.text().strip()
        problems = dataset_name_problems(name, replace=True)
        taken = not problems and name != self._old and bool(dataset_name_problems(name, replace=False))
        message = "" if not name or not problems else sentence(problems[0].message)
        if taken:
            message = f"There is a data set “{name}” already. It will be replaced."
        self._message.set_tone("warning" if taken else "error")
        self._message.setText(message)
        self._save.setText("Replace" if taken else self._verb)
        self._save.setEnabled(not problems and name != self._old)
