"""The dialog that renames and removes the user's named data sets."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.text import plain
from nfkd_gui.forms.dataset_name import DatasetNameDialog
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.dialogs import question, without_icons
from nfkd_gui.widgets.labels import WrappedLabel, tip

_WIDTH, _HEIGHT = 440, 360
_NOTE = (
    "Renaming and removing change only the name: the data's files stay. An experiment file that names the data set by "
    "its old name then shows a problem at Data."
)


class DatasetListDialog(QDialog):
    """Lists the named data sets; one of them can be renamed, or its name removed."""

    def __init__(self, model: DataPreviewModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("dataset_list")
        self.setWindowTitle("My data sets")
        self._model = model
        self._list = QListWidget(self)
        self._list.setObjectName("dataset_list.names")
        self._list.setAccessibleName("Named data sets")
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._rename = self._button("rename", "&Rename …", "Give the chosen data set another name.")
        self._remove = self._button("remove", "Re&move …", "Remove the chosen name; the data's files stay.")
        self._lay_out()
        self._rename.clicked.connect(self._ask_name)
        self._remove.clicked.connect(self._ask_removal)
        self._list.itemActivated.connect(self._ask_name)
        self._list.currentItemChanged.connect(self._enable)
        model.datasets_changed.connect(self._fill)
        self._fill()
        self._list.setFocus()

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"dataset_list.{name}")
        button.setToolTip(help_)
        button.setAutoDefault(False)
        return button

    def _lay_out(self) -> None:
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, parent=self)
        buttons.rejected.connect(self.reject)
        close = buttons.button(QDialogButtonBox.StandardButton.Close)
        close.setObjectName("dataset_list.close")
        close.setAutoDefault(False)  # else Return in the list closes the dialog
        without_icons(buttons)
        line = QHBoxLayout()
        set_space(line, 8)
        line.addWidget(self._rename)
        line.addWidget(self._remove)
        line.addStretch(1)
        line.addWidget(buttons)
        column = QVBoxLayout(self)
        set_space(column, 12, 16)
        column.addWidget(self._list, 1)
        column.addWidget(WrappedLabel(_NOTE, parent=self))
        column.addLayout(line)
        self.resize(scaled(_WIDTH), scaled(_HEIGHT))

    def _fill(self) -> None:
        """List the data sets again; the row of the chosen one stays chosen."""
        row = self._list.currentRow()
        self._list.clear()
        for dataset in self._model.datasets:
            item = QListWidgetItem(plain(dataset.name), self._list)
            item.setData(Qt.ItemDataRole.UserRole, dataset.name)
            item.setToolTip(tip(dataset.problem or dataset.config.strip()))
        self._list.setCurrentRow(min(max(row, 0), self._list.count() - 1))
        self._enable()

    def _enable(self) -> None:
        for button in (self._rename, self._remove):
            button.setEnabled(self._list.currentItem() is not None)

    @property
    def _chosen(self) -> str:
        return str(self._list.currentItem().data(Qt.ItemDataRole.UserRole))

    def _ask_name(self) -> None:
        DatasetNameDialog(self._model, self, old=self._chosen).open()

    def _ask_removal(self) -> None:
        name = self._chosen
        box = question(self, "Remove data set", f"Remove the name “{plain(name)}”?", "The data's files stay.")
        box.setObjectName("dataset_remove")
        remove = box.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)
        remove.setObjectName("dataset_remove.remove")
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        without_icons(box)
        remove.clicked.connect(lambda: self._model.remove_named(name))
        box.open()
