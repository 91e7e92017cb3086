"""The main window: a header, the start page and the workspaces Design, Train, Compare and Learn."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QSize, Qt, QUrl, Signal
from PySide6.QtGui import QAction, QCloseEvent, QDesktopServices, QGuiApplication, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QMenu, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.text import plain
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.model.gradient_shares import GradientShares
from nfkd_gui.model.lesson_runs import unpack_run
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import apply_theme, gap, set_space
from nfkd_gui.widgets.file_target import set_machine
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window import menus, parts
from nfkd_gui.window.actions import Actions
from nfkd_gui.window.closing import ask_quit, tell_that_training_goes_on
from nfkd_gui.window.design import DesignWorkspace
from nfkd_gui.window.drop_target import DropTarget
from nfkd_gui.window.engine_menu import EngineMenu
from nfkd_gui.window.engine_status import EngineStatusLabel
from nfkd_gui.window.error_dialogs import ErrorDialogs
from nfkd_gui.window.experiment_files import ExperimentFiles
from nfkd_gui.window.file_drops import FileDrops
from nfkd_gui.window.header import Header
from nfkd_gui.window.lab_files import LabFiles
from nfkd_gui.window.pages import Pages
from nfkd_gui.window.palette import Palette
from nfkd_gui.window.preferences_dialog import PreferencesDialog
from nfkd_gui.window.presentation import Presentation
from nfkd_gui.window.recovery import Recovery
from nfkd_gui.window.stop_dialog import ask_stop_engine, ask_stop_run
from nfkd_gui.window.sweeps import Sweeps

if TYPE_CHECKING:
    from nfkd_gui.panels.base import Panel
    from nfkd_gui.panels.runs import RunsPanel
    from nfkd_gui.window.compare import CompareWorkspace
    from nfkd_gui.window.learn import LearnWorkspace
    from nfkd_gui.window.start_page import StartPage
    from nfkd_gui.window.train import TrainWorkspace

_TITLE = 80
"""Longest name in the window's title, in characters."""


class MainWindow(QMainWindow):
    """Shows a studio; holds no state except the layout.

    The start page, Train, Compare and Learn are made when they are first wanted, so that the window is shown sooner.

    Attributes
    ----------
    workspaces
        Those that were made, by name.
    view_menu, docks_end
        The View menu, and the line below the docks in it.
    """

    closed = Signal()
    view_menu: QMenu
    docks_end: QAction

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("studio")
        self.studio = studio
        self._may_close = False
        self.errors = ErrorDialogs(studio, self)
        studio.theme_changed.connect(self._apply_theme)  # before the panels connect: they draw with the new palette
        self.actions_ = Actions(studio, self)
        self.files = ExperimentFiles(studio, self)
        self.lab_files = LabFiles(self)
        self.drop_target = DropTarget(self)
        self.file_drops = FileDrops(self)
        self.form = ExperimentForm(studio.experiment, studio.data_preview, self)
        self.form.browse_runs_in(lambda: studio.preferences.runs_folder)
        self.form.show_shares(GradientShares(studio))
        self.sweeps = Sweeps(self)
        self.design = DesignWorkspace(studio, self.form, self)
        self.workspaces: dict[str, Workspace] = {}
        self.workspace = ""
        self._shown = self._has_watched = False
        self._lay_out()
        self._add("design", self.design)
        self._connect()
        self._show_title()
        self.open_workspace("design")
        if "geometry" in studio.preferences.layout:
            self.restoreGeometry(_from_hex(studio.preferences.layout["geometry"]))

    # --- construction -----------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.menu = QMenu(self)
        self.engine_menu = EngineMenu(self.studio, self)
        menus.build(self)
        menus.add_shortcuts(self)
        self.header = Header(self.studio, self.actions_, self.menu, self.engine_menu, self)
        self.pages = Pages(self)
        self.setMenuWidget(self.header)
        self.recovery = Recovery(self)
        self.setCentralWidget(self._centre())
        self.engine_status = EngineStatusLabel(self.studio, self)
        self.statusBar().addWidget(gap(self, width=8))
        self.statusBar().addWidget(self.recovery.kept)
        self.statusBar().addPermanentWidget(self.sweeps.button)
        self.statusBar().addPermanentWidget(self.engine_status)
        self.statusBar().setSizeGripEnabled(False)
        self.presentation = Presentation(self)
        self.resize(QSize(1440, 900).boundedTo(QGuiApplication.primaryScreen().availableSize()))

    def _centre(self) -> QWidget:
        """Return the note about unsaved changes above the pages."""
        centre = QWidget(self)
        column = QVBoxLayout(centre)
        set_space(column, 0)
        column.addWidget(self.recovery.note)
        column.addWidget(self.pages, 1)
        return centre

    def _connect(self) -> None:
        studio, actions = self.studio, self.actions_
        studio.view_changed.connect(self._show_view)
        studio.failed.connect(self.show_error)
        studio.experiment.file_changed.connect(self._show_title)
        studio.rows_changed.connect(self._offer_workspaces)
        studio.accepted.connect(self._watch)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_theme_changed)
        self.design.architecture.flow_wanted.connect(self._show_layer)
        self.files.failed.connect(self.show_error)
        self.files.opened.connect(lambda: self.open_workspace("design"))
        self.files.run_chosen.connect(self.open_run)
        self.files.lab_chosen.connect(self.lab_files.open)
        self.files.message.connect(self.show_message)
        studio.message.connect(self.show_message)
        self.drop_target.dropped.connect(self.file_drops.take)
        self.setAcceptDrops(True)
        self.drop_target.adapt = self.file_drops.adapt
        studio.machines.changed.connect(self._show_machine)
        self._show_machine()
        self.header.chosen.connect(self.open_workspace)
        actions.start.triggered.connect(lambda: self.open_workspace(""))
        actions.stop.triggered.connect(lambda: ask_stop_run(studio, self))
        actions.stop_engine.triggered.connect(lambda: ask_stop_engine(studio, self))
        actions.quit.triggered.connect(self.close)
        actions.palette.triggered.connect(self._open_palette)
        self.design.search.clicked.connect(actions.palette.trigger)
        actions.preferences.triggered.connect(lambda: PreferencesDialog(studio, self).open())
        self.engine_menu.managed.connect(lambda: PreferencesDialog(studio, self, page="engines").open())
        actions.stack.triggered.connect(lambda _on: self.train.stack_all())
        actions.tile.triggered.connect(lambda _on: self.train.tile_all())
        actions.reset.triggered.connect(self._reset_layout)
        actions.presentation.toggled.connect(self.presentation.show_full)
        actions.runs_folder.triggered.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(studio.preferences.runs_folder))
        )

    def _show_machine(self) -> None:
        """Note to which machine paths refer."""
        host = self.studio.machines.host
        set_machine(self, host.name if host is not None else "")
        for box in self.findChildren(PathBox):
            box.show_machine()

    # --- pages ----------------------------------------------------------------------------------------------------

    @cached_property
    def start_page(self) -> StartPage:
        """The start page."""
        return parts.make_start_page(self)

    @cached_property
    def train(self) -> TrainWorkspace:
        """The workspace that watches one run."""
        train = parts.make_train(self)
        self._add("train", train, train.tiles)
        return train

    @cached_property
    def runs(self) -> RunsPanel:
        """The table of runs."""
        return parts.make_runs(self)

    @cached_property
    def compare(self) -> CompareWorkspace:
        """The workspace with the table of runs."""
        compare = parts.make_compare(self)
        self._add("compare", compare)
        return compare

    @cached_property
    def learn(self) -> LearnWorkspace:
        """The workspace with the lessons and the lab."""
        learn = parts.make_learn(self)
        self._add("learn", learn)
        return learn

    def _add(self, name: str, workspace: Workspace, *inside: Workspace) -> None:
        """Add a workspace; `inside` are workspaces in it."""
        self.workspaces[name] = workspace
        self.pages.add(workspace)
        if name != "compare":
            menus.add_docks(self, *inside, workspace)
        if self._shown:
            self._restore(name)

    def _restore(self, name: str) -> None:
        """Give a workspace its first layout, then that of the last window."""
        workspace, layout = self.workspaces[name], self.studio.preferences.layout
        workspace.keep_first_layout()
        if name in layout:
            workspace.restore(layout[name])

    def open_workspace(self, name: str) -> None:
        """Show a workspace, or the start page for an empty name; one that has nothing to show yet is not opened."""
        if name and name not in self._offered():
            return
        self.workspace = name
        self.pages.show_page(getattr(self, name or "start_page"))
        self.header.show_workspace(name, self._offered())
        menus.share_undo(self)
        self._show_title()

    def _offered(self) -> list[str]:
        """Return the workspaces with something to show."""
        return ["design", "train", *(["compare"] if self.studio.rows else []), "learn"]

    def _offer_workspaces(self) -> None:
        if self.workspace == "compare" and not self.studio.rows:
            self.open_workspace("design")
        self.header.show_workspace(self.workspace, self._offered())

    def _watch(self, shown: bool) -> None:
        """Show the run that was started, if the view has changed to it."""
        if shown:
            self.open_workspace("train")

    def _show_layer(self, role: str, layer: str) -> None:
        """Show the states after a layer in Train."""
        self.open_workspace("train")
        self.train.show_layer(role, layer)

    def _open_palette(self) -> None:
        palette = Palette(self)
        palette.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        palette.open_over(self)

    def open_preset(self, name: str, start: bool = False) -> None:
        """Open a preset in Design, and start it if wanted."""
        self.files.open(name, self.studio.run_experiment if start else None)

    def open_file(self, path: str) -> None:
        """Open an experiment file in Design, after a question about unsaved changes."""
        self.files.open(path)

    def open_run(self, run: str) -> None:
        """Open a run, given by its folder, in Train."""
        self.studio.open_run(run)
        self.open_workspace("train")

    def open_lesson_run(self, name: str) -> None:
        """Open a recorded run that comes with the lessons, in Train."""
        try:
            run = str(unpack_run(name))
            if not self.studio.machines.refuse_file(run):
                self.open_run(run)
        except OSError as error:
            title = "The recorded run cannot be opened"
            self.show_error(ErrorInfo(title=title, cause=str(error), action="Free some disk space, and try again."))

    def use_data(self, table: dict[str, Any]) -> None:
        """Make a ``[data]`` table the data set of the experiment, and show it in Design."""
        experiment = self.studio.experiment
        experiment.amend("data", experiment.document | {"data": table})
        self.choose_data()

    def choose_data(self) -> None:
        self.open_workspace("design")
        self.design.outline.select("data")

    def open_field(self, path: str) -> None:
        """Show a field of the experiment in Design."""
        self.open_workspace("design")
        self.design.open_field(path)

    # --- what is shown --------------------------------------------------------------------------------------------

    @property
    def panels(self) -> list[Panel]:
        """The panels of the run."""
        return self.train.panels

    def show_log(self) -> None:
        self.train.show_log()

    def show_message(self, text: str) -> None:
        self.statusBar().showMessage(plain(text), 5000)

    def _show_view(self) -> None:
        if self.studio.view is None:
            return
        if not self.workspace and not self._has_watched:  # a run that goes on from an earlier window
            self.open_workspace("train")
        self._has_watched = True

    def _show_title(self) -> None:
        experiment = self.studio.experiment
        self.setWindowModified(experiment.dirty)
        name = plain(experiment.path.name if experiment.path else experiment.name, _TITLE)
        self.setWindowTitle(f"{name.replace('[*]', '[*][*]')}[*] – NFKD")  # Qt shows the unsaved mark at [*]

    def _apply_theme(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            preferences = self.studio.preferences
            apply_theme(app, preferences.theme, self.presentation.scale(preferences.scale))
        self.actions_.refresh_icons()
        self.header.restyle()

    def _system_theme_changed(self) -> None:
        if self.studio.preferences.theme == "system":
            self.studio.theme_changed.emit()

    # --- questions and errors --------------------------------------------------------------------------------------

    def show_error(self, error: ErrorInfo) -> None:
        """Show an error; at most one dialog per title at a time."""
        self.errors.show(error)

    # --- layout ---------------------------------------------------------------------------------------------------

    def _layout(self) -> dict[str, str]:
        states = {name: workspace.layout_state() for name, workspace in self.workspaces.items()}
        geometry = bytes(self.saveGeometry().toHex().data()).decode()
        return self.studio.preferences.layout | states | {"geometry": geometry}

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.drop_target.watch()
        if not self._shown:
            self._shown = True
            self.recovery.offer()
            for name in self.workspaces:
                self._restore(name)

    def _reset_layout(self) -> None:
        if self.workspace:
            self.workspaces[self.workspace].reset()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.actions_.presentation.isChecked():
            self.presentation.leave()
            return
        super().keyPressEvent(event)

    def createPopupMenu(self) -> QMenu | None:  # type: ignore[override]
        return None  # the View menu has the same entries, with shortcuts

    # --- closing --------------------------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._may_close and self.studio.ends_with_connection:
            event.ignore()
            ask_quit(self._discard_and_close, self)
            return
        if not self._may_close and tell_that_training_goes_on(self.studio, self.close, self):
            event.ignore()
            return
        if not self._may_close and not self.files.may_discard(self._close_now):
            event.ignore()
            return
        self.presentation.leave()
        self.studio.prefer(layout=self._layout())
        event.accept()
        self.closed.emit()

    def _close_now(self) -> None:
        self._may_close = True
        self.close()

    def _discard_and_close(self) -> None:
        if self.files.may_discard(self._close_now):
            self._close_now()


def _from_hex(text: str) -> QByteArray:
    return QByteArray.fromHex(QByteArray(text.encode("ascii", "ignore")))
