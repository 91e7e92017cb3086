"""The dialog that chooses the columns of the table of runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSignalBlocker, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QHBoxLayout,
    QLineEdit,
    QListView,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd_gui.model.run_columns import describe_column
from nfkd_gui.model.setting_names import is_setting
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.labels import tip

_NAME, _FIND = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
Index = QModelIndex | QPersistentModelIndex


class _Found(QSortFilterProxyModel):
    """The columns that contain every word of a text."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._words: list[str] = []

    def find(self, text: str) -> None:
        self._words = text.casefold().split()
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        text = self.sourceModel().index(source_row, 0, source_parent).data(_FIND)
        return all(word in text for word in self._words)


class ColumnsDialog(QDialog):
    """Lists every column, setting and figure; changes show at once."""

    changed = Signal(list)
    """The names of the chosen columns; none for the default ones."""
    equal_hidden = Signal(bool)

    def __init__(self, names: Collection[str], shown: Sequence[str], *, hide_equal: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("runs.columns.dialog")
        self.setWindowTitle("Columns")
        self._shown = list(shown)
        self._items = QStandardItemModel(self)
        self._fill(names)
        self._found = _Found(self)
        self._found.setSourceModel(self._items)
        self.search = QLineEdit(self)
        self.search.setObjectName("runs.columns.find")
        self.search.setPlaceholderText("Find a setting or a metric")
        self.search.setAccessibleName("Find a column")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._found.find)
        self.list = QListView(self)
        self.list.setObjectName("runs.columns.list")
        self.list.setAccessibleName("Columns")
        self.list.setProperty("roomy", True)
        self.list.setModel(self._found)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setUniformItemSizes(True)
        self.equal = QCheckBox("Hide equal columns", self)
        self.equal.setObjectName("runs.columns.equal")
        self.equal.setToolTip("Hide columns in which all listed runs have the same value.")
        self.equal.setChecked(hide_equal)
        self.equal.toggled.connect(self.equal_hidden)
        self._items.itemChanged.connect(self._note)
        self._lay_out()

    def _lay_out(self) -> None:
        reset, close = QPushButton("Default columns", self), QPushButton("Close", self)
        reset.setObjectName("runs.columns.reset")
        reset.setToolTip("Show the first columns again, as many as have room.")
        reset.setAutoDefault(False)
        reset.clicked.connect(self._reset)
        close.clicked.connect(self.accept)
        line = QHBoxLayout()
        set_space(line, 8)
        line.addWidget(reset)
        line.addStretch(1)
        line.addWidget(close)
        column = QVBoxLayout(self)
        set_space(column, 8, 16)
        for widget in (self.search, self.list, self.equal):
            column.addWidget(widget)
        column.addLayout(line)
        limit_size(self, least=(420, 480))

    def _fill(self, names: Collection[str]) -> None:
        """List the columns that are shown in their order, then the others by title."""
        rest = sorted({*names} - {*self._shown}, key=lambda name: (is_setting(name), describe_column(name).long_title))
        for name in (*self._shown, *rest):
            if name == "name":
                continue
            column = describe_column(name)
            item = QStandardItem(column.long_title)
            item.setData(name, _NAME)
            item.setData(f"{column.long_title} {name}".casefold(), _FIND)
            item.setToolTip(tip("\n".join(text for text in (column.tip, name) if text)))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name in self._shown else Qt.CheckState.Unchecked)
            self._items.appendRow(item)

    def _note(self, item: QStandardItem) -> None:
        name, checked = str(item.data(_NAME)), item.checkState() == Qt.CheckState.Checked
        if checked and name not in self._shown:
            self._shown.append(name)
        elif not checked and name in self._shown:
            self._shown.remove(name)
        self.changed.emit(list(self._shown))

    def _reset(self) -> None:
        self.changed.emit([])

    def show_chosen(self, shown: Sequence[str]) -> None:
        """Check the columns that are shown now."""
        self._shown = list(shown)
        with QSignalBlocker(self._items):
            for number in range(self._items.rowCount()):
                item = self._items.item(number)
                here = item.data(_NAME) in self._shown
                item.setCheckState(Qt.CheckState.Checked if here else Qt.CheckState.Unchecked)
        self.list.viewport().update()
