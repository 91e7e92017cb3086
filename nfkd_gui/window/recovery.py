"""Offers the unsaved experiment of a window that ended unexpectedly, and says that changes are kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from nfkd.text import plain
from nfkd_gui.model.autosave import Unsaved
from nfkd_gui.widgets.labels import ToneLabel
from nfkd_gui.widgets.note_bar import NoteBar

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_LONGEST = 60


class Recovery(QObject):
    """A note above the pages, and a label for the status bar.

    Attributes
    ----------
    note
        Offers to restore an unsaved experiment.
    kept
        Says when the unsaved changes of this window were kept.
    """

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window, self._autosave = window, window.studio.autosave
        self._waiting: list[Unsaved] = []
        self.note = NoteBar("recovery", window)
        self.note.add_link("recovery.restore", "Restore", "Open the experiment with its unsaved changes.")
        self.note.add_link("recovery.discard", "Discard", "Delete the unsaved changes.")
        self.note.chosen.connect(self._decide)
        self.kept = ToneLabel(parent=window)
        self.kept.setObjectName("status.kept")
        self._autosave.changed.connect(self._show_kept)

    def offer(self) -> None:
        """Offer what windows that ended unexpectedly have left, the newest first."""
        self._waiting = self._autosave.found()
        self._show_next()

    def _show_next(self) -> None:
        self.note.setVisible(bool(self._waiting))
        if self._waiting:
            unsaved = self._waiting[0]
            name = plain(unsaved.path.name if unsaved.path else unsaved.name, _LONGEST)
            when = f"{_clock(unsaved.time)}{_day(unsaved.time)}"
            self.note.show_text(f"NFKD ended unexpectedly. Unsaved changes to “{name}” from {when} were kept.")

    def _decide(self, link: str) -> None:
        if link == "recovery.discard":
            self._waiting.pop(0).discard()
            self._show_next()
        elif self._window.files.may_discard(self._restore):
            self._restore()

    def _restore(self) -> None:
        self._autosave.restore(self._waiting.pop(0))
        self._window.open_workspace("design")
        self._show_next()

    def _show_kept(self) -> None:
        kept_at = self._autosave.kept_at
        self.kept.setText(f"Unsaved changes kept automatically, {_clock(kept_at)}" if kept_at else "")


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(seconds))


def _day(seconds: float) -> str:
    """Return the day, if it is not today."""
    day = time.strftime(" on %Y-%m-%d", time.localtime(seconds))
    return "" if day == time.strftime(" on %Y-%m-%d") else day
