"""The run that is selected in the table: its figures, read from the engine when it is not the opened one."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import ReadFigures, Reply, Snapshot
from nfkd.protocol.view import RunView
from nfkd_gui.model.studio import Studio


class SelectedRun(QObject):
    """Follows the selection; has the signals of `Studio` that tell of the shown run.

    Attributes
    ----------
    view
        The selected run; None without one, and until its figures have arrived.
    problem
        Why the figures cannot be read; empty otherwise.
    """

    view_changed = Signal()
    event_applied = Signal(object)

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self._run = ""
        self.view: RunView | None = None
        self.problem = ""
        studio.view_changed.connect(self._read)
        studio.row_changed.connect(self._on_row)
        studio.rows_changed.connect(self._on_rows)
        studio.event_applied.connect(self._forward)

    def select(self, run: str) -> None:
        """Select a run, or none for an empty text."""
        if run != self._run:
            self._run = run
            self._show(None)
            self._read()

    def _is_opened(self) -> bool:
        view = self._studio.view
        return view is not None and view.row.run == self._run

    def _read(self) -> None:
        """Take the opened run's state, or ask for the figures."""
        if self._is_opened():
            self._show(self._studio.view)
        elif self._run and self._studio.ready:
            self._studio.ask(ReadFigures(run=self._run), self._take, self._refuse, key="figures")

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Snapshot) and reply.row.run == self._run and not self._is_opened():
            self._show(RunView.from_snapshot(reply))

    def _refuse(self, error: ErrorInfo) -> None:
        if not self._is_opened():
            self._show(None, f"{error.title}: {error.cause}")

    def _show(self, view: RunView | None, problem: str = "") -> None:
        self.view, self.problem = view, problem
        self.view_changed.emit()

    def _on_row(self, run: str) -> None:
        if run == self._run and not self._is_opened():
            self._read()

    def _on_rows(self) -> None:
        if self._run and self._run not in self._studio.rows:
            self.select("")

    def _forward(self, event: object) -> None:
        if self._is_opened():
            self.event_applied.emit(event)
