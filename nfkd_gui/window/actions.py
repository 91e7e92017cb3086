"""Everything that a menu, a button or a shortcut can do: one action each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from nfkd_gui.model.studio import LIVE, Studio
from nfkd_gui.widgets.icons import icon

Shortcut = str | QKeySequence.StandardKey


class Actions(QObject):
    """The window's actions by name; those of the run follow the studio's state."""

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
        self.quit = make("quit", "&Quit", "Close the window; a run goes on in its engine.", "Ctrl+Q")
        self.preferences = make("preferences", "&Preferences …", "Runs folder, engine and theme.", "Ctrl+,")
        self.run = make("run", "&Run", "Start this experiment.", "F5")
        self.pause = make("pause", "&Pause", "Hold the run at its next step.", "F6")
        self.resume = make("resume", "R&esume", "Let the paused run go on.", "F7")
        self.stop = make("stop", "&Stop …", "End the stage or the run.", "Shift+F5")
        self.stack = make("stack", "Panels as &tabs", "One panel over the other.", "Ctrl+T")
        self.tile = make("tile", "Panels side &by side", "All panels at once.", "Ctrl+Shift+T")
        self.reset = make("reset", "&Reset layout", "Put every dock back where it was at first.")
        self.full_screen = make("full_screen", "&Full screen", "Fill the screen.", "F11")
        self.full_screen.setCheckable(True)
        self.refresh_runs = make("refresh_runs", "&Refresh runs", "List the runs folder again.", "Ctrl+F5")
        self.runs_folder = make("runs_folder", "Open runs &folder", "Show the folder in the file manager.")
        self.restart = make(
            "restart", "&Reconnect to the engine", "Connect again, starting the engine where it is gone."
        )
        self.stop_engine = make(
            "stop_engine", "Stop e&ngine …", "End the engine's process; a run keeps its checkpoint."
        )
        self.shortcuts = make("shortcuts", "&Keyboard shortcuts", "List every shortcut.", "F1")
        self.paper = make("paper", "The &paper", "Distilling Normalizing Flows, arXiv 2506.21003.")
        self.about = make("about", "&About NFKD", "Versions and licence.")
        self.themes = self._make_themes()
        self._follow_studio()

    def _make(self, name: str, words: str, tip: str, shortcut: Shortcut = "") -> QAction:
        action = QAction(words, self.parent())
        action.setObjectName(f"action.{name}")
        if shortcut:
            action.setShortcut(QKeySequence(shortcut))
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        action.setToolTip(f"{tip} ({keys})" if keys else tip)
        action.setStatusTip(tip)
        return action

    def _make_themes(self) -> QActionGroup:
        group = QActionGroup(self)
        for words, theme in (("As the &system", "system"), ("&Light", "light"), ("&Dark", "dark")):
            action = self._make(f"theme.{theme}", words, f"Theme: {theme}.")
            action.setCheckable(True)
            action.setData(theme)
            group.addAction(action)
        group.triggered.connect(lambda action: self._studio.prefer(theme=action.data()))
        return group

    def _follow_studio(self) -> None:
        studio = self._studio
        self.run.triggered.connect(lambda: studio.run(studio.experiment.text))
        self.pause.triggered.connect(studio.pause)
        self.resume.triggered.connect(studio.resume)
        self.restart.triggered.connect(studio.start)
        self.refresh_runs.triggered.connect(studio.list_runs)
        signals: Sequence[tuple[object, Callable[[], None]]] = (
            (studio.engine_changed, self.refresh),
            (studio.rows_changed, self.refresh),
            (studio.view_changed, self.refresh),
            (studio.experiment.checked, self.refresh),
            (studio.preferences_changed, self.refresh),
        )
        for signal, slot in signals:
            signal.connect(slot)  # type: ignore[attr-defined]
        studio.row_changed.connect(lambda _run: self.refresh())
        self.refresh_icons()
        self.refresh()

    def refresh(self) -> None:
        """Enable what is possible now."""
        studio = self._studio
        row = studio.controlled
        state = row.state if row is not None and studio.ready else ""
        self.run.setEnabled(studio.ready and studio.experiment.may_run)
        self.pause.setEnabled(state == "running")
        self.pause.setVisible(state != "paused")
        self.resume.setEnabled(state == "paused")
        self.resume.setVisible(state == "paused")
        self.stop.setEnabled(state in LIVE)
        self.refresh_runs.setEnabled(studio.ready)
        self.open_run.setEnabled(studio.ready)
        self.save.setEnabled(studio.experiment.config is not None)
        self.save_as.setEnabled(studio.experiment.config is not None)
        for action in self.themes.actions():
            action.setChecked(action.data() == studio.preferences.theme)

    def refresh_icons(self) -> None:
        """Draw the icons in the colours of the theme."""
        for action, name in (
            (self.run, "run"),
            (self.pause, "pause"),
            (self.resume, "resume"),
            (self.stop, "stop"),
            (self.restart, "restart"),
            (self.open, "open"),
            (self.save, "save"),
        ):
            action.setIcon(icon(name))
