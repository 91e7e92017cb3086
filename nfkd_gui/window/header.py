"""The header: what is open, the workspaces, the progress and result of the run, and the next action."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QAction, QIcon, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd_gui.link.connection import EngineState
from nfkd_gui.model.headline import Headline, Segment, headline_of, segments_of
from nfkd_gui.model.run_groups import parent_of
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.resources import resource_path
from nfkd_gui.theme import fix_size, limit_size, repolish, scaled, set_icon_size, set_space, set_type
from nfkd_gui.widgets.chip import Chip
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ElidedLabel, ToneLabel
from nfkd_gui.widgets.panel_dock import IconButton
from nfkd_gui.widgets.segments import SegmentedBar
from nfkd_gui.widgets.switch import Switch
from nfkd_gui.window.actions import Actions
from nfkd_gui.window.engine_menu import EngineButton

WORKSPACES = {
    "design": ("Design", "design"), "train": ("Train", "train"), "compare": ("Compare", "compare"),
    "learn": ("Learn", "learn"),
}  # fmt: skip
"""Title and icon of each workspace, in order."""
_HEIGHT, _NARROW, _NARROWER, _LEAST = 56, 1280, 1160, 760
"""Height of the header, and widths: of a wide one, of a medium one, and the least."""
_NAMES, _SHORT_NAMES, _LOGO = 232, 120, 24
_ENGINE = 132
"""Width of the button with the machine; of its icon, a third."""
_FOLLOW = "Follow training"


class Header(QFrame):
    """Shows the studio's state in one line, and switches the workspaces."""

    chosen = Signal(str)
    """The name of a workspace."""

    def __init__(
        self, studio: Studio, actions: Actions, menu: QMenu, engines: QMenu, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("header")
        self.setProperty("header", True)
        self._studio, self._actions = studio, actions
        self._workspace = ""
        self._lab = "Lab", ""
        self._menu_button = IconButton("menu", "Menu", "All commands", self)
        self._menu_button.setObjectName("header.menu")
        self._menu_button.setMenu(menu)
        self._menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._name = ElidedLabel("NFKD", "plain", self)
        set_type(self._name, "heading")
        self._name.setObjectName("header.name")
        self._subtitle = ElidedLabel(parent=self)
        self._subtitle.setObjectName("header.subtitle")
        self._engine = EngineButton(studio, engines, self)
        self._switch = Switch("header.workspace", WORKSPACES, self)
        self._switch.chosen.connect(self.chosen)
        self._seed = self._seed_box()
        self._progress = _ProgressBlock(self)
        self.chip = Chip(self)
        self.chip.setObjectName("header.chip")
        self._second = self._action_button("header.second")
        self._primary = self._action_button("header.primary", primary=True)
        self._lay_out()
        self._connect()
        self.refresh()

    def _home_button(self) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName("header.home")
        button.setProperty("flat", True)
        button.setIcon(QIcon(str(resource_path("icons", "nfkd.svg"))))
        set_icon_size(button, _LOGO)
        button.setAccessibleName("Start page")
        button.setToolTip("Start page (Ctrl+H)")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(self._actions.start.trigger)
        return button

    def _seed_box(self) -> QComboBox:
        box = QComboBox(self)
        box.setObjectName("header.seed")
        box.setAccessibleName("Seed shown in the panels")
        box.setToolTip("The seed that the panels show.")
        box.activated.connect(lambda _index: self._studio.choose_seed(box.currentData()))
        return box

    def _action_button(self, name: str, *, primary: bool = False) -> QPushButton:
        button = QPushButton(self)
        button.setObjectName(name)
        button.setProperty("primary", primary)
        button.clicked.connect(lambda: self._trigger(button))
        return button

    def _lay_out(self) -> None:
        fix_size(self, height=_HEIGHT)
        block = QWidget(self)
        self._names = block
        names = QVBoxLayout(block)
        set_space(names, 0)
        names.addStretch(1)
        names.addWidget(self._name)
        names.addWidget(self._subtitle)
        names.addStretch(1)
        line = QHBoxLayout(self)
        set_space(line, 12, 12, 0, 12, 0)
        line.addWidget(self._home_button())
        line.addWidget(self._menu_button)
        line.addWidget(block)
        line.addWidget(self._engine)
        line.addWidget(self._switch)
        line.addStretch(1)
        line.addWidget(self._seed)
        line.addWidget(self._progress, 3)
        line.addWidget(self.chip)
        line.addWidget(self._primary)
        line.addWidget(self._second)

    def _connect(self) -> None:
        studio = self._studio
        for signal in (studio.view_changed, studio.rows_changed, studio.engine_changed, studio.experiment.checked,
                       studio.experiment.file_changed, studio.row_changed):  # fmt: skip
            signal.connect(self.refresh)
        studio.progressed.connect(self._show_progress)
        studio.machines.changed.connect(self._fit)
        studio.seed_changed.connect(self._show_seeds)
        actions = self._actions
        for action in (actions.run, actions.sweep, actions.pause, actions.stop, actions.presentation, actions.report):
            action.changed.connect(self._show_buttons)

    # --- what is shown --------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        """Apply the current theme."""
        self._switch.restyle()
        self.refresh()

    def show_workspace(self, name: str, offered: list[str]) -> None:
        """Show which workspace is open, and which can be chosen; an empty name is the start page."""
        self._workspace = name
        self._switch.show_state(name, offered)
        self.refresh()

    def show_lab(self, name: str, flows: str) -> None:
        """Show what the lab trains while Learn is open."""
        self._lab = name, flows
        self._show_names()

    def refresh(self) -> None:
        """Show the current state."""
        self._show_names()
        self._show_seeds()
        self._show_progress()
        self._show_buttons()

    def _show_names(self) -> None:
        view, experiment = self._studio.view, self._studio.experiment
        if not self._workspace:
            name, subtitle = "NFKD", ""
        elif self._workspace == "learn":
            name, subtitle = self._lab
        elif self._workspace == "compare":
            name, subtitle = "All runs", _count_runs(self._studio.rows)
        elif self._workspace == "train" and view is not None:
            seeds = f" · {view.row.seeds} seeds" if view.row.seeds > 1 else ""
            name, subtitle = view.row.name, f"{view.row.teacher} → {view.row.student}{seeds}"
        else:
            name = f"{experiment.name}{' •' if experiment.dirty else ''}"
            subtitle = " → ".join(flow.summary for flow in experiment.flows())
        self._name.setText(name)
        self._subtitle.setText(subtitle)
        self._fit()

    def _show_seeds(self) -> None:
        view = self._studio.view
        several = self._workspace == "train" and view is not None and view.row.seeds > 1
        self._seed.setVisible(several)
        if view is None or not several:
            return
        live = view.row.state in LIVE
        with QSignalBlocker(self._seed):
            self._seed.clear()
            if live:
                self._seed.addItem(_FOLLOW, None)
            for seed in sorted(view.seeds) or [self._studio.seed]:
                self._seed.addItem(f"Seed {seed}", seed)
            following = self._studio.follows_seed and live
            self._seed.setCurrentIndex(0 if following else max(0, self._seed.findData(self._studio.seed)))

    def _show_progress(self) -> None:
        studio = self._studio
        row = studio.controlled or (studio.view.row if studio.view is not None else None)
        view = studio.view if studio.view is not None and row is not None and studio.view.row.run == row.run else None
        progress = studio.progress.get(row.run) if row is not None else None
        hidden = {"", "learn", *(["compare"] if studio.controlled is None else [])}  # there, many runs are shown
        shown = row is not None and self._workspace not in hidden
        self._progress.setVisible(shown)
        headline = headline_of(row, view, progress, lost=_why_lost(studio.engine)) if row else Headline()
        if row is not None and studio.view is not None and row.run != studio.view.row.run:
            headline = replace(headline, stage=f"{row.name}: {headline.stage}")
        self._progress.show_state(headline, segments_of(row, view, progress) if row else [])
        self.chip.show_text(headline.chip if shown else "", headline.tone, headline.help)

    # --- the next action ------------------------------------------------------------------------------------------

    def _show_buttons(self) -> None:
        """Offer Pause (or Resume) and Stop while a run is watched, what Compare and Learn have, and Run otherwise."""
        actions, row = self._actions, self._studio.controlled
        if self._workspace == "learn":
            pair: tuple[QAction, QAction | None] = (actions.presentation, actions.lab_copy)
        elif self._workspace == "compare":
            pair = (actions.report, None)
        elif row is not None and self._workspace == "train":
            pair = (actions.pause, actions.stop)
        else:
            pair = (actions.run, actions.sweep if self._workspace == "design" else None)
        for button, action in zip((self._primary, self._second), pair, strict=True):
            button.setVisible(action is not None and self._workspace != "")
            if action is None:
                continue
            button.setProperty("action", action.objectName())
            button.setText(action.iconText())
            button.setToolTip(action.toolTip())
            button.setAccessibleName(action.iconText())
            button.setEnabled(action.isEnabled())
            primary = button is self._primary and self._workspace != "learn"
            button.setProperty("primary", primary)
            repolish(button)
            button.setIcon(icon(str(action.data() or "run"), on_fill=primary and action.isEnabled()))

    def _trigger(self, button: QPushButton) -> None:
        name = button.property("action")
        actions = self._actions
        for action in (
            actions.run, actions.sweep, actions.pause, actions.stop, actions.presentation, actions.lab_copy,
            actions.report,
        ):  # fmt: skip
            if action.objectName() == name:
                action.trigger()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_LEAST), scaled(_HEIGHT))

    def _fit(self) -> None:
        """Shorten what a narrow window has no room for."""
        engine = scaled(_ENGINE) if self._engine.isVisibleTo(self) else 0
        wide = self.width() - engine >= scaled(_NARROW)
        medium = self.width() - engine // 3 >= scaled(_NARROWER)
        self._subtitle.setVisible((wide or self._workspace != "train") and bool(self._subtitle.text()))
        fix_size(self._names, width=_NAMES if medium else _SHORT_NAMES)
        self._switch.show_titles(medium)
        self._engine.show_title(wide)
        self._progress.setMinimumWidth(scaled(180 if medium else 120))


def _why_lost(state: EngineState) -> str:
    if state.reconnecting:
        return "Not connected; the run continues"
    return "The engine is lost" if state.phase == "lost" else ""


def _count_runs(runs: Collection[str]) -> str:
    folders = len({parent_of(run) for run in runs})
    count = f"{len(runs):,} {'run' if len(runs) == 1 else 'runs'}"
    return f"{count} in {folders:,} folders" if folders > 1 else count


class _ProgressBlock(QWidget):
    """A line of text above the bar: the stage at the left, the time left at the right."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        limit_size(self, least=(180, 0), most=(372, 0))
        self._stage = ElidedLabel(tone="plain", parent=self)
        self._stage.setObjectName("header.status")
        self._left = ToneLabel(parent=self)
        self._left.setObjectName("header.left")
        self._bar = SegmentedBar(self)
        self._bar.setObjectName("header.progress")
        texts = QHBoxLayout()
        set_space(texts, 8)
        texts.addWidget(self._stage, 1)
        texts.addWidget(self._left)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addStretch(1)
        column.addLayout(texts)
        column.addWidget(self._bar)
        column.addStretch(1)

    def show_state(self, headline: Headline, segments: list[Segment]) -> None:
        self._stage.setText(headline.stage)
        self._left.setText(headline.left)
        self._bar.show_segments(segments)
        done = sum(segment.width * segment.done for segment in segments)
        total = sum(segment.width for segment in segments) or math.inf
        self._bar.setAccessibleDescription(f"{100 * done / total:.0f} %")
