"""The main window: form left, panels in the middle, runs and inspector right, log below."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSize, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QMenu, QMessageBox, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.text import plain
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import LIVE, Studio
from nfkd_gui.panels import PANELS
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.theme import apply_theme
from nfkd_gui.widgets.dialogs import question, without_icons
from nfkd_gui.widgets.dock import Dock
from nfkd_gui.widgets.error_dialog import ErrorDialog
from nfkd_gui.widgets.workbench import Workbench
from nfkd_gui.window import menus
from nfkd_gui.window.actions import Actions
from nfkd_gui.window.engine_status import EngineStatusLabel
from nfkd_gui.window.experiment_files import ExperimentFiles
from nfkd_gui.window.preferences_dialog import PreferencesDialog
from nfkd_gui.window.run_bar import RunBar
from nfkd_gui.window.stop_dialog import ask_stop

_REFRESH = 50
"""Milliseconds between two refreshes of the panels."""
_LAYOUT_VERSION = 1
_TITLE = 80
"""Longest name in the window's title, in characters."""
_WIDE = 1280
"""Window width, in pixels, above which the side docks are wider."""


class MainWindow(QMainWindow):
    """Shows a studio; holds no state except the layout."""

    closed = Signal()

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("studio")
        self.studio = studio
        self._may_close = False
        self._errors: dict[str, ErrorDialog] = {}
        studio.theme_changed.connect(self._apply_theme)  # before the panels connect: they draw with the new palette
        self.actions_ = Actions(studio, self)
        self.files = ExperimentFiles(studio, self)
        self.form = ExperimentForm(studio.experiment, studio.data_preview, self)
        self.form.browse_runs_in(lambda: studio.preferences.runs_folder)
        self.runs = RunsPanel(studio, self.files.may_discard, self)
        self.inspector = InspectorPanel(studio, self)
        self.log = LogPanel(studio, self)
        self.workbench = Workbench(self)
        self.panels: list[Panel] = [panel(studio, self.workbench) for panel in PANELS]
        self._lay_out()
        self._connect()
        self._refresher = QTimer(self)
        self._refresher.setInterval(_REFRESH)
        self._refresher.timeout.connect(self._refresh)
        self._refresher.start()
        self._first_layout: dict[str, str] = {}
        self._show_title()
        if "geometry" in studio.preferences.layout:
            self.restoreGeometry(_from_hex(studio.preferences.layout["geometry"]))

    # --- construction -----------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.setDockOptions(self.dockOptions() | QMainWindow.DockOption.AllowNestedDocks)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        areas = Qt.DockWidgetArea
        self.docks = {
            "experiment": self._dock("experiment", "Experiment", self.form, areas.LeftDockWidgetArea),
            "runs": self._dock("runs", "Runs", self.runs, areas.RightDockWidgetArea),
            "inspector": self._dock("inspector", "Inspector", self.inspector, areas.RightDockWidgetArea),
            "log": self._dock("log", "Log", self.log, areas.BottomDockWidgetArea),
        }
        self.docks["log"].hide()
        for panel in self.panels:
            self.workbench.add(panel, panel.name, panel.title)
        self.workbench.show_first()
        self.setCentralWidget(self.workbench)
        self.run_bar = RunBar(self.studio, self.actions_, self)
        self.addToolBar(self.run_bar)
        self.engine_status = EngineStatusLabel(self.studio, self)
        self.statusBar().addPermanentWidget(self.engine_status)
        menus.build(self)
        self.resize(QSize(1440, 900).boundedTo(QGuiApplication.primaryScreen().availableSize()))

    def _dock(self, name: str, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> Dock:
        dock = Dock(title, self)
        dock.setObjectName(f"dock.{name}")
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _set_first_sizes(self) -> None:
        """Set the docks' first sizes; Qt ignores this before the window is shown."""
        wide = self.width() >= _WIDE
        sides = [self.docks["experiment"], self.docks["runs"]]
        self.resizeDocks(sides, [352, 368] if wide else [296, 312], Qt.Orientation.Horizontal)
        right = [self.docks["runs"], self.docks["inspector"]]
        self.resizeDocks(right, [self.height() // 2, self.height() // 2], Qt.Orientation.Vertical)

    def _connect(self) -> None:
        studio, actions = self.studio, self.actions_
        studio.view_changed.connect(self._show_view)
        studio.event_applied.connect(self._show_event)
        studio.failed.connect(self.show_error)
        studio.experiment.file_changed.connect(self._show_title)
        studio.engine_changed.connect(self._close_engine_error)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_theme_changed)
        self.files.failed.connect(self.show_error)
        for signal in (self.files.message, self.runs.message):
            signal.connect(lambda text: self.statusBar().showMessage(plain(text), 5000))
        actions.stop.triggered.connect(self._ask_stop)
        actions.stop_engine.triggered.connect(self._ask_stop_engine)
        actions.quit.triggered.connect(self.close)
        actions.preferences.triggered.connect(lambda: PreferencesDialog(studio, self).open())
        actions.stack.triggered.connect(self.workbench.stack)
        actions.tile.triggered.connect(self.workbench.tile)
        actions.reset.triggered.connect(self._reset_layout)
        actions.full_screen.toggled.connect(self._fill_screen)
        actions.runs_folder.triggered.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(studio.preferences.runs_folder))
        )

    # --- what is shown --------------------------------------------------------------------------------------------

    def _show_view(self) -> None:
        for panel in self.panels:
            panel.show_run(self.studio.view)

    def _show_event(self, event: object) -> None:
        for panel in self.panels:
            panel.on_event(event)  # type: ignore[arg-type]

    def _refresh(self) -> None:
        for panel in self.panels:
            if panel.isVisible():
                panel.refresh()

    def _show_title(self) -> None:
        experiment = self.studio.experiment
        self.setWindowModified(experiment.dirty)
        name = plain(experiment.path.name if experiment.path else experiment.name, _TITLE)
        self.setWindowTitle(f"{name.replace('[*]', '[*][*]')}[*] – NFKD")  # Qt shows the unsaved mark at [*]

    def _apply_theme(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            apply_theme(app, self.studio.preferences.theme)
        self.actions_.refresh_icons()

    def _system_theme_changed(self) -> None:
        if self.studio.preferences.theme == "system":
            self.studio.theme_changed.emit()

    def _fill_screen(self, fill: bool) -> None:
        self.showFullScreen() if fill else self.showNormal()

    # --- questions and errors --------------------------------------------------------------------------------------

    def show_error(self, error: ErrorInfo) -> None:
        """Show an error; at most one dialog per title at a time."""
        shown = self._errors.get(error.title)
        if shown is not None:
            shown.raise_()
            return
        lost = self.studio.engine.phase == "lost" and error is self.studio.engine.error
        remedy = ("Restart engine", self.studio.start) if lost else None
        dialog = ErrorDialog(error, remedy, self)
        self._errors[error.title] = dialog
        dialog.finished.connect(lambda _code: self._errors.pop(error.title, None))
        dialog.open()

    def _close_engine_error(self) -> None:
        """Close the dialog about a lost engine once another is ready."""
        if self.studio.ready:
            for dialog in list(self._errors.values()):
                if dialog.has_remedy:
                    dialog.accept()

    def _ask_stop(self) -> None:
        row = self.studio.controlled
        if row is None:
            return
        progress = self.studio.progress.get(row.run)
        stage = progress.stage if progress is not None and row.state != "queued" else ""
        ask_stop(row.name, stage, lambda scope: self.studio.stop(row.run, stage, scope), self)

    def _ask_stop_engine(self) -> None:
        row = self.studio.controlled
        if row is None or row.state not in LIVE:
            self.studio.stop_engine()
            return
        more = "The run keeps its best weights and can be resumed from its checkpoint."
        box = question(self, "Stop engine", f"Stop the engine and “{row.name}”?", more)
        stop = box.addButton("Stop both", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        stop.clicked.connect(self.studio.stop_engine)
        box.open()

    # --- layout ---------------------------------------------------------------------------------------------------

    def _layout(self) -> dict[str, str]:
        state = self.saveState(_LAYOUT_VERSION)
        return {
            "geometry": bytes(self.saveGeometry().toHex().data()).decode(),
            "window": bytes(state.toHex().data()).decode(),
            "panels": bytes(self.workbench.saveState(_LAYOUT_VERSION).toHex().data()).decode(),
        }

    def _restore_docks(self, layout: dict[str, str]) -> None:
        if "window" in layout:
            self.restoreState(_from_hex(layout["window"]), _LAYOUT_VERSION)
        if "panels" in layout:
            self.workbench.restore(_from_hex(layout["panels"]), _LAYOUT_VERSION)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._first_layout:
            self._set_first_sizes()
            self._first_layout = self._layout()
            self._restore_docks(self.studio.preferences.layout)

    def _reset_layout(self) -> None:
        self._restore_docks(self._first_layout)

    def createPopupMenu(self) -> QMenu | None:  # type: ignore[override]
        return None  # the View menu has the same entries, with shortcuts

    # --- closing --------------------------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._may_close and self.studio.ends_with_connection:
            event.ignore()
            self._ask_quit()
            return
        if not self._may_close and not self.files.may_discard(self._close_now):
            event.ignore()
            return
        self._refresher.stop()
        self.studio.prefer(layout=self._layout())
        event.accept()
        self.closed.emit()

    def _close_now(self) -> None:
        self._may_close = True
        self.close()

    def _ask_quit(self) -> None:
        more = "The engine runs inside this window. The run can be resumed from its last checkpoint."
        box = question(self, "Quit", "Quit and end the run?", more)
        quit_ = box.addButton("Quit", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        without_icons(box)
        quit_.clicked.connect(lambda: self.files.may_discard(self._close_now) and self._close_now())
        box.open()


def _from_hex(text: str) -> QByteArray:
    return QByteArray.fromHex(QByteArray(text.encode("ascii", "ignore")))
