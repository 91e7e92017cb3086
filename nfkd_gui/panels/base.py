"""What every panel is: it follows a run, and draws only when it is seen and something changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from PySide6.QtCore import QSize, Qt, SignalInstance
from PySide6.QtWidgets import QPushButton, QStackedLayout, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo, RunEvent
from nfkd.protocol.requests import Reply, Request
from nfkd.protocol.roles import TEACHERS, USUAL, Role
from nfkd.protocol.view import RunView, StageView
from nfkd_gui.widgets.feature_pair import feature_names
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

SPACE = 8
"""Pixels of the grid that everything is laid out on."""


class StudioPort(Protocol):
    """What a panel may ask of the studio."""

    view: RunView | None
    seed: int

    @property
    def theme_changed(self) -> SignalInstance:
        """Light became dark, or dark light."""
        ...

    @property
    def seed_changed(self) -> SignalInstance:
        """Another seed is shown."""
        ...

    def ask(
        self,
        request: Request,
        on_reply: Callable[[Reply], None],
        on_error: Callable[[ErrorInfo], None],
        *,
        key: str = "",
    ) -> None:
        """Ask the engine; of requests with the same key the newest wins."""
        ...

    def start_preset(self, name: str) -> None:
        """Start one of the experiments that are shipped."""
        ...


class _Pages(QStackedLayout):
    """Pages without a height for a width: a scroll area would take the height that a plot likes for what it needs.

    They are as small as the page that is shown can be, whatever the others need.
    """

    def hasHeightForWidth(self) -> bool:
        return False

    def minimumSize(self) -> QSize:
        page = self.currentWidget()
        return QSize() if page is None else page.minimumSizeHint()


class Panel(QWidget):
    """A panel: a sentence and a button while there is nothing to show, its content from then on.

    A subclass fills `content`, says with `has_content` whether there is something to show, and draws in `draw`.

    Attributes
    ----------
    title, name
        On its tab, and as the object's name.
    waits_for
        What will be shown here, in a sentence.
    """

    title: ClassVar[str]
    name: ClassVar[str]
    waits_for: ClassVar[str]

    def __init__(self, studio: StudioPort, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(self.name)
        self.studio = studio
        self.view: RunView | None = None
        self._dirty = True
        self.content = QWidget(self)
        self._promise = WrappedLabel(parent=self)
        self._promise.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._start = QPushButton("Run the digits experiment", self)
        self._start.setObjectName(f"{self.name}.start")
        self._start.clicked.connect(lambda: studio.start_preset("digits"))
        self._stack = _Pages(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        self._stack.addWidget(self._empty())
        self._stack.addWidget(self.content)
        studio.theme_changed.connect(self._theme, Qt.ConnectionType.QueuedConnection)
        studio.seed_changed.connect(self._seed)

    def _empty(self) -> QWidget:
        page = QWidget(self)
        column = QVBoxLayout(page)
        column.setContentsMargins(4 * SPACE, 4 * SPACE, 4 * SPACE, 4 * SPACE)
        column.setSpacing(2 * SPACE)
        column.addStretch(1)
        column.addWidget(self._promise)
        column.addWidget(self._start, alignment=Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)
        return page

    # --- for the window -------------------------------------------------------------------------------------------

    def show_run(self, view: RunView | None) -> None:
        """Show another run, or none."""
        self.view = view
        self.run_changed()
        self.mark()

    def take(self, event: RunEvent) -> None:
        """Note an event of the shown run, after it was applied to the view."""
        if self.concerns(event):
            self.mark()

    def refresh(self) -> None:
        """Draw, if something changed."""
        if not self._dirty:
            return
        self._dirty = False
        ready = self.view is not None and self.has_content()
        if ready:
            self.draw()
        else:
            self._say_empty()
        self._stack.setCurrentIndex(1 if ready else 0)

    def _say_empty(self) -> None:
        idle = self.view is None
        what = f"{self.waits_for} will be shown here."
        self._promise.setText(f"{what} Press Run, open a run from the table, or start here:" if idle else f"{what}")
        self._start.setVisible(idle)

    def mark(self) -> None:
        """Have the panel drawn at the next refresh."""
        self._dirty = True

    def _theme(self) -> None:
        self.restyle()
        self.mark()

    def _seed(self) -> None:
        self.run_changed()
        self.mark()

    # --- for subclasses -------------------------------------------------------------------------------------------

    def roles(self) -> list[Role]:
        """Return the flows that the shown run has; the usual ones while none is shown."""
        return list(USUAL) if self.view is None else self.view.roles()

    def stage(self, role: Role) -> StageView | None:
        """Return a stage of the shown seed; a teacher or assistant is the first seed's where it has none of its own."""
        if self.view is None:
            return None
        found = self.view.stages.get((self.studio.seed, role))
        if found is None and role in TEACHERS:
            return self.view.stages.get((min(self.view.seeds, default=1), role))
        return found

    def features(self) -> list[str]:
        """Return the names of the data's features; none for images."""
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        if started is None or len(started.event_shape) != 1:
            return []
        return feature_names(started.event_shape[0], started.columns)

    def run_changed(self) -> None:
        """Forget what belonged to the run or seed before."""

    def restyle(self) -> None:
        """Take the colours of the present theme."""

    def concerns(self, event: RunEvent) -> bool:
        """Return whether an event changes what is drawn."""
        raise NotImplementedError

    def has_content(self) -> bool:
        """Return whether there is something to show."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the view as it is now."""
        raise NotImplementedError


class LiveButton(QPushButton):
    """Says whether the live pictures are shown, and brings them back."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(f"{name}.live")
        self.setToolTip("Follow the pictures that the run draws as it trains.")
        self.show_live(True)

    def show_live(self, live: bool) -> None:
        """Say that the pictures are live, or offer to go back to them."""
        self.setText("Live" if live else "Back to &live")
        self.setEnabled(not live)


def heading(text: str, parent: QWidget) -> PlainLabel:
    """Return a small bold label."""
    label = PlainLabel(text, parent)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
