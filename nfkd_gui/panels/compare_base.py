"""Base class of the panels of Compare: follows groups and choice, and draws only while it is visible."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import COLOURS, CompareModel
from nfkd_gui.model.export_files import file_stem
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_space, tokens
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.labels import WrappedLabel

_FRAME = 50
"""Milliseconds between two drawings, at least."""
_CHOICE = 132
"""Largest width of a combo box in the head."""


class ComparePanel(QWidget, Exportable):
    """Shows a sentence while there is nothing to show, then its content.

    A subclass fills `content` and implements `missing` and `draw`. A panel that nobody sees neither draws nor asks.

    Attributes
    ----------
    title, name
        Text of the tab; Qt object name, and prefix of the names of the widgets inside.
    tools
        Controls for the head of the panel.
    """

    title: ClassVar[str]
    name: ClassVar[str]
    has_numbers = True

    remarked = Signal(str)
    """What the head of the panel says beside the title."""

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(self.name)
        self.studio, self.model, self.chosen = studio, model, chosen
        self.tools: list[QWidget] = []
        self.content = QWidget(self)
        self._dirty = True
        self._timer = QTimer(self, interval=_FRAME, singleShot=True)
        self._timer.timeout.connect(self.refresh)
        self._sentence = WrappedLabel(parent=self)
        self._sentence.setObjectName(f"{self.name}.sentence")
        self._sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        empty = QWidget(self)
        column = QVBoxLayout(empty)
        set_space(column, 16, 32)
        column.addWidget(self._sentence)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(empty)
        self._stack.addWidget(self.content)
        model.groups_changed.connect(self.mark_dirty)
        model.chosen_changed.connect(self.mark_dirty)
        studio.theme_changed.connect(self._on_theme, Qt.ConnectionType.QueuedConnection)

    def mark_dirty(self) -> None:
        """Draw again soon, or when the panel is next visible."""
        self._dirty = True
        if not self._timer.isActive():
            self._timer.start()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._dirty and not self._timer.isActive():
            self._timer.start(0)

    def refresh(self) -> None:
        """Draw if something changed and the panel is visible."""
        self._timer.setInterval(_FRAME)
        if not self._dirty or self.visibleRegion().isEmpty():  # Qt calls panels behind another tab visible
            return
        self._dirty = False
        missing = self.missing()
        self._sentence.setText(missing)
        self._stack.setCurrentIndex(0 if missing else 1)
        for tool in self.tools:
            tool.setVisible(not missing and self.has_room(tool))
        if missing:
            self.remarked.emit("")
        else:
            self.draw()

    def _on_theme(self) -> None:
        self.restyle()
        self.mark_dirty()

    # --- for the menu -----------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self.drawing() if self._stack.currentIndex() else None

    def export_name(self) -> str:
        return file_stem("compare", self.name.removeprefix("compare."))

    # --- for subclasses -------------------------------------------------------------------------------------------

    def missing(self) -> str:
        """Return why there is nothing to show, or what the user can do to see something; empty if there is."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw the present state."""
        raise NotImplementedError

    def drawing(self) -> QWidget:
        """Return the part of the content that belongs into a saved picture: everything but the controls."""
        return self.content

    def has_room(self, tool: QWidget) -> bool:
        """Return whether the head has room for a control."""
        del tool
        return True

    def restyle(self) -> None:
        """Apply the current theme."""

    def choice(self, name: str, label: str, help_: str, widest: int = _CHOICE) -> FittingComboBox:
        """Return a small combo box for the head of the panel; a choice draws the panel again."""
        combo = FittingComboBox(self)
        combo.setObjectName(f"{self.name}.{name}")
        combo.setAccessibleName(label)
        combo.setToolTip(help_)
        combo.setProperty("compact", True)
        limit_size(combo, most=(widest, 0))
        combo.activated.connect(self.mark_dirty)
        return combo

    def colours(self) -> dict[str, str]:
        """Return the colours of the chosen groups, by key in the order of their choice."""
        return {key: tokens().run[rank % COLOURS] for rank, key in enumerate(self.model.chosen)}


def problem_text(error: ErrorInfo) -> str:
    """Return why the engine did not reply, in the panel that asked."""
    texts = (text.strip().rstrip(".") for text in (error.title, error.cause, error.action))
    return " ".join(f"{text}." for text in texts if text)
