"""The actions behind menus, buttons and shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from nfkd.text import plain
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import tip

Shortcut = str | QKeySequence.StandardKey
_REPORT = "Write a report of the runs that are compared or selected."
_COPY = "Copy the files of the shown run from the engine's machine."
_FOLDER = "Show the folder in the file manager."
_SCALE_STEP, _SMALLEST, _LARGEST = 25, 75, 200
"""Sizes of the interface, in per cent."""


class Actions(QObject):
    """The window's actions; the studio's state enables and disables those of the run."""

    def __init__(self, studio: Studio, parent: QObject) -> None:
        super().__init__(parent)
        self._studio = studio
        keys = QKeySequence.StandardKey
        make = self._make
        self.new = make("new", "&New experiment", "Start from the digits preset.", keys.New)
        self.open = make("open", "&Open experiment …", "Read an experiment file.", keys.Open)
        self.open_run = make("open_run", "Open &run …", "Show a run from any folder.", "Ctrl+Shift+O")
        self.save = make("save", "&Save experiment", "Write the experiment to its file.", keys.Save)
        self.save_as = make("save_as", "Save experiment &as …", "Write the experiment to another file.", "Ctrl+Shift+S")
        self.quit = make("quit", "&Quit", "Close the window; a run continues in its engine.", "Ctrl+Q")
        self.preferences = make("preferences", "&Preferences …", "Runs folder, engine and theme.", "Ctrl+,")
        self._reported = 0
        self._make_run_actions()
        self.palette = make("palette", "&Command palette …", "Find any command, field, run or data set.", "Ctrl+K")
        self.start = make("start", "&Start page", "Presets, recent work and own data.", "Ctrl+H")
        self.stack = make("stack", "Panels as &tabs", "Stack the panels as tabs.", "Ctrl+T")
        self.tile = make("tile", "Panels side &by side", "Show all panels at once.", "Ctrl+Shift+T")
        self.reset = make("reset", "&Reset layout", "Move the panels of this workspace to their first places.")
        self.presentation = make("presentation", "&Presentation", "Large type and the panels only.", "F11")
        self.presentation.setCheckable(True)
        self.lab_open = make("lab_open", "&Open state …", "Read a file with a state of the lab.")
        self.lab_save = make("lab_save", "&Save state …", "Write the state of the lab to a small file.")
        self.lab_copy = make("lab_copy", "&Copy as text", "Copy the state of the lab as one line of text.")
        self.lab_paste = make("lab_paste", "Open copied &text", "Show the state of the lab that was copied as text.")
        self.lab_design = make("lab_design", "Open in &Design", "Make an experiment of the lab.")
        self.lab_show = make("lab_show", "Show e&xperiment in the lab", "Train the experiment of Design in the lab.")
        self.report = make("report", "Report on &runs …", _REPORT)
        self.copy_run = make("copy_run", "Copy run to t&his machine …", _COPY)
        self.larger = make("larger", "&Larger", "Enlarge the interface.", keys.ZoomIn)
        self.smaller = make("smaller", "&Smaller", "Reduce the interface.", keys.ZoomOut)
        self.normal_size = make("normal_size", "&Normal size", "Show the interface at 100 %.", "Ctrl+0")
        self.refresh_runs = make("refresh_runs", "&Refresh runs", "List the runs folder again.", "Ctrl+F5")
        self.runs_folder = make("runs_folder", "Open runs &folder", _FOLDER)
        self.restart = make(
            "restart", "&Reconnect to the engine", "Connect again; start the engine if it is not running."
        )
        self.stop_engine = make(
            "stop_engine", "Stop e&ngine …", "End the engine's process; a run keeps its checkpoint."
        )
        self.shortcuts = make("shortcuts", "&Keyboard shortcuts", "List every shortcut.", "F1")
        self.paper = make("paper", "The &paper", "Distilling Normalizing Flows, arXiv 2506.21003.")
        self.about = make("about", "&About NFKD", "Versions and licence.")
        self.themes = self._make_themes()
        self._follow_studio()

    def _make(self, name: str, text: str, tip: str, shortcut: Shortcut = "") -> QAction:
        action = QAction(text, self.parent())
        action.setObjectName(f"action.{name}")
        if shortcut:
            action.setShortcut(QKeySequence(shortcut))
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        action.setToolTip(f"{tip} ({keys})" if keys else tip)
        action.setStatusTip(tip)
        return action

    def _make_run_actions(self) -> None:
        make = self._make
        self.run = make("run", "&Run", "Start this experiment.", "F5")
        self.sweep = make(
            "sweep", "Try se&veral values …", "Start a run for each combination of values.", "Ctrl+Shift+V"
        )
        self.pause = make("pause", "&Pause", "Pause the run at its next step, or continue it.", "F6")
        self.stop = make("stop", "&Stop …", "End the stage or the run.", "Shift+F5")
        self.queue = make("queue", "&Queue …", "Runs that wait: other order, pause, retry.", "Ctrl+Shift+R")

    def _make_themes(self) -> QActionGroup:
        group = QActionGroup(self)
        choices = (
            ("Follow the &system", "system"),
            ("&Light", "light"),
            ("&Dark", "dark"),
            ("&High contrast", "contrast"),
        )
        for text, theme in choices:
            action = self._make(f"theme.{theme}", text, f"Theme: {theme}.")
            action.setCheckable(True)
            action.setData(theme)
            group.addAction(action)
        group.triggered.connect(lambda action: self._studio.prefer(theme=action.data()))
        return group

    def _follow_studio(self) -> None:
        studio = self._studio
        self.run.triggered.connect(studio.run_experiment)
        self.pause.triggered.connect(self._pause_or_resume)
        self.larger.triggered.connect(lambda: self._scale(_SCALE_STEP))
        self.smaller.triggered.connect(lambda: self._scale(-_SCALE_STEP))
        self.normal_size.triggered.connect(lambda: studio.prefer(scale=100))
        self.restart.triggered.connect(studio.start)
        self.refresh_runs.triggered.connect(studio.list_runs)
        signals: Sequence[tuple[object, Callable[[], None]]] = (
            (studio.engine_changed, self.refresh),
            (studio.rows_changed, self.refresh),
            (studio.view_changed, self.refresh),
            (studio.experiment.checked, self.refresh),
            (studio.preferences_changed, self.refresh),
            (studio.machines.changed, self.refresh),
        )
        for signal, slot in signals:
            signal.connect(slot)  # type: ignore[attr-defined]
        studio.row_changed.connect(lambda _run: self.refresh())
        self.refresh_icons()
        self.offer_report(0)
        self.refresh()

    def offer_report(self, count: int) -> None:
        """Offer a report on so many runs."""
        self.report.setIconText(f"Report on {count:,} {'run' if count == 1 else 'runs'}" if count else "Report on runs")
        self._reported = count
        self._offer_for_machine()

    def _offer_for_machine(self) -> None:
        """Enable what needs files of this machine, or of another; a tooltip says why something is not possible."""
        studio, host = self._studio, self._studio.machines.host
        where = f"The runs are on {plain(host.name)}" if host is not None else ""
        self.report.setEnabled(self._reported > 0 and host is None)
        self.report.setToolTip(
            tip(f"{where}: copy them to this machine, then report on the copies." if where else _REPORT)
        )
        self.runs_folder.setEnabled(host is None)
        self.runs_folder.setToolTip(tip(f"{where}." if where else _FOLDER))
        self.copy_run.setEnabled(host is not None and studio.ready and studio.view is not None)
        here = "The shown run is on this machine." if studio.view is not None else "No run is shown."
        self.copy_run.setToolTip(_COPY if host is not None and studio.view is not None else here)

    def _pause_or_resume(self) -> None:
        row = self._studio.controlled
        if row is not None:
            self._studio.resume() if row.state == "paused" else self._studio.pause()

    def _scale(self, change: int) -> None:
        scale = self._studio.preferences.scale + change
        self._studio.prefer(scale=min(max(scale, _SMALLEST), _LARGEST))

    def refresh(self) -> None:
        """Enable the actions that are possible now."""
        studio = self._studio
        row = studio.controlled
        state = row.state if row is not None and studio.ready else ""
        self.run.setData("run")
        self.presentation.setIconText("Present")
        self.presentation.setData("present")
        self.report.setData("report")
        self.lab_copy.setIconText("Copy as text")
        self.lab_copy.setData("copy")
        self.sweep.setIconText("Several values …")
        self.sweep.setData("grid")
        self.stop.setIconText("Stop …")
        self.stop.setData("stop")
        self.run.setEnabled(studio.ready and studio.experiment.may_run)
        self.sweep.setEnabled(studio.experiment.config is not None)
        self.pause.setEnabled(state in {"running", "paused"})
        paused = state == "paused"
        self.pause.setText("&Resume" if paused else "&Pause")
        self.pause.setIconText("Resume" if paused else "Pause")
        self.pause.setData("resume" if paused else "pause")
        self.run.setIconText("Queue" if state else "Run")
        self.stop.setEnabled(state in LIVE)
        self.refresh_runs.setEnabled(studio.ready)
        self.open_run.setEnabled(studio.ready)
        self._offer_for_machine()
        self.save.setEnabled(studio.experiment.config is not None)
        self.save_as.setEnabled(studio.experiment.config is not None)
        for action in self.themes.actions():
            action.setChecked(action.data() == studio.preferences.theme)

    def refresh_icons(self) -> None:
        """Redraw the icons in the colours of the theme."""
        for action, name in (
            (self.run, "run"),
            (self.pause, "pause"),
            (self.stop, "stop"),
            (self.restart, "restart"),
            (self.open, "open"),
            (self.save, "save"),
        ):
            action.setIcon(icon(name))
