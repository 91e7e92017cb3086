"""Base class of the panels: follows the shown run and redraws only while visible and after a change."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QPushButton, QStackedLayout, QVBoxLayout, QWidget

from nfkd.protocol.events import RunEvent
from nfkd.protocol.roles import USUAL, Role
from nfkd.protocol.view import RunView, StageView
from nfkd.text import feature_names, plain
from nfkd_gui.model.export_files import file_stem
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_LONGEST_NAME = 40


class _Pages(QStackedLayout):
    """Pages whose minimum size is that of the shown page.

    They report no height for a width: a scroll area would use the preferred height of a plot as its minimum.
    """

    def hasHeightForWidth(self) -> bool:
        return False

    def minimumSize(self) -> QSize:
        page = self.currentWidget()
        return QSize() if page is None else page.minimumSizeHint()


class Panel(QWidget, Exportable):
    """Shows a sentence and what fills the panel until there is something to show, then its content.

    A subclass fills `content` and implements `has_content` and `draw`.

    Attributes
    ----------
    title
        Text of the tab.
    name
        Qt object name, and prefix of the names of the widgets inside.
    placeholder
        What the panel will show; the start of a sentence.
    event_types
        Types of the events that change what is drawn.
    tools
        Buttons for the head of the panel.
    """

    title: ClassVar[str]
    name: ClassVar[str]
    placeholder: ClassVar[str]
    event_types: ClassVar[tuple[type, ...]]

    remarked = Signal(str)
    """What the head of the panel says beside the title."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(self.name)
        self.studio = studio
        self.view: RunView | None = None
        self._dirty = True
        self.tools: list[QWidget] = []
        self.content = QWidget(self)
        self._placeholder = WrappedLabel(parent=self)
        self._placeholder.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._start = QPushButton(self)
        self._start.setObjectName(f"{self.name}.start")
        self._start.setToolTip("Start the experiment that is open in Design.")
        self._start.clicked.connect(studio.run_experiment)
        self._latest = QPushButton("Open the latest run", self)
        self._latest.setObjectName(f"{self.name}.latest")
        self._latest.setToolTip("Show the newest run of the runs folder.")
        self._latest.clicked.connect(self._open_latest)
        self._stack = _Pages(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        self._stack.addWidget(self._empty_page())
        self._stack.addWidget(self.content)
        studio.theme_changed.connect(self._on_theme, Qt.ConnectionType.QueuedConnection)
        studio.seed_changed.connect(self._on_seed)
        experiment = studio.experiment
        for signal in (studio.rows_changed, studio.engine_changed, experiment.checked, experiment.file_changed):
            signal.connect(self._refresh_buttons)
        self._refresh_buttons()

    def _empty_page(self) -> QWidget:
        page = QWidget(self)
        column = QVBoxLayout(page)
        set_space(column, 16, 32)
        column.addStretch(1)
        column.addWidget(self._placeholder)
        for button in (self._start, self._latest):
            column.addWidget(button, alignment=Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)
        return page

    # --- for the window -------------------------------------------------------------------------------------------

    def show_run(self, view: RunView | None) -> None:
        """Show another run, or none."""
        self.view = view
        self.run_changed()
        self.mark_dirty()

    def on_event(self, event: RunEvent) -> None:
        """Handle an event that was already applied to the view: mark the panel if the event changes it."""
        if isinstance(event, self.event_types):
            self.mark_dirty()

    def refresh(self) -> None:
        """Redraw if something changed since the last refresh."""
        if not self._dirty:
            return
        self._dirty = False
        ready = self.view is not None and self.has_content()
        if ready:
            self.draw()
        else:
            self._show_placeholder()
        self._stack.setCurrentIndex(1 if ready else 0)
        for tool in self.tools:
            tool.setEnabled(ready)

    def _show_placeholder(self) -> None:
        reason = self.reason() if self.view is not None else ""
        self._placeholder.setText(reason or f"{self.placeholder} will be shown here.")
        self._refresh_buttons()

    def _refresh_buttons(self) -> None:
        """Offer what fills an empty panel: the open experiment, and the newest run if there is one."""
        studio, empty = self.studio, self.view is None
        name = plain(studio.experiment.name, _LONGEST_NAME).replace("&", "&&")
        self._start.setText(f"{'Queue' if studio.controlled is not None else 'Run'} “{name}”")
        self._start.setEnabled(studio.ready and studio.experiment.may_run)
        self._start.setVisible(empty)
        self._latest.setVisible(empty and bool(studio.rows))

    def _open_latest(self) -> None:
        rows = self.studio.rows.values()
        if rows:
            self.studio.open_run(max(rows, key=lambda row: row.created).run)

    def mark_dirty(self) -> None:
        """Make the next refresh redraw the panel."""
        self._dirty = True

    def _on_theme(self) -> None:
        self.restyle()
        self.mark_dirty()

    def _on_seed(self) -> None:
        self.run_changed()
        self.mark_dirty()

    # --- for the menu -----------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self.drawing() if self.view is not None and self.has_content() else None

    def export_name(self) -> str:
        run = self.view.row.name if self.view is not None else ""
        step = self.shown_step()
        return file_stem(run, self.name, f"step {step}" if step is not None else "")

    # --- for subclasses -------------------------------------------------------------------------------------------

    def roles(self) -> list[Role]:
        """Return the flows of the shown run; the usual ones without a run."""
        return list(USUAL) if self.view is None else self.view.roles()

    def stage(self, role: Role) -> StageView | None:
        """Return a stage of the shown seed, as `RunView.find_stage` does."""
        return self.view.find_stage(self.studio.seed, role) if self.view is not None else None

    def features(self) -> list[str]:
        """Return the names of the data's features; empty for images."""
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        if started is None or len(started.event_shape) != 1:
            return []
        return feature_names(started.event_shape[0], started.columns)

    def drawing(self) -> QWidget:
        """Return the part of the content that belongs into a saved picture: everything but the controls."""
        return self.content

    def shown_step(self) -> int | None:
        """Return the step that is shown, for the names of files."""
        return None

    def run_changed(self) -> None:
        """Drop what belongs to the previous run or seed."""

    def restyle(self) -> None:
        """Apply the current theme."""

    def reason(self) -> str:
        """Return why the shown run has nothing for the panel; empty if it may still have."""
        return ""

    def has_content(self) -> bool:
        """Return whether there is something to show."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw the view's current state."""
        raise NotImplementedError


def heading(text: str, parent: QWidget) -> PlainLabel:
    """Return a small bold label."""
    label = PlainLabel(text, parent)
    set_type(label, "strong")
    return label
