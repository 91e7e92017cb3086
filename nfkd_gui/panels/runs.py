"""The runs panel: a table of runs, and actions on the selected one."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QModelIndex, QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLineEdit,
    QMenu,
    QMessageBox,
    QPushButton,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.toml import toml_document
from nfkd.protocol.events import ErrorInfo, RunRow
from nfkd.protocol.requests import OpenRun, Reply, Snapshot
from nfkd_gui.model.csv_files import Table, runs_table
from nfkd_gui.model.run_states import LIVE, RESUMABLE
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.reuse_teacher import with_teacher
from nfkd_gui.panels.runs_cells import ChipCell, GapCell
from nfkd_gui.panels.runs_model import CREATED, GAP, RUN_ROLE, VERDICT, RunsModel, SortedRuns
from nfkd_gui.theme import gap, scaled, set_space
from nfkd_gui.widgets.dialogs import question, without_icons
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ElidedLabel, WrappedLabel

_Action = tuple[str, str, str, QKeySequence | QKeySequence.StandardKey | Qt.Key, Callable[[], None]]
"""Name, text, tooltip, shortcut and function."""
_MAX_UNREADABLE = 3
"""Unreadable runs that are listed with the reason; more are only counted."""
_ROW, _NAME = 34, 208
_EMPTY = "No runs here yet. Press Run in Design, or start here:"
_NOT_FOUND = "No run has all of these words in its name, data, flows, loss, state or verdict."


class RunsPanel(QWidget, Exportable):
    """Opens, resumes, duplicates, renames and deletes runs.

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
    """

    has_numbers = True
    message = Signal(str)
    opened = Signal()
    selected = Signal(str)

    def __init__(
        self, studio: Studio, may_discard: Callable[[Callable[[], None]], bool], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("runs")
        self._studio = studio
        self._may_discard = may_discard
        self._model = RunsModel(studio, self)
        self._sorted = SortedRuns(self._model)
        self.table = self._make_table()
        self._empty = WrappedLabel(_EMPTY, parent=self)
        self._start = QPushButton("Run the open experiment", self)
        self._start.setToolTip("Start the experiment that is open in Design.")
        self._start.setObjectName("runs.start")
        self._start.clicked.connect(studio.run_experiment)
        self._clear = QPushButton("Clear the filter", self)
        self._clear.setObjectName("runs.clear")
        self._count = ElidedLabel(parent=self)
        self._count.setObjectName("runs.count")
        self._unreadable = WrappedLabel(tone="warning", parent=self)
        self._actions = self._make_actions()
        self._find = self._make_filter()
        self._lay_out()
        self._sorted.modelReset.connect(self._restore_selection)
        self._chosen = ""
        self.table.selectionModel().currentRowChanged.connect(self._choose)
        studio.rows_changed.connect(self._refresh)
        studio.renamed.connect(self._keep_chosen)
        studio.row_changed.connect(self._refresh_actions)
        studio.view_changed.connect(self.choose_shown)
        studio.engine_changed.connect(self._refresh_actions)
        studio.theme_changed.connect(self._restyle, Qt.ConnectionType.QueuedConnection)
        self._restyle()
        self._refresh()

    # --- construction ------------------------------------------------------------------------------------------

    def _make_table(self) -> QTableView:
        table = QTableView(self)
        table.setObjectName("runs.table")
        table.setAccessibleName("Runs")
        table.setModel(self._sorted)
        table.setSortingEnabled(True)
        table.sortByColumn(CREATED, Qt.SortOrder.DescendingOrder)
        for column, cell in ((VERDICT, ChipCell(table)), (GAP, GapCell(table))):
            table.setItemDelegateForColumn(column, cell)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        header.resizeSection(0, scaled(_NAME))
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._show_menu)
        table.doubleClicked.connect(lambda _index: self.open_chosen())
        return table

    def _action_table(self) -> list[_Action]:
        return [
            ("open", "Open", "Show this run in the panels.", Qt.Key.Key_Return, self.open_chosen),
            ("continue", "Resume", "Continue from the last checkpoint.", QKeySequence(), self.resume_chosen),
            (
                "duplicate",
                "Duplicate as experiment",
                "Load its settings into the form.",
                QKeySequence(),
                self.duplicate_chosen,
            ),
            (
                "teach",
                "Use as teacher",
                "Use this run's teacher, architecture and weights, in the form's experiment.",
                QKeySequence(),
                self.reuse_teacher,
            ),
            ("rename", "Rename …", "Rename the run and its folder.", Qt.Key.Key_F2, self.rename_chosen),
            ("delete", "Delete …", "Move it to the trash.", QKeySequence.StandardKey.Delete, self.delete_chosen),
        ]

    def _make_actions(self) -> dict[str, QAction]:
        actions: dict[str, QAction] = {}
        for name, text, tip, shortcut, act in self._action_table():
            action = QAction(text, self)
            action.setObjectName(f"runs.{name}")
            action.setToolTip(tip)
            action.setShortcut(shortcut)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(lambda _checked=False, act=act: act())
            self.table.addAction(action)
            actions[name] = action
        return actions

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        set_space(line, 4, 8, 8, 8, 8)
        for action in self._actions.values():
            button = QToolButton(self)
            button.setDefaultAction(action)
            button.setAutoRaise(True)
            button.setObjectName(f"{action.objectName()}.button")
            button.setAccessibleName(action.text())
            line.addWidget(button)
        line.addWidget(gap(self, width=8))
        line.addWidget(self._find, 2)
        line.addWidget(self._count, 1)
        layout = QVBoxLayout(self)
        set_space(layout, 0)
        layout.addLayout(line)
        for label in (self._empty, self._unreadable):
            place = QVBoxLayout()
            set_space(place, 0, 12, 8, 12, 8)
            place.addWidget(label)
            layout.addLayout(place)
        for button in (self._start, self._clear):
            layout.addWidget(button, alignment=Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.table, 1)
        layout.addStretch(0)

    def _make_filter(self) -> QLineEdit:
        find = QLineEdit(self)
        find.setObjectName("runs.filter")
        find.setPlaceholderText("Filter by name, data, loss, state …")
        find.setAccessibleName("Filter the runs")
        find.setToolTip("Shows runs that have all of these words in name, data, flows, loss, state or verdict.")
        find.setClearButtonEnabled(True)
        find.textChanged.connect(self._filter)
        self._clear.clicked.connect(find.clear)
        return find

    def _filter(self, text: str) -> None:
        self._sorted.find(text)
        self._restore_selection()
        self._refresh()

    # --- for the menu ---------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self.table if self._sorted.rowCount() else None

    def numbers(self) -> dict[str, Table]:
        """Return the runs that are shown, in the order of the table."""
        indexes = (self._sorted.index(row, 0) for row in range(self._sorted.rowCount()))
        rows = [self._studio.rows[str(index.data(RUN_ROLE))] for index in indexes]
        return {"Runs": runs_table(rows)} if rows else {}

    # --- actions --------------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> RunRow | None:
        """The selected run."""
        return self._studio.rows.get(self._chosen)

    def open_chosen(self) -> None:
        """Show the selected run in the panels."""
        if self.chosen is not None:
            self._studio.open_run(self.chosen.run)
            self.opened.emit()

    def resume_chosen(self) -> None:
        """Resume the selected run from its checkpoint."""
        if self.chosen is not None and self.chosen.state in RESUMABLE:
            self._studio.resume_from_disk(self.chosen.run)

    def duplicate_chosen(self) -> None:
        """Load the selected run's experiment into the form."""
        self._with_snapshot(lambda snapshot: self._replace_experiment(snapshot.config, snapshot.row.name))

    def reuse_teacher(self) -> None:
        """Use the selected run's teacher in the form's experiment."""
        self._with_snapshot(self._replace_teacher)

    def _with_snapshot(self, use: Callable[[Snapshot], None]) -> None:
        def opened(reply: Reply) -> None:
            if isinstance(reply, Snapshot):
                use(reply)

        if self.chosen is not None:
            self._studio.ask(OpenRun(run=self.chosen.run), opened, self._studio.failed.emit)

    def _replace_teacher(self, snapshot: Snapshot) -> None:
        experiment = self._studio.experiment
        try:
            document = with_teacher(experiment.document, snapshot)
        except ConfigError as error:
            title = f"The teacher of “{snapshot.row.name}” cannot be used"
            self._studio.failed.emit(ErrorInfo(title=title, cause=str(error), action="Choose another run."))
            return
        experiment.amend("teacher", document)
        self.message.emit(f"The teacher is now that of “{snapshot.row.name}”, with its weights")

    def _replace_experiment(self, text: str, name: str) -> None:
        try:
            config = ExperimentConfig.from_toml(text)
        except ConfigError as error:
            title = f"The experiment of “{name}” cannot be used"
            self._studio.failed.emit(ErrorInfo(title=title, cause=str(error), action="The run itself stays readable."))
            return

        def replace() -> None:
            # Through TOML, like an opened file: the form needs lists where the model has tuples.
            self._studio.experiment.replace(toml_document(config.to_toml()), dirty=True)

        if self._may_discard(replace):
            replace()

    def rename_chosen(self) -> None:
        """Ask for a new name and rename the selected run."""
        row = self.chosen
        if row is None or row.state in LIVE:
            return
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Rename run")
        dialog.setLabelText("New name of the run and of its folder:")
        dialog.setTextValue(row.name)
        dialog.textValueSelected.connect(
            lambda name: self._studio.rename_run(row.run, name.strip()) if name.strip() not in {"", row.name} else None
        )
        dialog.open()
        for box in dialog.findChildren(QDialogButtonBox):  # they exist only once it is open
            without_icons(box)

    def delete_chosen(self) -> None:
        """Move the selected run to the trash after a confirmation."""
        row = self.chosen
        if row is None or row.state in LIVE:
            return
        box = question(self, "Delete run", f"Move “{row.name}” to the trash?", row.run)
        box.setObjectName("delete")
        delete = box.addButton("Move to trash", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        without_icons(box)
        delete.clicked.connect(lambda: self._studio.delete_run(row.run))
        box.open()

    # --- display --------------------------------------------------------------------------------------------------

    def _choose(self, current: QModelIndex, _before: QModelIndex) -> None:
        if current.isValid():
            self._set_chosen(current.data(RUN_ROLE) or "")
        self._refresh_actions()

    def choose_shown(self) -> None:
        """Select the run that the panels show."""
        if self._studio.view is not None:
            self._set_chosen(self._studio.view.row.run)
            self._restore_selection()
        self._refresh_actions()

    def _set_chosen(self, run: str) -> None:
        self._chosen = run
        self.selected.emit(run)

    def _keep_chosen(self, old: str, new: str) -> None:
        """Keep a run selected that was renamed."""
        if self._chosen == old:
            self._set_chosen(new)

    def _restore_selection(self) -> None:
        index = self._sorted.mapFromSource(self._model.index_of(self._chosen))
        with QSignalBlocker(self.table.selectionModel()):
            self.table.setCurrentIndex(index)
        self.table.viewport().update()

    def _show_menu(self, point: QPoint) -> None:
        if not self.table.indexAt(point).isValid():
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions(list(self._actions.values()))
        menu.popup(self.table.viewport().mapToGlobal(point))

    def _refresh(self) -> None:
        count, shown = len(self._studio.rows), self._sorted.rowCount()
        self._empty.setText(_NOT_FOUND if count else _EMPTY)
        self._empty.setVisible(not shown)
        self._start.setVisible(not count)
        self._clear.setVisible(bool(count and not shown))
        self.table.setVisible(bool(shown))
        runs = f"{count:,} {'run' if count == 1 else 'runs'}"
        self._count.setText(f"{shown:,} of {runs}" if shown != count else runs)
        unreadable = self._studio.unreadable
        more = len(unreadable) - _MAX_UNREADABLE
        rest = [f"{more} more runs cannot be read."] if more > 0 else []
        self._unreadable.setText("\n".join([*unreadable[:_MAX_UNREADABLE], *rest]))
        self._unreadable.setVisible(bool(unreadable))
        self._refresh_actions()

    def _refresh_actions(self, _run: str = "") -> None:
        row = self.chosen
        ready = self._studio.ready and row is not None
        for action in self._actions.values():
            action.setEnabled(ready)
        if row is not None:
            idle = ready and row.state not in LIVE
            self._actions["continue"].setEnabled(ready and row.state in RESUMABLE)
            self._actions["rename"].setEnabled(idle)
            self._actions["delete"].setEnabled(idle)

    def _restyle(self) -> None:
        self.table.verticalHeader().setDefaultSectionSize(scaled(_ROW))
        for name, action in self._actions.items():
            action.setIcon(icon(name))
