"""The runs panel: the table of runs with its bar, and actions on the selected ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPoint, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QAction, QDesktopServices, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QMenu, QToolButton, QVBoxLayout, QWidget

from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_states import LIVE, RESUMABLE
from nfkd_gui.model.runs_export import latex_table, markdown_table, numbers_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.runs_actions import RunActions
from nfkd_gui.panels.runs_columns import ColumnsDialog
from nfkd_gui.panels.runs_model import RunsModel
from nfkd_gui.panels.runs_notice import RunsNotice
from nfkd_gui.panels.runs_toolbar import RunsToolbar
from nfkd_gui.panels.runs_view import RunsTree
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.panel_dock import IconButton
from nfkd_gui.widgets.status_note import StatusNote

_Action = tuple[str, str, str, Sequence[QKeySequence | QKeySequence.StandardKey | Qt.Key], Callable[[], None]]
"""Name, text, tooltip, shortcuts and function."""
_BUTTONS = ("tag", "note", "move")
_MENU = ("open", "continue", "continue_sweep", "duplicate", "teach", "teacher_run", "evaluate", "copy_here", "",
         "rename", "tag", "note", "move", "delete", "", "trash")  # fmt: skip
COPY_HELP = "Copy the files of the selected runs from the engine's machine."
PICTURES, HIDE_EQUAL = "pictures", "hide_equal"
"""Options of the table in the preferences."""


class RunsPanel(QWidget, Exportable):
    """Lists runs, chooses those that are compared, and opens, labels, moves and deletes them.

    Parameters
    ----------
    may_discard
        Called before the form's experiment is replaced. It returns True, or asks the user and calls its argument
        if they agree.

    Attributes
    ----------
    message
        Emitted with a message for the status bar.
    opened
        Emitted when the user opens a run.
    selected
        Emitted with the selected run; empty without one.
    counted
        Emitted with a text about how many groups are shown and selected.
    report_offered
        Emitted with the number of runs that `actions_.ask_report` reports on.
    compare
        The groups, and the choice that other panels compare.
    note
        What was moved to the trash, with a link that brings it back; it belongs into the status bar.
    """

    has_numbers = True
    message = Signal(str)
    opened = Signal()
    selected = Signal(str)
    counted = Signal(str)
    report_offered = Signal(int)

    def __init__(
        self, studio: Studio, may_discard: Callable[[Callable[[], None]], bool], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("runs")
        self._studio = studio
        self.compare = CompareModel(studio, self)
        self.model = RunsModel(studio, self.compare, self)
        self.table = RunsTree(self.model, self)
        self.actions_ = RunActions(studio, self.compare, self.table.selected_rows, may_discard, self)
        self.note = StatusNote("runs.note", self)
        self._on_link: Callable[[], object] = self.actions_.undo
        self._current, self._fitted = "", -1
        self._acting = QTimer(self, interval=0, singleShot=True)
        self._acting.timeout.connect(self._follow_table)
        self._actions = self._make_actions()
        self._menu = self._make_menu()
        self.toolbar = RunsToolbar(self.compare, self._actions, _BUTTONS, self._menu, self)
        self._notice = RunsNotice(self)
        self.head_buttons = self._make_head_buttons()
        self._lay_out()
        self._connect()
        self._show_columns()
        self._restyle()
        self._refresh()

    # --- construction ---------------------------------------------------------------------------------------------

    def _action_table(self) -> list[_Action]:
        do, keys = self.actions_, QKeySequence.StandardKey
        return [
            ("open", "Open", "Show this run in Train.", [Qt.Key.Key_Return, Qt.Key.Key_Enter], do.open),
            ("continue", "Resume", "Continue from the last checkpoint.", [], do.resume),
            ("continue_sweep", "Continue the sweep",
             "Train the runs of the sweep in this run's folder that have not ended or have failed.", [],
             do.continue_sweep),
            ("evaluate", "Evaluate …", "Add metrics of samples, latents, fidelity and cost to the selected runs.", [],
             do.evaluate),
            ("duplicate", "Duplicate as experiment", "Load its settings into the form.", [], do.duplicate),
            ("teach", "Use as teacher", "Use this run's teacher, architecture and weights, in the form's experiment.",
             [], do.reuse_teacher),
            ("teacher_run", "Go to teacher's run", "Select the run whose teacher this one uses.", [], self._go_up),
            ("copy_here", "Copy to this machine …", COPY_HELP, [], do.copy_here),
            ("rename", "Rename …", "Rename the run and its folder.", [Qt.Key.Key_F2], do.rename),
            ("tag", "Tag …", "Add and remove tags of the selected runs.", [], do.tag),
            ("note", "Note …", "Write a note for the selected runs.", [], do.write_note),
            ("move", "Move to folder …", "Move the selected runs to a folder below the runs folder.", [], do.move),
            ("delete", "Delete", "Move the selected runs to the trash; Ctrl+Z brings them back.", [keys.Delete],
             do.delete),
            ("trash", "Show trash …", "Restore runs from the trash, or empty it.", [], do.show_trash),
            ("undo", "Undo delete", "Bring back the runs that were deleted last.", [], do.undo),
        ]  # fmt: skip

    def _make_actions(self) -> dict[str, QAction]:
        actions: dict[str, QAction] = {}
        for name, text, help_, shortcuts, act in self._action_table():
            action = QAction(text, self)
            action.setObjectName(f"runs.{name}")
            action.setIconText(text)
            action.setToolTip(help_)
            action.setShortcuts([QKeySequence(key) for key in shortcuts])
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(lambda _checked=False, act=act: act())
            self.table.addAction(action)
            actions[name] = action
        actions["undo"].setShortcut(QKeySequence.StandardKey.Undo)
        actions["undo"].setShortcutContext(Qt.ShortcutContext.WindowShortcut)  # the form's has none in Compare
        return actions

    def _make_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setObjectName("runs.menu")
        menu.setToolTipsVisible(True)
        for name in _MENU:
            if name:
                menu.addAction(self._actions[name])
            else:
                menu.addSeparator()
        return menu

    def _make_head_buttons(self) -> list[QToolButton]:
        columns = IconButton("columns", "Columns", "Choose which settings and metrics are shown.", self)
        columns.setText("Columns")
        columns.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        columns.clicked.connect(self.choose_columns)
        pictures = IconButton("monitor", "Thumbnails", "Show small samples of the students.", self)
        pictures.setCheckable(True)
        pictures.setChecked(self._has_option(PICTURES))
        pictures.toggled.connect(lambda on: self._set_option(PICTURES, on=on))
        for name, button in (("columns", columns), ("pictures", pictures)):
            button.setObjectName(f"runs.{name}")
        return [pictures, columns]

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        set_space(layout, 0)
        layout.addWidget(self.toolbar)
        layout.addWidget(self._notice)
        layout.addWidget(self.table, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        studio, do = self._studio, self.actions_
        self._notice.start.clicked.connect(studio.run_experiment)
        self._notice.clear.clicked.connect(self.toolbar.clear)
        self.note.clicked.connect(self._follow_link)
        do.message.connect(self.message)
        do.opened.connect(self.opened)
        do.trash_changed.connect(self._note_trash)
        do.reported.connect(self._note_report)
        self.compare.groups_changed.connect(self._refresh)
        self.compare.chosen_changed.connect(self._offer_report)
        self.table.opened.connect(do.open)
        self.table.moved.connect(self._keep_order)
        self.table.customContextMenuRequested.connect(self._show_menu)
        selection = self.table.selectionModel()
        selection.currentRowChanged.connect(self._note_current)
        selection.selectionChanged.connect(self._refresh_actions)
        studio.rows_changed.connect(self._refresh)
        studio.renamed.connect(self._keep_current)
        studio.row_changed.connect(self._refresh_actions)
        studio.view_changed.connect(self.choose_shown)
        studio.engine_changed.connect(self._refresh_actions)
        studio.theme_changed.connect(self._restyle, Qt.ConnectionType.QueuedConnection)

    # --- columns --------------------------------------------------------------------------------------------------

    def _has_option(self, name: str) -> bool:
        return name in self._studio.preferences.run_options

    def _set_option(self, name: str, *, on: bool) -> None:
        kept = [option for option in self._studio.preferences.run_options if option != name]
        self._studio.prefer(run_options=[*kept, name] if on else kept)
        self._show_columns()

    def _show_columns(self) -> None:
        self.table.hide_equal = self._has_option(HIDE_EQUAL)
        self.model.pictures = self._has_option(PICTURES)
        self.table.show_columns(self._studio.preferences.run_columns)
        self.table.restyle()

    def choose_columns(self) -> None:
        """Ask which columns are shown."""
        names = {"name", *self.compare.names(), *self.model.columns}
        dialog = ColumnsDialog(names, self.table.chosen_order(), hide_equal=self._has_option(HIDE_EQUAL), parent=self)
        dialog.changed.connect(self._set_columns)
        dialog.changed.connect(lambda _names: dialog.show_chosen(self.table.chosen_order()))
        dialog.equal_hidden.connect(lambda on: self._set_option(HIDE_EQUAL, on=on))
        dialog.open()

    def _set_columns(self, names: list[str]) -> None:
        self._studio.prefer(run_columns=names)
        self._show_columns()

    def _keep_order(self) -> None:
        self.table.adapts = False
        self._studio.prefer(run_columns=self.table.chosen_order())

    # --- for the menu ---------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self.table if self.model.groups else None

    def numbers(self) -> dict[str, Table]:
        """Return all listed groups with the columns that are shown, in the order of the table."""
        return {"Runs": numbers_table(self.model.groups, self.table.visible_order())} if self.model.groups else {}

    def options(self) -> list[QAction]:
        return [
            self._copy_action("markdown", "Copy as &Markdown", markdown_table),
            self._copy_action("latex", "Copy as &LaTeX", latex_table),
        ]

    def _copy_action(self, name: str, text: str, write: Callable[..., str]) -> QAction:
        action = QAction(text, self._menu)
        action.setObjectName(f"runs.{name}")
        action.setToolTip("Copy the listed runs with the columns that are shown.")
        action.setEnabled(bool(self.model.groups))
        action.triggered.connect(lambda: self._copy(write(self.model.groups, self.table.visible_order())))
        return action

    def _copy(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.message.emit("The table is in the clipboard")

    # --- the selected run -----------------------------------------------------------------------------------------

    @property
    def current(self) -> RunRow | None:
        """The run that the inspector shows."""
        return self._studio.rows.get(self._current)

    def _note_current(self) -> None:
        index = self.table.currentIndex()
        if index.isValid():
            self._set_current(self.model.row_of(index).run)
        self._refresh_actions()

    def choose_shown(self) -> None:
        """Select the run that the panels of Train show."""
        if self._studio.view is not None:
            self._set_current(self._studio.view.row.run)
            self._select_current()
        self._refresh_actions()

    def _set_current(self, run: str) -> None:
        self._current = run
        self.selected.emit(run)

    def _keep_current(self, old: str, new: str) -> None:
        """Keep a run selected that was renamed."""
        if self._current == old:
            self._set_current(new)

    def _select_current(self) -> None:
        if self.current is not None and not self.table.selectionModel().hasSelection():
            self.table.select_key(self._current)

    def _go_up(self) -> None:
        """Select the run whose teacher the selected run uses."""
        row = self.actions_.single
        teacher = self.compare.teacher_run(row.run) if row is not None else None
        if teacher is not None and not self.table.select_key(teacher.run):
            self.toolbar.clear()
            self.table.select_key(teacher.run)

    def _show_menu(self, point: QPoint) -> None:
        if self.table.indexAt(point).isValid():
            self._menu.popup(self.table.viewport().mapToGlobal(point))

    # --- the note in the status bar -------------------------------------------------------------------------------

    def _note_trash(self) -> None:
        """Say how many runs the last deletion moved, with a link that undoes it."""
        self._actions["undo"].setEnabled(bool(self.actions_.trashed))
        if not self.actions_.trashed:
            self.note.hide()
            return
        count = len(self.actions_.trashed[-1])
        text = f"{count:,} runs are in the trash" if count > 1 else "One run is in the trash"
        self._on_link = self.actions_.undo
        self.message.emit("")
        self.note.show_note(text, "Undo", "Bring them back (Ctrl+Z).")

    def _note_report(self, path: str) -> None:
        self._on_link = lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(path))
        self.message.emit("")
        self.note.show_note("The report is written", "Open the report", path)

    def _follow_link(self) -> None:
        self._on_link()

    # --- display --------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        count, shown = len(self._studio.rows), len(self.model.groups)
        self._notice.show_state(count, shown, self._studio.unreadable)
        self.table.setVisible(bool(shown))
        self.toolbar.setVisible(bool(count))
        self.toolbar.refresh()
        if len(self.compare.names()) != self._fitted:  # filter and order change no widths
            self._fitted = len(self.compare.names())
            self.table.fit_later()
        else:
            self.table.grow_later()
        self._count()
        self._acting.start()

    def _follow_table(self) -> None:
        """Select the run that the inspector shows, and offer actions, once the table is painted."""
        self._select_current()
        self._refresh_actions()

    def _refresh_actions(self) -> None:
        rows = self.table.selected_rows()
        first = rows[0] if len(rows) == 1 else None
        ready = self._studio.ready and bool(rows)
        one = ready and first is not None
        for name, action in self._actions.items():
            action.setEnabled(ready if name in {*_BUTTONS, "delete", "open", "evaluate", "copy_here"} else one)
        if first is not None:
            self._actions["continue"].setEnabled(one and first.state in RESUMABLE)
            folder = self.actions_.sweep_folder
            self._actions["continue_sweep"].setEnabled(
                one and bool(folder) and not self._studio.queue.is_active(folder)
            )
            self._actions["rename"].setEnabled(one and first.state not in LIVE)
            self._actions["teacher_run"].setEnabled(one and self.compare.teacher_run(first.run) is not None)
        here = self._studio.machines.host is None
        self._actions["copy_here"].setEnabled(ready and not here)
        self._actions["copy_here"].setToolTip("These runs are on this machine." if here else COPY_HELP)
        self._actions["trash"].setEnabled(self._studio.ready)
        self._actions["undo"].setEnabled(self._studio.ready and bool(self.actions_.trashed))
        self._count()
        self._offer_report()

    def _count(self) -> None:
        shown, total = len(self.model.groups), self.compare.total
        noun = ("groups" if self.compare.grouped else "runs").removesuffix("" if total != 1 else "s")
        text = f"{shown:,} of {total:,} {noun}" if shown != total else f"{total:,} {noun}"
        selected = self.table.selected_count()
        self.counted.emit(f"{text}  ·  {selected:,} selected" if selected > 1 else text)

    def _offer_report(self) -> None:
        self.report_offered.emit(len(self.actions_.reported_runs()) if self._studio.ready else 0)

    def _restyle(self) -> None:
        self.table.restyle()
        for name in ("open", "continue", "duplicate", "teach", "rename", "delete"):
            self._actions[name].setIcon(icon(name))
