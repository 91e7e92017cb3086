"""Dialogs for the tags, the note and the folder of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.run_rows import RunRow
from nfkd.text import name_problem, plain
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_LONGEST = 60
_TAG = Qt.ItemDataRole.UserRole


class _Dialog(QDialog):
    """A dialog with a sentence, an editor, and OK and Cancel."""

    def __init__(self, title: str, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.column = QVBoxLayout(self)
        set_space(self.column, 8, 16)
        self.column.addWidget(PlainLabel(text, self))
        self.problem = WrappedLabel(tone="error", parent=self)
        buttons = QDialogButtonBox.StandardButton
        self.box = QDialogButtonBox(buttons.Ok | buttons.Cancel, self)
        without_icons(self.box)
        self.box.accepted.connect(self.accept)
        self.box.rejected.connect(self.reject)
        limit_size(self, least=(400, 0))

    def finish(self, *editors: QWidget) -> None:
        """Lay out the editors above the buttons."""
        for editor in editors:
            self.column.addWidget(editor)
        self.column.addWidget(self.problem)
        self.column.addWidget(self.box)
        editors[0].setFocus()


def _count(rows: Sequence[RunRow]) -> str:
    return f"“{plain(rows[0].name, _LONGEST)}”" if len(rows) == 1 else f"{len(rows):,} runs"


class TagsDialog(_Dialog):
    """Adds and removes tags; a partly checked one stays with the runs that have it."""

    decided = Signal(list, list)
    """Tags to add, and tags to remove."""

    def __init__(self, rows: Sequence[RunRow], known: Iterable[str], parent: QWidget) -> None:
        super().__init__("Tags", f"Tags of {_count(rows)}:", parent)
        self.setObjectName("runs.tags")
        counts = Counter(tag for row in rows for tag in row.tags)
        self.list = QListWidget(self)
        self.list.setObjectName("runs.tags.list")
        self.list.setAccessibleName("Tags")
        self.list.setProperty("roomy", True)
        self._before: dict[str, Qt.CheckState] = {}
        for tag in sorted({*known, *counts}, key=str.casefold):
            states = Qt.CheckState
            every = counts[tag] == len(rows)
            self._add(tag, states.Checked if every else states.PartiallyChecked if counts[tag] else states.Unchecked)
        self.new = QLineEdit(self)
        self.new.setObjectName("runs.tags.new")
        self.new.setPlaceholderText("New tags, separated by commas")
        self.new.setAccessibleName("New tags")
        self.list.setVisible(self.list.count() > 0)
        self.finish(self.new, self.list)

    def _add(self, tag: str, state: Qt.CheckState) -> None:
        item = QListWidgetItem(plain(tag, _LONGEST), self.list)
        item.setData(_TAG, tag)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(state)
        self._before[tag] = state

    def accept(self) -> None:
        states = {str(item.data(_TAG)): item.checkState() for item in map(self.list.item, range(self.list.count()))}
        changed = {tag: state for tag, state in states.items() if state != self._before[tag]}
        add = [tag for tag, state in changed.items() if state == Qt.CheckState.Checked]
        add += [tag for part in self.new.text().split(",") if (tag := part.strip()) and tag not in add]
        remove = [tag for tag, state in changed.items() if state == Qt.CheckState.Unchecked and tag not in add]
        if add or remove:
            self.decided.emit(add, remove)
        super().accept()


class NoteDialog(_Dialog):
    """Edits the note of runs."""

    decided = Signal(str)

    def __init__(self, rows: Sequence[RunRow], parent: QWidget) -> None:
        notes = {row.note for row in rows}
        more = "" if len(notes) == 1 else " Their notes differ; this one replaces them."
        super().__init__("Note", f"Note of {_count(rows)}.{more}", parent)
        self.setObjectName("runs.note.dialog")
        self._before = notes.pop() if len(notes) == 1 else None
        self.edit = QPlainTextEdit(self._before or "", self)
        self.edit.setObjectName("runs.note.text")
        self.edit.setAccessibleName("Note")
        self.edit.setTabChangesFocus(True)
        self.finish(self.edit)

    def accept(self) -> None:
        text = self.edit.toPlainText().strip()
        if text != self._before:
            self.decided.emit(text)
        super().accept()


class FolderDialog(_Dialog):
    """Asks for a folder below the runs folder, an existing or a new one."""

    decided = Signal(str)
    """The folder with slashes; empty for the runs folder."""

    def __init__(self, rows: Sequence[RunRow], folders: Iterable[str], parent: QWidget) -> None:
        super().__init__("Move to folder", f"Move {_count(rows)} to a folder below the runs folder:", parent)
        self.setObjectName("runs.folder.dialog")
        self.edit = QComboBox(self)
        self.edit.setObjectName("runs.folder.name")
        self.edit.setEditable(True)
        self.edit.addItems([folder for folder in folders if folder])
        self.edit.setCurrentText("")
        self.edit.setAccessibleName("Folder")
        line = self.edit.lineEdit()
        if line is not None:
            line.setPlaceholderText("Empty: the runs folder itself")
        self.edit.editTextChanged.connect(lambda _text: self.problem.setText(""))
        self.finish(self.edit)

    def accept(self) -> None:
        parts = [part.strip() for part in self.edit.currentText().replace("\\", "/").split("/") if part.strip()]
        problem = next((found for part in parts if (found := name_problem(part))), "")
        if problem:
            self.problem.setText(f"The name of a folder {problem}.")
            return
        self.decided.emit("/".join(parts))
        super().accept()
