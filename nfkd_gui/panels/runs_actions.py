"""What can be done with the runs that are selected in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QInputDialog, QWidget

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.toml import toml_document
from nfkd.protocol.comparing import LabelRuns, MoveRuns, RestoreRuns, RunsMoved, TrashRuns, WriteReport
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import OpenRun, Reply, Request, Snapshot
from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.run_groups import parent_of
from nfkd_gui.model.run_states import LIVE, RESUMABLE
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.reuse_teacher import with_teacher
from nfkd_gui.panels.runs_evaluate import EvaluateDialog
from nfkd_gui.panels.runs_labels import FolderDialog, NoteDialog, TagsDialog
from nfkd_gui.panels.runs_trash import TrashDialog
from nfkd_gui.widgets.dialogs import without_icons

_KINDS = ("Web page (*.html)", "PDF (*.pdf)")
_LIVE = "it is in training or queued; stop it first"
_FAILED, _MOST = "failed", 8
"""Runs whose failure is explained in one message."""


class RunActions(QObject):
    """Acts on the selected runs.

    Parameters
    ----------
    selected
        Returns the selected runs, from top to bottom.
    may_discard
        As in `RunsPanel`.

    Attributes
    ----------
    trashed
        Moves to the trash that can be undone, the last one at the end; each is a list of directories in the trash.
    """

    message = Signal(str)
    opened = Signal()
    copy_wanted = Signal(object)
    """The rows of runs to copy to this machine."""
    trash_changed = Signal()
    reported = Signal(str)
    """The path of a report."""

    def __init__(
        self,
        studio: Studio,
        compare: CompareModel,
        selected: Callable[[], list[RunRow]],
        may_discard: Callable[[Callable[[], None]], bool],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._studio, self._compare, self._window = studio, compare, parent
        self._selected, self._may_discard = selected, may_discard
        self.trashed: list[list[str]] = []

    # --- one run --------------------------------------------------------------------------------------------------

    @property
    def single(self) -> RunRow | None:
        """The selected run, or the first of several."""
        return next(iter(self._selected()), None)

    def open(self) -> None:
        """Show the selected run in Train."""
        if self.single is not None:
            self._studio.open_run(self.single.run)
            self.opened.emit()

    def resume(self) -> None:
        """Resume the selected run from its checkpoint."""
        if self.single is not None and self.single.state in RESUMABLE:
            self._studio.resume_from_disk(self.single.run)

    @property
    def sweep_folder(self) -> str:
        """The folder of the selected run, in which a sweep may be; empty for a run outside a folder of its own."""
        row = self.single
        if row is None or not self._compare.folder_of(row):
            return ""
        folder = PurePath(parent_of(row.run))
        return str(folder.parent if folder.name == _FAILED else folder)  # where a sweep keeps failed runs

    def continue_sweep(self) -> None:
        """Continue the sweep in the folder of the selected run; the engine refuses a folder without one."""
        if self.sweep_folder:
            self._studio.queue.continue_sweep(self.sweep_folder)

    def duplicate(self) -> None:
        """Load the selected run's experiment into the form."""
        self._with_snapshot(lambda snapshot: self._replace_experiment(snapshot.config, snapshot.row.name))

    def reuse_teacher(self) -> None:
        """Use the selected run's teacher in the form's experiment."""
        self._with_snapshot(self._replace_teacher)

    def evaluate(self) -> None:
        """Let the user choose metrics that the engine adds to the selected runs."""
        rows = {row.run: row for row in self._selected()}
        if rows:
            EvaluateDialog(self._studio, rows, self._window).open()

    def copy_here(self) -> None:
        """Let the user copy the selected runs from the engine's machine to this one."""
        if self._selected():
            self.copy_wanted.emit(self._selected())

    def _with_snapshot(self, use: Callable[[Snapshot], None]) -> None:
        def opened(reply: Reply) -> None:
            if isinstance(reply, Snapshot):
                use(reply)

        if self.single is not None:
            self._studio.ask(OpenRun(run=self.single.run), opened, self._studio.failed.emit)

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
            self.message.emit(f"The settings of “{name}” are in Design")

        if self._may_discard(replace):
            replace()

    def rename(self) -> None:
        """Ask for a new name and rename the selected run."""
        row = self.single
        if row is None or row.state in LIVE:
            return
        dialog = QInputDialog(self._window)
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

    # --- labels and folders ---------------------------------------------------------------------------------------

    def tag(self) -> None:
        """Ask for tags of the selected runs."""
        rows = self._selected()
        known = {tag for row in self._studio.rows.values() for tag in row.tags}
        dialog = TagsDialog(rows, known, self._window)
        dialog.decided.connect(lambda add, remove: self._label(rows, add=add, remove=remove))
        self._open(dialog)

    def write_note(self) -> None:
        """Ask for the note of the selected runs."""
        rows = self._selected()
        dialog = NoteDialog(rows, self._window)
        dialog.decided.connect(lambda text: self._label(rows, note=text))
        self._open(dialog)

    def _label(self, rows: list[RunRow], **changes: object) -> None:
        request = LabelRuns(runs=[row.run for row in rows], **changes)  # type: ignore[arg-type]
        self._studio.ask(request, lambda _reply: None, self._studio.failed.emit)

    def move(self) -> None:
        """Ask for a folder, and move the selected runs to it."""
        rows, live = self._idle()
        if rows or live:
            dialog = FolderDialog(rows or self._selected(), self._compare.folders(), self._window)
            dialog.decided.connect(lambda folder: self._move(rows, live, folder))
            self._open(dialog)

    def _move(self, rows: list[RunRow], live: dict[str, str], folder: str) -> None:
        where = str(self._studio.listed_folder / folder)
        request = MoveRuns(runs=[row.run for row in rows], folder=where)

        def done(moved: RunsMoved) -> None:
            self._tell(moved.moved, {**live, **moved.failed}, f"moved to {folder or 'the runs folder'}")

        self._send(request, done, live, "moved", ask=bool(rows))

    # --- the trash ------------------------------------------------------------------------------------------------

    def delete(self) -> None:
        """Move the selected runs to the trash, from which `undo` brings them back."""
        rows, live = self._idle()

        def done(moved: RunsMoved) -> None:
            if moved.moved:
                self.trashed.append(list(moved.moved.values()))
                self.trash_changed.emit()
            self._tell({}, {**live, **moved.failed}, "moved to the trash")

        request = TrashRuns(folder=str(self._studio.listed_folder), runs=[row.run for row in rows])
        self._send(request, done, live, "moved to the trash", ask=bool(rows))

    def undo(self) -> None:
        """Restore the runs that were moved to the trash last."""
        if self.trashed:
            self.restore(self.trashed[-1])

    def restore(self, runs: list[str], then: Callable[[RunsMoved], None] | None = None) -> None:
        """Restore runs, given by their directories in the trash."""

        def done(moved: RunsMoved) -> None:
            gone = set(runs) - set(moved.failed)
            left = [[run for run in each if run not in gone] for each in self.trashed]
            self.trashed = [each for each in left if each]
            self.trash_changed.emit()
            self._tell(moved.moved, moved.failed, "restored")
            if then is not None:
                then(moved)

        self._send(RestoreRuns(runs=list(runs)), done, {}, "restored", ask=bool(runs))

    def show_trash(self) -> None:
        """Show what is in the trash."""
        dialog = TrashDialog(self._studio, self._window)
        dialog.restore_wanted.connect(lambda runs: self.restore(runs, dialog.note_restored))
        dialog.emptied.connect(self._note_emptied)
        self._open(dialog)

    def _note_emptied(self) -> None:
        self.trashed.clear()
        self.trash_changed.emit()

    def _idle(self) -> tuple[list[RunRow], dict[str, str]]:
        """Return the selected runs that can be moved, and why the others cannot, by directory."""
        rows = self._selected()
        return [row for row in rows if row.state not in LIVE], {row.run: _LIVE for row in rows if row.state in LIVE}

    def _send(
        self, request: Request, done: Callable[[RunsMoved], None], live: dict[str, str], what: str, *, ask: bool
    ) -> None:
        if not ask:
            self._tell({}, live, what)
            return

        def take(reply: Reply) -> None:
            if isinstance(reply, RunsMoved):
                done(reply)
                self._studio.list_runs()

        self._studio.ask(request, take, self._studio.failed.emit)

    def _tell(self, moved: Mapping[str, str], failed: Mapping[str, str], what: str) -> None:
        """Say what was done, and in one message what was not."""
        if moved:
            self.message.emit(f"{_runs(len(moved))} {what}")
        if failed:
            lines = [f"{PurePath(run).name}: {why}" for run, why in list(failed.items())[:_MOST]]
            more = [f"{len(failed) - _MOST} more runs"] if len(failed) > _MOST else []
            title = f"{_runs(len(failed))} {'was' if len(failed) == 1 else 'were'} not {what}"
            self._studio.failed.emit(ErrorInfo(title=title, cause="\n".join([*lines, *more])))

    # --- reports --------------------------------------------------------------------------------------------------

    def reported_runs(self) -> list[str]:
        """Return the runs of a report: those of the groups in the comparison, else the selected ones."""
        groups = self._compare.chosen_groups()
        return [run for group in groups for run in group.runs] or [row.run for row in self._selected()]

    def ask_report(self) -> None:
        """Ask for a file, and write a report of the runs to it."""
        runs = self.reported_runs()
        if not runs:
            return
        name = f"report of {PurePath(runs[0]).name}" if len(runs) == 1 else f"report of {len(runs)} runs"
        start = str(Path(self._studio.listed_folder) / f"{name}.html".replace(" ", "-"))
        dialog = QFileDialog(self._window, "Report", start, ";;".join(_KINDS))
        dialog.setObjectName("runs.report.file")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.filterSelected.connect(lambda kind: dialog.setDefaultSuffix("pdf" if "pdf" in kind else "html"))
        dialog.setDefaultSuffix("html")
        dialog.fileSelected.connect(lambda path: self.write_report(runs, path))
        dialog.open()

    def write_report(self, runs: list[str], path: str) -> None:
        """Write a report; its path is announced when it is complete."""
        self.message.emit(f"Writing {PurePath(path).name} …")
        request = WriteReport(runs=runs, path=path)
        self._studio.ask(request, lambda _reply: self.reported.emit(path), self._studio.failed.emit)

    @staticmethod
    def _open(dialog: QDialog) -> None:
        dialog.open()


def _runs(count: int) -> str:
    return f"{count:,} {'run' if count == 1 else 'runs'}"
