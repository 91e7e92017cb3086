"""The tool bar: Run, Pause, Resume, Stop, the experiment, the shown seed, the progress."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QProgressBar, QSizePolicy, QToolBar, QToolButton, QWidget

from nfkd.protocol.events import Progress, RunRow
from nfkd.protocol.roles import role_name
from nfkd_gui.model.studio import LIVE, Studio
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel, tip
from nfkd_gui.widgets.numbers import format_duration
from nfkd_gui.window.actions import Actions

_STEPS = 1000
_FOLLOW = "Follow training"


class RunBar(QToolBar):
    """Shows and controls a run."""

    def __init__(self, studio: Studio, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__("Run bar", parent)
        self.setObjectName("runbar")
        self.setMovable(False)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self._studio = studio
        for action in (actions.run, actions.pause, actions.resume, actions.stop):
            self.addAction(action)
            button = self.widgetForAction(action)
            button.setObjectName(f"{action.objectName()}.button")
            button.setAccessibleName(action.text().replace("&", ""))
            if action is actions.run and isinstance(button, QToolButton):
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.addSeparator()
        self._experiment = ElidedLabel(tone="plain", parent=self)
        self._experiment.setObjectName("runbar.experiment")
        self._experiment.setContentsMargins(8, 0, 8, 0)
        self._experiment.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._experiment.setMinimumWidth(1)  # the run's progress takes precedence
        self.addWidget(self._experiment)
        self._seed = QComboBox(self)
        self._seed.setObjectName("runbar.seed")
        self._seed.setAccessibleName("Seed shown in the panels")
        self._seed.setToolTip("The seed that the panels show.")
        self._seed_action = self.addWidget(self._seed)
        self._status = PlainLabel(parent=self)
        self._status.setObjectName("runbar.status")
        self._status.setContentsMargins(12, 0, 8, 0)
        self.addWidget(self._status)
        self._progress = QProgressBar(self)
        self._progress.setObjectName("runbar.progress")
        self._progress.setAccessibleName("Progress of the run")
        self._progress.setRange(0, _STEPS)
        self._progress.setFixedWidth(144)
        self._progress_action = self.addWidget(self._progress)
        self._connect()

    def _connect(self) -> None:
        studio = self._studio
        self._seed.activated.connect(lambda _index: studio.choose_seed(self._seed.currentData()))
        studio.view_changed.connect(self.refresh)
        studio.rows_changed.connect(self.refresh)
        studio.row_changed.connect(lambda _run: self.refresh())
        studio.progressed.connect(lambda _progress: self._show_progress())
        studio.seed_changed.connect(lambda _seed: self._show_seeds())
        studio.engine_changed.connect(self._show_progress)
        studio.experiment.checked.connect(self._show_experiment)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state."""
        self._show_experiment()
        self._show_seeds()
        self._show_progress()

    def _show_experiment(self) -> None:
        experiment = self._studio.experiment
        description = experiment.description
        chain = [description.teacher, *description.assistants, description.student] if description else []
        names = [flow.summary for flow in chain if flow is not None]
        flows = f" · {' → '.join(names)}" if names and len(names) == len(chain) else ""
        text = f"{experiment.name}{flows}"
        self._experiment.setText(text)
        self._experiment.setToolTip(tip(f"The experiment that Run starts: {text}"))

    def _show_seeds(self) -> None:
        view = self._studio.view
        several = view is not None and view.row.seeds > 1
        self._seed_action.setVisible(several)
        if view is None or not several:
            return
        started = sorted(view.seeds) or [self._studio.seed]
        with QSignalBlocker(self._seed):
            self._seed.clear()
            if view.row.state in LIVE:
                self._seed.addItem(_FOLLOW, None)
            for seed in started:
                self._seed.addItem(f"Seed {seed}", seed)
            following = self._studio.follows_seed and view.row.state in LIVE
            self._seed.setCurrentIndex(0 if following else max(0, self._seed.findData(self._studio.seed)))

    def _show_progress(self) -> None:
        row = self._studio.controlled
        progress = self._studio.progress.get(row.run) if row is not None else None
        self._progress_action.setVisible(row is not None)
        if row is None:
            shown = self._studio.view
            self._status.setText(f"{shown.row.name}: {shown.row.state}" if shown is not None else "")
            return
        fraction = progress.fraction if progress is not None else row.progress
        self._progress.setValue(round(_STEPS * fraction))
        self._progress.setFormat(f"{100 * fraction:.0f} %")
        lost = self._studio.engine.phase == "lost"
        self._status.setText(f"{row.name}: the engine is lost" if lost else format_progress(row, progress))


def format_progress(row: RunRow, progress: Progress | None) -> str:
    """Return a run's name, seed, stage, step and remaining time as one line."""
    if row.state == "queued":
        return f"{row.name}: queued"
    if progress is None:
        return f"{row.name}: starting"
    seed = f"seed {min(row.seeds_done + 1, row.seeds)}/{row.seeds}" if row.seeds > 1 else ""
    left = "paused" if row.state == "paused" else format_duration(progress.seconds_left)
    left = f"{left} left" if left and left != "paused" else left
    stage = "search for the weight decay" if progress.search else role_name(progress.stage)
    step = f"step {progress.step:,}/{progress.steps:,}"
    return " · ".join(part for part in (row.name, seed, stage, step, left) if part)
