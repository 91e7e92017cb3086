"""The studio's state: the engine, the runs, the run that is shown, the experiment that is written. No widgets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal

from nfkd.config import ExperimentConfig
from nfkd.config.toml import toml_document
from nfkd.protocol.data import ListData, PreviewData
from nfkd.protocol.events import (
    DataProgress,
    ErrorInfo,
    Event,
    Gap,
    LogLine,
    Progress,
    RunChanged,
    RunEvent,
    RunFailed,
    RunRemoved,
    RunRow,
    StageStarted,
)
from nfkd.protocol.requests import (
    DeleteRun,
    Describe,
    Done,
    EngineStatus,
    ListRuns,
    OpenRun,
    Pause,
    RenameRun,
    Reply,
    Request,
    Resume,
    ResumeFromDisk,
    Run,
    RunAccepted,
    RunList,
    Snapshot,
    Stop,
)
from nfkd.protocol.view import RunView
from nfkd_gui.link.connection import ClientFactory, Connection, EngineState
from nfkd_gui.link.engine_client import CLIENTS, EngineClient, OnEvent, OnLost
from nfkd_gui.link.mailbox import OnError, OnReply
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.preferences import Preferences, save_preferences

LIVE = frozenset({"queued", "running", "paused"})
"""States of a run that an engine has in hand."""
RESUMABLE = frozenset({"interrupted", "stopped", "failed"})
"""States of a run that can go on from its checkpoint."""


class Studio(QObject):
    """Holds what the window shows, and carries what the user wants to the engine.

    Parameters
    ----------
    preferences, preferences_path
        As loaded, and where changes are saved.
    client_factory
        Makes the connection to the engine; by default the one that `preferences` names.
    """

    engine_changed = Signal()
    rows_changed = Signal()
    """The table of runs changed."""
    row_changed = Signal(str)
    """One row of it did."""
    view_changed = Signal()
    """Another run is shown, or none."""
    event_applied = Signal(object)
    """An event of the shown run, after `view.apply`."""
    progressed = Signal(object)
    """A `Progress` of any run."""
    seed_changed = Signal(int)
    theme_changed = Signal()
    preferences_changed = Signal()
    log_added = Signal(object)
    failed = Signal(object)
    """An `ErrorInfo` that the user must see."""

    def __init__(
        self,
        preferences: Preferences,
        preferences_path: Path,
        client_factory: ClientFactory | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.preferences = preferences
        self._preferences_path = preferences_path
        self._factory = client_factory
        self._connection = Connection(self._make_client, self._take, self)
        self._follow_seed = True
        self._opening = ""
        self._adopt = False
        self.rows: dict[str, RunRow] = {}
        self.unreadable: list[str] = []
        self.progress: dict[str, Progress] = {}
        self.view: RunView | None = None
        self.seed = 1
        self.experiment = Experiment(self._ask_for_form, self)
        self.data_look = DataPreviewModel(self._ask_for_form, self.experiment, self)
        self._connect()

    def _connect(self) -> None:
        connection = self._connection
        connection.changed.connect(self.engine_changed)
        connection.changed.connect(self._say_why_nothing_is_known)
        connection.connected.connect(self._connected)
        connection.dropped.connect(self.data_look.forget_downloads)
        connection.dropped.connect(self.experiment.await_engine)
        connection.failed.connect(self.failed)
        self.data_look.failed.connect(self._data_failed)

    def _make_client(self, on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        return (self._factory or CLIENTS[self.preferences.engine])(on_event, on_lost)

    # --- the engine -------------------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineState:
        """How the engine is."""
        return self._connection.state

    @property
    def ready(self) -> bool:
        """Whether the engine answers."""
        return self.engine.phase == "ready"

    @property
    def outlives_window(self) -> bool:
        """Whether an active run goes on when the window closes."""
        return self._connection.outlives_window

    @property
    def ends_with_connection(self) -> bool:
        """Whether letting the engine go now would end a run."""
        row = self.controlled
        return row is not None and row.state in LIVE and not self.outlives_window

    def start(self) -> None:
        """Connect to the engine, starting it where there is none; `engine_changed` tells how it went.

        The active run, if there is one, is shown; else the run that was shown before a crash. Called again, it
        lets the old connection go first: that is how the engine is restarted.
        """
        self._connection.start()

    def _connected(self, status: EngineStatus) -> None:
        self.list_runs()
        self.experiment.describe()
        self.data_look.list_named()
        self.data_look.look()
        shown = self._opening or status.active
        if shown:
            self.open_run(shown)
        else:
            self._adopt = False  # there is no run in progress whose experiment the form could take over

    def _say_why_nothing_is_known(self) -> None:
        if self.engine.phase == "lost":  # what the form asks is refused with the reason
            self.experiment.describe()
            self.data_look.look()

    async def close(self) -> None:
        """Let the engine go; an active run goes on in its own process."""
        self.experiment.stop()
        self.data_look.stop()
        await self._connection.close()

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Ask the engine; one of the two is called later. `key` is as in `Mailbox.ask`."""
        self._connection.ask(request, on_reply, on_error, key=key)

    def _ask_for_form(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Ask; what is only looked at waits for an engine that starts, and is asked once that is there."""
        if self.engine.phase != "starting" or not isinstance(request, (Describe, PreviewData, ListData)):
            self.ask(request, on_reply, on_error, key=key)

    def _command(self, request: Request) -> None:
        """Ask for something that is done or fails with a dialog."""
        self.ask(request, lambda _reply: None, self.failed.emit)

    def _data_failed(self, error: ErrorInfo) -> None:
        if self.engine.phase != "lost":  # its loss has been told
            self.failed.emit(error)

    def stop_engine(self) -> None:
        """End the engine; an active run is stopped first and keeps its checkpoint."""
        self._connection.stop_engine()

    # --- runs -------------------------------------------------------------------------------------------------

    def list_runs(self) -> None:
        """Ask for the table of runs."""
        self.ask(ListRuns(folder=self.preferences.runs_folder), self._listed, self.failed.emit, key="runs")

    def _listed(self, reply: Reply) -> None:
        if isinstance(reply, RunList):
            foreign = {run: row for run, row in self.rows.items() if row.state in LIVE}
            self.rows = foreign | {row.run: row for row in reply.rows}
            self.unreadable = list(reply.unreadable)
            self.rows_changed.emit()

    def run(self, text: str) -> None:
        """Start or queue an experiment and show it."""
        self._adopt = False
        self.ask(Run(config=text, folder=self.preferences.runs_folder), self._accepted, self.failed.emit)

    def start_preset(self, name: str) -> None:
        """Start a preset, and put it into the form where that loses nothing."""
        config = ExperimentConfig.load(name)
        if not self.experiment.dirty:
            self.experiment.open(name)
        self.run(config.to_toml())

    def resume_from_disk(self, run: str) -> None:
        """Go on with an interrupted, stopped or failed run, and show it."""
        self.ask(ResumeFromDisk(run=run), self._accepted, self.failed.emit)

    def _accepted(self, reply: Reply) -> None:
        if isinstance(reply, RunAccepted):
            self.list_runs()
            self.open_run(reply.run)

    def open_run(self, run: str) -> None:
        """Show a run: a snapshot, then deltas. Before the engine is there, it is shown once it is."""
        self._opening = run
        if self.engine.phase != "starting":
            self.ask(OpenRun(run=run), self._opened, self.failed.emit, key="open")

    def _opened(self, reply: Reply) -> None:
        if not isinstance(reply, Snapshot) or reply.row.run != self._opening:
            return
        again = self.view is not None and self.view.row.run == reply.row.run
        self.view = RunView.from_snapshot(reply)
        self.rows[reply.row.run] = reply.row
        if reply.progress is not None:
            self.progress[reply.row.run] = reply.progress
        self._follow_seed = self._follow_seed or not again
        if self._follow_seed or self.seed not in self.view.seeds:
            self.seed = self._natural_seed()
        adopt, self._adopt = self._adopt, False
        if adopt and not self.experiment.dirty:
            self.experiment.replace(toml_document(reply.config))
        self.rows_changed.emit()
        self.view_changed.emit()

    def adopt_next_run(self) -> None:
        """Put the experiment of the next run that is shown into the form, unless it has been changed by then."""
        self._adopt = True

    def close_run(self) -> None:
        """Show no run."""
        self._opening = ""
        self.view = None
        self.view_changed.emit()

    def rename_run(self, run: str, name: str) -> None:
        """Give a run another name."""
        self.ask(RenameRun(run=run, name=name), lambda _reply: self.list_runs(), self.failed.emit)

    def delete_run(self, run: str) -> None:
        """Move a run to the trash."""
        self.ask(DeleteRun(run=run), self._deleted, self.failed.emit)

    def _deleted(self, reply: Reply) -> None:
        self.list_runs()
        if isinstance(reply, Done) and reply.note:
            title, action = "The run was deleted, but not its folder", "Delete or move these files by hand."
            self.failed.emit(ErrorInfo(title=title, cause=reply.note, action=action))

    # --- the run that the buttons act on --------------------------------------------------------------------------

    @property
    def controlled(self) -> RunRow | None:
        """The run that Pause, Resume and Stop act on: the shown one while it lives, else any that does."""
        if self.view is not None and self.view.row.state in LIVE:
            return self.view.row
        living = [row for row in self.rows.values() if row.state in LIVE]
        living.sort(key=lambda row: row.state == "queued")
        return living[0] if living else None

    def pause(self) -> None:
        """Hold the controlled run at its next step."""
        if self.controlled is not None:
            self._command(Pause(run=self.controlled.run))

    def resume(self) -> None:
        """Let the controlled run go on."""
        if self.controlled is not None:
            self._command(Resume(run=self.controlled.run))

    def stop(self, run: str, stage: str, scope: Literal["stage", "run"]) -> None:
        """End a run, or its stage, if it is still the one that the user was asked about."""
        progress = self.progress.get(run)
        if scope == "stage" and progress is not None and progress.stage != stage:
            return
        self._command(Stop(run=run, scope=scope))

    # --- what is shown --------------------------------------------------------------------------------------------

    def choose_seed(self, seed: int | None) -> None:
        """Show a seed; None follows the one that trains."""
        self._follow_seed = seed is None
        self._show_seed(self._natural_seed() if seed is None else seed)

    @property
    def follows_seed(self) -> bool:
        """Whether the seed that trains is shown."""
        return self._follow_seed

    def _natural_seed(self) -> int:
        if self.view is None:
            return 1
        if self.view.current is not None:
            return self.view.current[0]
        return next(iter(self.view.seeds), 1)

    def _show_seed(self, seed: int) -> None:
        if seed != self.seed:
            self.seed = seed
            self.seed_changed.emit(seed)

    def prefer(self, **changes: object) -> None:
        """Change preferences and save them."""
        before, self.preferences = self.preferences, replace(self.preferences, **changes)  # type: ignore[arg-type]
        try:
            save_preferences(self.preferences, self._preferences_path)
        except OSError as error:
            title, action = "The preferences could not be saved", "They hold until this window closes."
            self.failed.emit(ErrorInfo(title=title, cause=str(error), action=action))
        self.preferences_changed.emit()
        if before.theme != self.preferences.theme:
            self.theme_changed.emit()
        if before.runs_folder != self.preferences.runs_folder and self.ready:
            self.rows.clear()
            self.list_runs()

    # --- events ---------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, Gap):
            self.list_runs()
            if self.view is not None:
                self.open_run(self.view.row.run)
            return
        if isinstance(event, DataProgress):
            self.data_look.take(event)
            return
        shown = self.view if self.view is not None and event.run == self.view.row.run else None
        if shown is not None:
            shown.apply(event)
        self._take_row(event)
        if shown is not None and shown is self.view:
            if isinstance(event, StageStarted) and self._follow_seed:
                self._show_seed(event.seed)
            self.event_applied.emit(event)
        if isinstance(event, LogLine):
            self.log_added.emit(event)
        elif isinstance(event, Progress):
            self.progress[event.run] = event
            self.progressed.emit(event)
        elif isinstance(event, RunFailed):
            self.failed.emit(event.error)

    def _take_row(self, event: RunEvent) -> None:
        match event:
            case RunChanged():
                new = event.run not in self.rows
                self.rows[event.run] = event.row
                self.rows_changed.emit() if new else self.row_changed.emit(event.run)
            case RunRemoved():
                self.rows.pop(event.run, None)
                if self.view is not None and self.view.row.run == event.run:
                    self.open_run(event.new) if event.new else self.close_run()
                self.list_runs()
            case _:
                pass
