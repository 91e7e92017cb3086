"""The dialog of the trash: runs to restore, and a button to empty it."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.comparing import EmptyTrash, ListTrash, RunsMoved, TrashList
from nfkd.protocol.requests import Reply
from nfkd.text import plain
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_bytes, format_measure, format_time
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.dialogs import question, without_icons
from nfkd_gui.widgets.labels import WrappedLabel, tip

_RUN = Qt.ItemDataRole.UserRole
_LONGEST = 100


class TrashDialog(QDialog):
    """Lists the runs in the trash of the runs folder, the last one first."""

    restore_wanted = Signal(list)
    """Directories in the trash."""
    emptied = Signal()

    def __init__(self, studio: Studio, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("runs.trash")
        self.setWindowTitle("Trash")
        self._studio, self._closed = studio, False
        self._text = WrappedLabel("Reading the trash …", "plain", self)
        self.list = QListWidget(self)
        self.list.setObjectName("runs.trash.list")
        self.list.setAccessibleName("Runs in the trash")
        self.list.setProperty("roomy", True)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.itemSelectionChanged.connect(self._refresh)
        self._restore = self._button("restore", "Restore", "Move the selected runs back to where they were.")
        self._restore.clicked.connect(self._want)
        self._empty = self._button("empty", "Empty …", "Move everything to the trash of the system.")
        self._empty.clicked.connect(self._ask)
        close = self._button("close", "Close", "")
        close.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        set_space(buttons, 8)
        for button in (self._restore, self._empty):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(close)
        column = QVBoxLayout(self)
        set_space(column, 8, 16)
        column.addWidget(self._text)
        column.addWidget(self.list, 1)
        column.addLayout(buttons)
        limit_size(self, least=(480, 320))
        self.finished.connect(self._note_closed)
        self.read()

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"runs.trash.{name}")
        button.setToolTip(help_)
        button.setAutoDefault(False)
        return button

    def _note_closed(self) -> None:
        self._closed = True

    def read(self) -> None:
        """Ask for the list."""
        self._refresh()
        self._studio.ask(ListTrash(folder=str(self._studio.listed_folder)), self._take, self._studio.failed.emit)

    def _take(self, reply: Reply) -> None:
        if not isinstance(reply, TrashList) or self._closed:
            return
        self.list.clear()
        for row in reply.rows:
            test = f", {format_measure(row.student_test)} {row.unit}" if row.student_test is not None else ""
            text = f"{row.name}  ·  {row.data}{test}  ·  {format_time(row.created, time.time())}"
            item = QListWidgetItem(plain(text, _LONGEST), self.list)
            item.setData(_RUN, row.run)
            item.setToolTip(tip(row.run))
        count = len(reply.rows)
        runs = f"{count:,} {'run' if count == 1 else 'runs'}"
        self._text.setText(f"{runs}, {format_bytes(reply.size)}." if count else "The trash is empty.")
        self._refresh()

    def _refresh(self) -> None:
        self._restore.setEnabled(bool(self.list.selectedItems()))
        self._empty.setEnabled(self.list.count() > 0)

    def _want(self) -> None:
        self.restore_wanted.emit([str(item.data(_RUN)) for item in self.list.selectedItems()])

    def note_restored(self, _moved: RunsMoved) -> None:
        """Read the list again."""
        if not self._closed:
            self.read()

    def _ask(self) -> None:
        count = self.list.count()
        text = f"Move {count:,} {'run' if count == 1 else 'runs'} to the trash of the system?"
        box = question(self, "Empty the trash", text, "NFKD cannot bring them back then.")
        box.setObjectName("runs.trash.ask")
        empty = box.addButton("Empty", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        without_icons(box)
        empty.clicked.connect(self._do_empty)
        box.open()

    def _do_empty(self) -> None:
        request = EmptyTrash(folder=str(self._studio.listed_folder))
        self._studio.ask(request, self._note_emptied, self._studio.failed.emit)

    def _note_emptied(self, _reply: Reply) -> None:
        self.emptied.emit()
        if not self._closed:
            self.read()
