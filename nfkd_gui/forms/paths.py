"""The path of a file or a folder, written or chosen."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget


class PathBox(QWidget):
    """A line for the path, and a button that lets the user browse for it.

    Parameters
    ----------
    folder
        Whether a folder is wanted, not a file.
    title
        What it is called, for the dialog and the button.
    """

    changed = Signal()

    def __init__(self, *, folder: bool, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder, self._title = folder, title
        self.line = QLineEdit(self)
        self.line.textEdited.connect(lambda _text: self.changed.emit())
        self.browse = QToolButton(self)
        self.browse.setText("Browse …")
        self.browse.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.browse.setAccessibleName(f"Browse for {title}")
        self.browse.setToolTip(f"Choose a {'folder' if folder else 'file'}.")
        self.browse.clicked.connect(self.ask)
        self.setFocusProxy(self.line)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)

    def value(self) -> str:
        """Return the path as it is written."""
        return self.line.text()

    def set_value(self, value: object) -> None:
        """Show a path."""
        if str(value) != self.line.text():
            self.line.setText(str(value))

    def setToolTip(self, words: str) -> None:
        super().setToolTip(words)
        self.line.setToolTip(words)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.line.setAccessibleName(name)

    def setAccessibleDescription(self, description: str) -> None:
        super().setAccessibleDescription(description)
        self.line.setAccessibleDescription(description)

    def ask(self) -> None:
        """Let the user choose."""
        kinds = QFileDialog.FileMode
        dialog = QFileDialog(self.window(), self._title, _start(self.line.text(), folder=self._folder))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(kinds.Directory if self._folder else kinds.ExistingFile)
        dialog.fileSelected.connect(self._chosen)
        dialog.open()

    def _chosen(self, path: str) -> None:
        self.line.setText(path)
        self.changed.emit()


def _start(text: str, *, folder: bool) -> str:
    """Return the folder in which the dialog begins."""
    path = Path(text).expanduser()
    if not text or not path.is_absolute():
        return str(Path.home())
    return str(path if folder else path.parent)
