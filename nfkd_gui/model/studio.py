"""The studio's state: the engine, the runs, the shown run, the experiment, the preferences. No widgets."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Literal

from PySide6.QtCore import QObject, Signal

from nfkd.config.toml import toml_document
from nfkd.protocol import events, requests
from nfkd.protocol.data import ListData, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd.protocol.view import RunView
from nfkd_gui.link.connection import ClientFactory, Connection, EngineState
from nfkd_gui.link.engine_client import OnError, OnReply
from nfkd_gui.model.autosave import Autosave
from nfkd_gui.model.data_adapter import DataAdapter
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.line_speed import LineSpeed
from nfkd_gui.model.machines import Machines
from nfkd_gui.model.preferences import Preferences, save_preferences
from nfkd_gui.model.run_queue import RunQueueModel
from nfkd_gui.model.run_starter import RunStarter
from nfkd_gui.model.run_states import LIVE, is_controllable
from nfkd_gui.model.time_estimate import TimeEstimateModel
from nfkd_gui.model.timeline import Timeline

_LOG_LINES = 5000


class Studio(QObject):
    """Holds what the window and its panels show, and sends the user's commands to the engine.

    Parameters
    ----------
    preferences, preferences_path
        The loaded preferences, and the file to save changes to.
    client_factory
        Makes the connection to the engine; by default the one that fits the machine and the preferences.
    """

    engine_changed = Signal()
    rows_changed = Signal()
    """The table of runs changed."""
    row_changed = Signal(str)
    """One row of it changed; carries the run."""
    renamed = Signal(str, str)
    """A run has another directory; carries the old and the new one."""
    view_changed = Signal()
    """Another run is shown, or none."""
    event_applied = Signal(object)
    """An event of the shown run was applied to `view`."""
    progressed = Signal(object)
    """A `Progress` of any run."""
    seed_changed = Signal(int)
    theme_changed = Signal()
    preferences_changed = Signal()
    log_added = Signal(object)
    """A `LogLine`."""
    inspection_progressed = Signal(str, float)
    """The ticket of a request about flows, and the share of it that is done."""
    example_chosen = Signal(object)
    """An example of the shown run, an `Origin`, that the user wants to inspect."""
    failed = Signal(object)
    """An `ErrorInfo` to show to the user."""
    accepted = Signal(bool)
    """A run was accepted; carries whether it is shown now, or waits while another run is watched."""
    message = Signal(str)
    """A text for the status bar."""

    def __init__(
        self,
        preferences: Preferences,
        preferences_path: Path,
        client_factory: ClientFactory | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.preferences, self._preferences_path = preferences, preferences_path
        self.machines = Machines(self, client_factory)
        self.connection = Connection(self.machines.make_client, self._apply, self)
        self.line_speed = LineSpeed(self.connection, self)
        self._follow_seed, self._opening, self._adopt = True, "", False
        self.rows: dict[str, events.RunRow] = {}
        self.unreadable: list[str] = []
        self.listed_folder = PurePath()
        self.progress: dict[str, events.Progress] = {}
        self.log: deque[events.LogLine] = deque(maxlen=_LOG_LINES)
        self.log_added.connect(self.log.append)
        self.view: RunView | None = None
        self.seed = 1
        self.experiment = Experiment(self._ask_when_started, self)
        self.data_preview = DataPreviewModel(self._ask_when_started, self.experiment, self)
        self.data_adapter = DataAdapter(self.experiment, self.data_preview, self)
        self.autosave = Autosave(self.experiment, preferences_path.parent, self)
        self.timeline = Timeline(self, self)
        self.queue = RunQueueModel(self)
        self.time_estimate = TimeEstimateModel(self._ask_when_started, self.experiment, self)
        self._starter = RunStarter(self)
        self._connect()

    def _connect(self) -> None:
        connection = self.connection
        connection.changed.connect(self.engine_changed)
        connection.changed.connect(self._show_loss_in_form)
        connection.connected.connect(self._connected)
        connection.dropped.connect(self.data_preview.forget_downloads)
        connection.dropped.connect(self.experiment.clear_error)
        connection.failed.connect(self.failed)
        self.data_preview.failed.connect(self._data_failed)
        self.rows_changed.connect(self._note_busy)
        self.row_changed.connect(self._note_busy)
        self.row_changed.connect(self.queue.follow_row)

    # --- the engine -------------------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineState:
        """The state of the connection to the engine."""
        return self.connection.state

    @property
    def ready(self) -> bool:
        """Whether the engine is connected."""
        return self.engine.phase == "ready"

    @property
    def ends_with_connection(self) -> bool:
        """Whether closing the connection now would end a run."""
        row = self.controlled
        return row is not None and not self.connection.outlives_window

    def start(self) -> None:
        """Connect to the engine, and start it if none runs; `engine_changed` reports the result.

        Shows the active run or, after a crash, the run that was shown before. Call it again to reconnect.
        """
        self.connection.start()

    def switch_engine(self) -> None:
        """Leave the engine, whose runs continue, and connect to that of the machine in use."""
        self.close_run()
        for known in (self.rows, self.progress, self.unreadable):
            known.clear()
        self.rows_changed.emit()
        if self.connection.started:
            self.connection.switch()

    def _connected(self, status: requests.EngineStatus) -> None:
        self.list_runs()
        self.queue.follow(status.queue)
        self.experiment.describe()
        self.data_preview.list_datasets()
        self.data_preview.refresh()
        self.time_estimate.retry()
        run = self._opening or status.active
        if run:
            self.open_run(run)
        else:
            self._adopt = False

    def _show_loss_in_form(self) -> None:
        if self.engine.phase == "lost":  # these requests fail, and the form shows why
            self.experiment.describe()
            self.data_preview.refresh()

    async def close(self) -> None:
        """Disconnect from the engine; an active run continues if the engine has its own process."""
        self.autosave.close()
        self.experiment.stop()
        self.data_preview.stop()
        self.time_estimate.stop()
        await self.connection.close()

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Send a request to the engine; one of the two is called later. `key` is as in `Mailbox.ask`."""
        self.connection.ask(request, on_reply, on_error, key=key)

    def _ask_when_started(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Send a request of the form; while the engine starts, drop those that `_connected` repeats."""
        if not self.engine.connecting or not isinstance(request, (requests.Describe, PreviewData, ListData)):
            self.ask(request, on_reply, on_error, key=key)

    def _command(self, request: Request) -> None:
        """Send a request whose reply holds nothing to show."""
        self.ask(request, lambda _reply: None, self.failed.emit)

    def _data_failed(self, error: ErrorInfo) -> None:
        if self.engine.phase != "lost":  # the loss itself is already shown
            self.failed.emit(error)

    def stop_engine(self) -> None:
        """End the engine; an active run is stopped first and keeps its checkpoint."""
        self.connection.stop_engine()

    # --- runs -------------------------------------------------------------------------------------------------

    def list_runs(self) -> None:
        """Request the table of runs."""
        self.ask(requests.ListRuns(folder=self.machines.runs_folder), self._listed, self.failed.emit, key="runs")

    def _listed(self, reply: Reply) -> None:
        if isinstance(reply, requests.RunList):
            live = {run: row for run, row in self.rows.items() if is_controllable(row)}  # maybe from another folder
            self.rows = live | {row.run: row for row in reply.rows}
            self.listed_folder, self.unreadable = PurePath(reply.folder), list(reply.unreadable)
            self.rows_changed.emit()

    def run(self, text: str) -> None:
        """Start or queue an experiment, given as TOML; its run is shown unless another run of the engine is watched."""
        self._adopt = False
        self.ask(requests.Run(config=text, folder=self.machines.runs_folder), self._accepted, self.failed.emit)

    def resume_from_disk(self, run: str) -> None:
        """Resume an interrupted, stopped or failed run from its checkpoint, and show it."""
        self.ask(requests.ResumeFromDisk(run=run), self._accepted, self.failed.emit)

    def run_experiment(self) -> None:
        """Start the experiment of the form as soon as the engine has found no problem in it; report a problem."""
        self._starter.start()

    def _accepted(self, reply: Reply) -> None:
        if not isinstance(reply, requests.RunAccepted):
            return
        self.list_runs()
        watched = self.view is not None and is_controllable(self.view.row) and self.view.row.run != reply.run
        if watched:
            self.message.emit(f"{Path(reply.run).name} is queued; it starts when the present run has ended")
        else:
            self.open_run(reply.run)
        self.accepted.emit(not watched)

    def open_run(self, run: str) -> None:
        """Show a run: a snapshot first, then its events. While the engine starts, this waits until it is ready."""
        self._opening = run
        if not self.engine.connecting:
            self.ask(requests.OpenRun(run=run), self._opened, self.failed.emit, key="open")

    def _opened(self, reply: Reply) -> None:
        if not isinstance(reply, requests.Snapshot) or reply.row.run != self._opening:
            return
        same_run = self.view is not None and self.view.row.run == reply.row.run
        self.view = RunView.from_snapshot(reply)
        self.rows[reply.row.run] = reply.row
        if reply.progress is not None:
            self.progress[reply.row.run] = reply.progress
        self._follow_seed = self._follow_seed or not same_run
        if self._follow_seed or self.seed not in self.view.seeds:
            self.seed = self._current_seed()
        adopt, self._adopt = self._adopt, False
        if adopt and not self.experiment.dirty:
            self.experiment.replace(toml_document(reply.config))
        self.rows_changed.emit()
        self.view_changed.emit()

    def adopt_next_run(self) -> None:
        """Copy the experiment of the next shown run into the form, unless the form has changed by then."""
        self._adopt = True

    def close_run(self) -> None:
        self._opening = ""
        self.view = None
        self.view_changed.emit()

    def rename_run(self, run: str, name: str) -> None:
        self.ask(requests.RenameRun(run=run, name=name), lambda _reply: self.list_runs(), self.failed.emit)

    def _note_busy(self, _run: str = "") -> None:
        self.time_estimate.note_busy(busy=any(map(is_controllable, self.rows.values())))

    # --- the run that the buttons control ---------------------------------------------------------------------

    @property
    def controlled(self) -> events.RunRow | None:
        """The run that Pause, Resume and Stop act on: the shown run if the engine trains it, else the active run.

        Runs of other processes are never controlled.
        """
        if self.view is not None and is_controllable(self.view.row):
            return self.view.row
        live = [row for row in self.rows.values() if row.state in LIVE and is_controllable(row)]  # few of many
        return min(live, key=lambda row: row.state == "queued", default=None)

    def pause(self) -> None:
        """Pause the controlled run at its next step."""
        if self.controlled is not None:
            self._command(requests.Pause(run=self.controlled.run))

    def resume(self) -> None:
        """Resume the controlled run."""
        if self.controlled is not None:
            self._command(requests.Resume(run=self.controlled.run))

    def stop(self, run: str, seed: int, stage: str, scope: Literal["stage", "run"]) -> None:
        """End a run, or its stage if that is still `stage` of `seed`, the one that the user confirmed."""
        progress = self.progress.get(run)
        if scope == "run" or progress is None or (progress.seed, progress.stage) == (seed, stage):
            self._command(requests.Stop(run=run, scope=scope))

    # --- the shown seed ---------------------------------------------------------------------------------------

    def choose_seed(self, seed: int | None) -> None:
        """Show a seed; None follows the one that trains."""
        self._follow_seed = seed is None
        self._show_seed(self._current_seed() if seed is None else seed)

    @property
    def follows_seed(self) -> bool:
        """Whether the panels follow the seed that trains."""
        return self._follow_seed

    def _current_seed(self) -> int:
        if self.view is None:
            return 1
        if self.view.current is not None:
            return self.view.current[0]
        return next(iter(self.view.seeds), 1)

    def _show_seed(self, seed: int) -> None:
        if seed != self.seed:
            self.seed = seed
            self.seed_changed.emit(seed)

    # --- preferences ------------------------------------------------------------------------------------------

    def prefer(self, **changes: object) -> None:
        """Change preferences, and save them."""
        before, self.preferences = self.preferences, replace(self.preferences, **changes)  # type: ignore[arg-type]
        try:
            save_preferences(self.preferences, self._preferences_path)
        except OSError as error:
            title, action = "The preferences could not be saved", "They apply until this window closes."
            self.failed.emit(ErrorInfo(title=title, cause=str(error), action=action))
        self.preferences_changed.emit()
        if (before.theme, before.scale) != (self.preferences.theme, self.preferences.scale):
            self.theme_changed.emit()
        if before.runs_folder != self.preferences.runs_folder and self.ready and self.machines.host is None:
            self.rows.clear()
            self.list_runs()

    # --- events -----------------------------------------------------------------------------------------------

    def _apply(self, event: events.Event) -> None:
        if isinstance(event, events.Gap):  # events were lost: request everything again
            self.list_runs()
            if self.view is not None:
                self.open_run(self.view.row.run)
            return
        if isinstance(event, events.DataProgress | events.DataReading):
            self.data_preview.show_progress(event)
            return
        if isinstance(event, events.QueueChanged):
            self.queue.follow(event)
            return
        if isinstance(event, events.InspectionProgress):
            self.inspection_progressed.emit(event.ticket, event.share)
            return
        shown = self.view if self.view is not None and event.run == self.view.row.run else None
        if shown is not None:
            shown.apply(event)
        self._apply_to_rows(event)
        if shown is not None and shown is self.view:
            if isinstance(event, events.StageStarted) and self._follow_seed:
                self._show_seed(event.seed)
            self.event_applied.emit(event)
        match event:
            case events.LogLine():
                self.log_added.emit(event)
            case events.Progress():
                self.progress[event.run] = event
                self.progressed.emit(event)
            case events.RunFailed():
                self.failed.emit(event.error)

    def _apply_to_rows(self, event: events.RunEvent) -> None:
        if isinstance(event, events.RunChanged):
            self._change_row(event.row)
        elif isinstance(event, events.RunRemoved):
            self.rows.pop(event.run, None)
            if event.new:
                self.renamed.emit(event.run, event.new)
            if self.view is not None and self.view.row.run == event.run:
                self.open_run(event.new) if event.new else self.close_run()
            self.list_runs()

    def _change_row(self, row: events.RunRow) -> None:
        """Change a row or add it, unless it belongs to a folder that another client watches."""
        if row.run in self.rows:
            self.rows[row.run] = row
            self.row_changed.emit(row.run)
        elif is_controllable(row) or self.listed_folder in PurePath(row.run).parents:
            self.rows[row.run] = row
            self.rows_changed.emit()
