"""The menu of a panel: copy its picture, save the picture, the numbers or a moving picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMainWindow, QMenu, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.csv_files import Table, write_csv
from nfkd_gui.model.export_files import ExportError
from nfkd_gui.widgets.error_dialog import ErrorDialog
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.figure import draw_image, picture_writer
from nfkd_gui.widgets.saving import SaveJob

_PICTURES = ("PNG, twice the size on the screen (*.png)", "SVG, with text and lines (*.svg)")
_EMPTY = "The panel shows nothing yet."
_MESSAGE = 5000
"""Milliseconds in the status bar."""
Save = Callable[[Path], None]


class PanelMenu(QMenu):
    """Filled when it opens, from what the panel has then."""

    job_started = Signal(object)
    """A `SaveJob`."""
    saved = Signal(str)
    """The path of a file."""
    failed = Signal(object)
    """An `ErrorInfo`, which is shown."""

    folder = str(Path.home())
    """Where the last file was saved, from any panel."""

    def __init__(self, panel: Exportable, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._panel, self._name = panel, name
        self.setObjectName(f"{name}.menu")
        self.setToolTipsVisible(True)
        self.aboutToShow.connect(self.refill)

    def refill(self) -> None:
        """List what the panel can save now."""
        self.clear()
        panel = self._panel
        if options := panel.options():
            self.addActions(options)
            self.addSeparator()
        figure = panel.figure()
        copy = self._add(self, "copy", "&Copy picture", "Copy the picture, without controls, to the clipboard.")
        save = self._add(self, "picture", "Save &picture …", "Save as PNG or SVG, in the colours that are shown.")
        for action in (copy, save):
            self._offer(action, figure is not None)
        if figure is not None:
            copy.triggered.connect(partial(self._copy, figure))
            save.triggered.connect(partial(self._ask, "", _PICTURES, self._save_picture))
        if panel.has_numbers:
            tables = {name: partial(self._save_table, name) for name in panel.numbers()}
            self._list("numbers", "Save &numbers", "Save as CSV, with all digits.", "CSV table (*.csv)", tables)
        if panel.has_animations:
            films = {name: partial(self._save_animation, name) for name in panel.animations()}
            self._list("animation", "Save &animation", "Save as a GIF that repeats.", "Animated GIF (*.gif)", films)

    def _list(self, name: str, text: str, help_: str, kind: str, saves: dict[str, Save]) -> None:
        """Add one entry, or a menu with an entry for each of several."""
        if len(saves) <= 1:
            action = self._add(self, name, f"{text} …", help_)
            self._offer(action, bool(saves))
            for save in saves.values():
                action.triggered.connect(partial(self._ask, "", (kind,), save))
            return
        menu = self.addMenu(text)
        menu.setToolTipsVisible(True)
        for title, save in saves.items():
            action = self._add(menu, f"{name}.{title}", f"{title} …".replace("&", "&&"), help_)
            action.triggered.connect(partial(self._ask, title, (kind,), save))

    def _add(self, menu: QMenu, name: str, text: str, help_: str) -> QAction:
        action = menu.addAction(text)
        action.setObjectName(f"{self._name}.{name}")
        action.setToolTip(help_)
        return action

    @staticmethod
    def _offer(action: QAction, possible: bool) -> None:
        action.setEnabled(possible)
        if not possible:
            action.setToolTip(_EMPTY)

    # --- what the entries do --------------------------------------------------------------------------------------

    def _copy(self, figure: QWidget, _checked: bool = False) -> None:
        QGuiApplication.clipboard().setImage(draw_image(figure))
        self._say("The picture is in the clipboard")

    def _ask(self, title: str, kinds: Sequence[str], save: Save, _checked: bool = False) -> None:
        """Ask for a file; its name is proposed from the run, the panel and the step."""
        stem = f"{self._panel.export_name()}{f'-{title.lower()}' if title else ''}".replace(" ", "-")
        dialog = QFileDialog(_main_window(self), "Save", str(Path(PanelMenu.folder) / stem), ";;".join(kinds))
        dialog.setObjectName("save")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.filterSelected.connect(lambda kind: dialog.setDefaultSuffix(_ending_of(kind)))
        dialog.setDefaultSuffix(_ending_of(kinds[0]))
        dialog.fileSelected.connect(lambda path: save(Path(path)))
        dialog.open()

    def _save_picture(self, path: Path) -> None:
        figure = self._panel.figure()
        if figure is None:
            return
        try:
            writer = picture_writer(figure, path, path.stem)
        except ExportError as error:
            self._fail(error.info)
            return
        self._start(path).write(writer)

    def _save_table(self, name: str, path: Path) -> None:
        table: Table | None = self._panel.numbers().get(name)
        if table is not None:
            self._start(path).write(lambda target, progress: write_csv(target, table, progress))

    def _save_animation(self, name: str, path: Path) -> None:
        prepare = self._panel.animations().get(name)
        if prepare is not None:
            job = self._start(path)
            prepare(job.write, job.fail)

    def _start(self, path: Path) -> SaveJob:
        PanelMenu.folder = str(path.parent)
        job = SaveJob(path, _main_window(self))
        job.saved.connect(self._show_saved)
        job.failed.connect(self._fail)
        self.job_started.emit(job)
        return job

    def _show_saved(self, path: str) -> None:
        self._say(f"Saved {path}")
        self.saved.emit(path)

    def _fail(self, error: ErrorInfo) -> None:
        ErrorDialog(error, (), _main_window(self)).open()
        self.failed.emit(error)

    def _say(self, text: str) -> None:
        window = _main_window(self)
        if isinstance(window, QMainWindow):
            window.statusBar().showMessage(text, _MESSAGE)


def _ending_of(kind: str) -> str:
    return kind.rpartition("*.")[2].rstrip(")")


def _main_window(widget: QWidget) -> QWidget:
    """Return the outermost window: a floating panel has one of its own, and so has each workspace."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget
