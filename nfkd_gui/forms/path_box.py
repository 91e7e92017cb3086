"""The editor of a path: typed, chosen in a dialog, or dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QToolButton, QWidget

from nfkd.files import is_folder, is_regular
from nfkd_gui.forms.fields import PathKind
from nfkd_gui.theme import fix_size, repolish, set_space
from nfkd_gui.widgets.file_target import FileTarget, machine_of
from nfkd_gui.widgets.number_box import HEIGHT

_TIPS: dict[PathKind, str] = {
    "file": "Choose a file.",
    "folder": "Choose a folder.",
    "run": "Choose the folder of a run, or a file of weights.",
}


class PathBox(QWidget, FileTarget):
    """A line for the path, and a Browse button. A file that is dropped on it replaces the whole path.

    While the engine is on another machine (`machine_of`), a path can only be typed.

    Parameters
    ----------
    kind
        What the path names; for ``run`` a menu asks whether to choose a run's folder or a file of weights.
    title
        The field's title, for the dialog and the button.

    Attributes
    ----------
    start_folder
        Returns the dialog's first folder while no path is written.
    """

    changed = Signal()

    def __init__(self, kind: PathKind, *, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind: PathKind = kind
        self._title = title
        self.start_folder: Callable[[], str] = lambda: str(Path.home())
        self.line = QLineEdit(self)
        self.line.setAcceptDrops(False)  # a line edit would insert the file's address at the pointer
        self.setAcceptDrops(True)
        self.line.textEdited.connect(lambda _text: self.changed.emit())
        self.browse = QToolButton(self)
        self.browse.setText("Browse ▾" if kind == "run" else "Browse …")
        self.browse.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.browse.setAccessibleName(f"Browse for {title}")
        self.browse.setToolTip(_TIPS[kind])
        self.choices = self._make_choices() if kind == "run" else None
        self.browse.clicked.connect(self._browse)
        self.setFocusPolicy(self.line.focusPolicy())
        self.setFocusProxy(self.line)
        for widget in (self.line, self.browse):
            fix_size(widget, height=HEIGHT)
        layout = QHBoxLayout(self)
        set_space(layout, 4)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)

    def show_machine(self) -> None:
        """Show whether the path refers to another machine."""
        machine = machine_of(self)
        self.line.setPlaceholderText(f"Path on {machine}" if machine else "")
        self.browse.setVisible(not machine)  # a dialog cannot show files there

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.show_machine()

    def _make_choices(self) -> QMenu:
        menu = QMenu(self)  # not set as the button's menu: Qt would draw a second arrow over the text
        menu.setAccessibleName(f"Browse for {self._title}")
        menu.addAction("&Run's folder …").triggered.connect(lambda: self.ask(folder=True))
        menu.addAction("&File of weights …").triggered.connect(lambda: self.ask(folder=False))
        return menu

    def value(self) -> str:
        """Return the written path."""
        return self.line.text()

    def set_value(self, value: object) -> None:
        if str(value) != self.line.text():
            self.line.setText(str(value))

    def takes(self, paths: Sequence[str]) -> bool:
        """Return whether dragged files, given by their paths, are one that fits this field."""
        if len(paths) != 1 or not paths[0] or machine_of(self):
            return False
        path = Path(paths[0])
        return {"file": is_regular(path), "folder": is_folder(path)}.get(self.kind, path.exists())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.takes([url.toLocalFile() for url in event.mimeData().urls()]):
            self._mark(True)
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        del event
        self._mark(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._mark(False)
        event.acceptProposedAction()
        self._chosen(event.mimeData().urls()[0].toLocalFile())

    def _mark(self, target: bool) -> None:
        """Show on the line whether a drop would go there."""
        self.line.setProperty("target", target)
        repolish(self.line)

    def setToolTip(self, text: str) -> None:
        super().setToolTip(text)
        self.line.setToolTip(text)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.line.setAccessibleName(name)

    def setAccessibleDescription(self, description: str) -> None:
        super().setAccessibleDescription(description)
        self.line.setAccessibleDescription(description)

    def _browse(self) -> None:
        if self.choices is None:
            self.ask(folder=self.kind == "folder")
            return
        self.choices.popup(self.browse.mapToGlobal(self.browse.rect().bottomLeft()))
        self.choices.setActiveAction(self.choices.actions()[0])

    def ask(self, *, folder: bool) -> None:
        """Open a dialog to choose a path."""
        kinds = QFileDialog.FileMode
        dialog = QFileDialog(self.window(), self._title, self._start(folder=folder))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(kinds.Directory if folder else kinds.ExistingFile)
        dialog.fileSelected.connect(self._chosen)
        dialog.open()

    def _chosen(self, path: str) -> None:
        self.line.setText(path)
        self.changed.emit()

    def _start(self, *, folder: bool) -> str:
        path = Path(self.line.text()).expanduser()
        if not self.line.text() or not path.is_absolute():
            return self.start_folder()
        return str(path if folder else path.parent)
