"""The start page: preset cards, own data, and recent experiments and runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from nfkd.config import preset_names
from nfkd.protocol.events import RunRow
from nfkd.text import plain
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_percent, format_time
from nfkd_gui.theme import fix_size, gap, scaled, set_space
from nfkd_gui.widgets.buttons import PictureButton
from nfkd_gui.widgets.chip import Chip, ChipTone, verdict_tone
from nfkd_gui.widgets.labels import ElidedLabel, TypeLabel, WrappedLabel
from nfkd_gui.widgets.switch import Switch
from nfkd_gui.window.preset_card import PresetCard

_SIDE, _MOST_RECENT, _LEAST_FILES = 364, 6, 2
_FILTERS = {name: (name.capitalize(), "") for name in ("all", "images", "plane", "tables", "paper")}
_FIRST = ("digits", "digits_half", "digits_few", "pinwheel_few", "two_moons", "natural_patches", "natural_crops",
          "digits_paper")  # fmt: skip
"""Presets that come first; the others follow by name."""


class StartPage(QWidget):
    """What a user can begin with."""

    preset_chosen = Signal(str, bool)
    """The name of a preset, and whether to run it at once."""
    run_chosen = Signal(str)
    """The directory of a run."""
    file_chosen = Signal(str)
    """The path of an experiment."""
    open_clicked = Signal()
    lab_clicked = Signal()
    own_data_clicked = Signal()
    all_runs_clicked = Signal()

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("start")
        self._studio = studio
        self.cards = {name: PresetCard(name, studio, self) for name in _ordered(preset_names())}
        self._filter = Switch("start.filter", _FILTERS, self)
        self._filter.chosen.connect(self._show_group)
        self._grid = _CardGrid(list(self.cards.values()), self)
        self._listed: list[object] | None = None
        self._recent = QVBoxLayout()
        set_space(self._recent, 0)
        self._lay_out()
        self._show_group("all")
        for card in self.cards.values():
            card.chosen.connect(self.preset_chosen)
        studio.rows_changed.connect(self._show_runs)
        studio.row_changed.connect(self._show_row)
        studio.preferences_changed.connect(self._show_recent)
        studio.engine_changed.connect(self._load_pictures)  # the page may be shown before the engine is ready
        self._show_runs()

    def _lay_out(self) -> None:
        content = QWidget(self)
        line = QHBoxLayout(content)
        set_space(line, 24, 48, 32, 48, 32)
        left = QVBoxLayout()
        set_space(left, 12)
        left.addWidget(TypeLabel("figure", "Start an experiment", self))
        left.addWidget(WrappedLabel(
            "A large flow teaches a small one, and you watch. Every student is compared with a baseline: the same flow "
            "without a teacher.", parent=self))  # fmt: skip
        left.addWidget(gap(self, height=8))
        left.addLayout(self._head())
        left.addWidget(self._grid)
        left.addStretch(1)
        line.addLayout(left, 1)
        line.addWidget(self._side())
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(content)
        whole = QVBoxLayout(self)
        set_space(whole, 0)
        whole.addWidget(scroll)

    def _head(self) -> QHBoxLayout:
        line = QHBoxLayout()
        set_space(line, 12)
        line.addWidget(TypeLabel("heading", "Presets", self))
        about = "The label says how much of the gap between baseline and teacher the student closes."
        line.addWidget(ElidedLabel(about, parent=self), 1)
        line.addWidget(self._filter)
        return line

    def _show_group(self, group: str) -> None:
        """Show the presets of a group."""
        self._filter.show_state(group, list(_FILTERS))
        for card in self.cards.values():
            card.setVisible(group in card.groups)
        self._grid.fit()

    def _side(self) -> QWidget:
        side = QWidget(self)
        fix_size(side, width=_SIDE)
        column = QVBoxLayout(side)
        set_space(column, 12)
        column.addWidget(TypeLabel("heading", "Learn", side))
        column.addWidget(self._learn(side))
        column.addWidget(gap(self, height=12))
        column.addWidget(TypeLabel("heading", "Own data", side))
        column.addWidget(self._own_data(side))
        column.addWidget(gap(self, height=12))
        recent = QHBoxLayout()
        recent.addWidget(TypeLabel("heading", "Recent", side), 1)
        self._all_runs = self._button("start.all", "All runs ›", "", self.all_runs_clicked)
        self._all_runs.setProperty("link", True)
        recent.addWidget(self._all_runs)
        column.addLayout(recent)
        frame = QFrame(side)
        frame.setProperty("panel", True)
        frame.setLayout(self._recent)
        column.addWidget(frame)
        column.addWidget(self._button("start.open", "Open experiment …", "open", self.open_clicked))
        column.addStretch(1)
        return side

    def _learn(self, parent: QWidget) -> QWidget:
        zone = QFrame(parent)
        zone.setProperty("panel", True)
        column = QVBoxLayout(zone)
        set_space(column, 8, 16)
        column.addWidget(
            WrappedLabel("Lessons about flows and distillation, with three flows that train while you watch.")
        )
        column.addWidget(self._button("start.learn", "Open the lessons and the lab", "learn", self.lab_clicked))
        return zone

    def _own_data(self, parent: QWidget) -> QWidget:
        zone = QFrame(parent)
        zone.setProperty("panel", True)
        column = QVBoxLayout(zone)
        set_space(column, 8, 16)
        text = WrappedLabel("Drop a table, an array of images or a folder of images here: it becomes the data set.")
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(text)
        column.addWidget(self._button("start.own", "Choose your data in Design", "data", self.own_data_clicked))
        return zone

    def _button(self, name: str, text: str, picture: str, signal: object) -> QPushButton:
        button = PictureButton(picture, text, self) if picture else QPushButton(text, self)
        button.setObjectName(name)
        button.clicked.connect(signal)  # type: ignore[arg-type]
        return button

    # --- recent work ----------------------------------------------------------------------------------------------

    def _show_runs(self) -> None:
        """Show the newest runs, and what the runs say of the presets."""
        self._show_recent()
        self._all_runs.setVisible(bool(self._studio.rows))
        for card in self.cards.values():
            card.show_figures()

    def _show_row(self, run: str) -> None:
        """Follow a run; while the page is hidden, only its end."""
        row = self._studio.rows.get(run)
        if self.isVisible() or (row is not None and row.state not in LIVE):
            self._show_runs()

    def _show_recent(self) -> None:
        rows = sorted(self._studio.rows.values(), key=lambda row: -row.created)
        files = self._studio.preferences.recent
        rows = rows[: _MOST_RECENT - min(len(files), _LEAST_FILES)]
        files = files[: _MOST_RECENT - len(rows)]
        listed = [*((row.run, row.name, row.data, row.seeds, *_outcome(row)) for row in rows), *files]
        if listed == self._listed:  # the focus and a click that has begun stay
            return
        self._listed = listed
        while self._recent.count():
            item = self._recent.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for row in rows:
            self._recent.addWidget(_RecentRun(row, self.run_chosen.emit, self))
        for path in files:
            self._recent.addWidget(_recent_file(path, self.file_chosen.emit, self))
        if not self._recent.count():
            empty = QWidget(self)
            column = QVBoxLayout(empty)
            set_space(column, 0, 12)
            column.addWidget(WrappedLabel("Nothing yet: runs and experiment files will be listed here.", parent=empty))
            self._recent.addWidget(empty)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_grid"):  # another scale
            self._grid.fit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._load_pictures()

    def _load_pictures(self) -> None:
        if self.isVisible():
            for card in self.cards.values():
                card.load_picture()


class _CardGrid(QWidget):
    """Cards in lines; they share the width, and the grid has the height that they need."""

    def __init__(self, cards: list[PresetCard], parent: QWidget) -> None:
        super().__init__(parent)
        self._cards = cards
        for card in cards:
            card.setParent(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Place the cards that are shown."""
        gap, size = scaled(16), PresetCard.smallest()
        columns = max(1, (self.width() + gap) // (size.width() + gap))
        width = max(size.width(), (self.width() + gap) // columns - gap)
        shown = [card for card in self._cards if not card.isHidden()]
        for number, card in enumerate(shown):
            line, column = divmod(number, columns)
            card.setGeometry(column * (width + gap), line * (size.height() + gap), width, size.height())
        lines = -(-len(shown) // columns)
        self.setFixedHeight(lines * (size.height() + gap) - gap)


class _RecentRun(QFrame):
    """A run: its name, its data and its result; a click opens it."""

    def __init__(self, row: RunRow, choose: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(f"start.run.{row.name}")
        line = QHBoxLayout(self)
        set_space(line, 8, 12, 6, 12, 6)
        names = QVBoxLayout()
        set_space(names, 0)
        name = QPushButton(plain(row.name, 60).replace("&", "&&"), self)
        name.setObjectName(f"start.run.{row.name}.open")
        name.setProperty("link", True)
        name.clicked.connect(lambda: choose(row.run))
        names.addWidget(name)
        seeds = f"{row.seeds} {'seed' if row.seeds == 1 else 'seeds'}"
        parts = [plain(row.data, 60), seeds, format_time(row.created, time.time())]
        names.addWidget(ElidedLabel(" · ".join(parts), parent=self))
        chip = Chip(self)
        chip.show_text(*_outcome(row))
        line.addLayout(names, 1)
        line.addWidget(chip)


def _outcome(row: RunRow) -> tuple[str, ChipTone]:
    """Return the result of a run; no verdict before three seeds."""
    if row.state != "finished":
        return row.state.capitalize(), "neutral"
    if row.verdict in {"better", "worse"}:
        return f"Student {row.verdict}", verdict_tone(row.verdict)
    return ("Finished" if row.gap_closed is None else f"closes {format_percent(row.gap_closed)}"), "neutral"


def _recent_file(path: str, choose: Callable[[str], None], parent: QWidget) -> QWidget:
    button = QPushButton(plain(Path(path).name, 60).replace("&", "&&"), parent)
    button.setObjectName(f"start.file.{Path(path).name}")
    button.setProperty("link", True)
    button.setToolTip(plain(path))
    button.clicked.connect(lambda: choose(path))
    return button


def _ordered(names: list[str]) -> list[str]:
    return [*(name for name in _FIRST if name in names), *(name for name in names if name not in _FIRST)]
