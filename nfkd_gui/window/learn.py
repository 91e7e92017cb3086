"""The Learn workspace: a lesson at the left, the lab beside it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QWidget

from nfkd.config.datasets import kind_label
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_view import LabView
from nfkd_gui.panels.lesson import LessonPanel
from nfkd_gui.theme import scaled
from nfkd_gui.widgets.buttons import quiet_button
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

_LESSON, _NARROWEST, _PRESENTED = 400, 320, 560


class LearnWorkspace(Workspace):
    """Teaches with flows that train while one watches; the lab trains only while it is on the screen.

    Page Down and Page Up turn the pages of a lesson, also after a click on the lab; N shows and hides the speaker notes
    of the presenter view.
    """

    run_wanted = Signal(str)
    """The name of a recorded run that a lesson shows."""
    named = Signal(str, str)
    """What the lab shows, and its flows."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("learn", parent)
        self.lab = LabModel(studio, self)
        self.view = LabView(self.lab, studio, self)
        self.setCentralWidget(self.view)
        self.lesson = LessonPanel(self.lab, studio, parent=self)
        self.lesson.parts_wanted.connect(self.view.show_parts)
        self.lesson.run_wanted.connect(self.run_wanted)
        dock = PanelDock("lesson", "Lessons", self.lesson, self, scrolls=False)
        self.add(dock, Qt.DockWidgetArea.LeftDockWidgetArea, _LESSON, _NARROWEST)
        self._presented = False
        self.notes = quiet_button("Notes", dock.head)
        self.notes.setObjectName("learn.notes")
        self.notes.setToolTip("Show or hide the speaker notes (N).")
        self.notes.setCheckable(True)
        self.notes.toggled.connect(self._show_notes)
        dock.head.add(self.notes)
        self.notes.hide()
        self._listen()

    def _listen(self) -> None:
        self._pages = [  # of the lab: the lesson has its own
            self._shortcut(Qt.Key.Key_PageDown, self.view, self.lesson.go_on),
            self._shortcut(Qt.Key.Key_PageUp, self.view, self.lesson.go_back),
        ]
        self._note_key = self._shortcut(Qt.Key.Key_N, self, self.notes.toggle)
        self._note_key.setEnabled(False)
        self.lesson.page_changed.connect(self._show_page)
        self._show_page()
        self.lab.state_changed.connect(self._name)
        self.lab.opened.connect(self._name)

    def _shortcut(self, key: Qt.Key, area: QWidget, act: Callable[[], None]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), area)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(act)
        return shortcut

    def _show_page(self) -> None:
        """Let the keys turn pages only where there are some, so that sliders have them otherwise."""
        for shortcut in self._pages:
            shortcut.setEnabled(self.lesson.lesson is not None)
        self._show_notes()

    def _show_notes(self) -> None:
        notes = self.lesson.findChild(QWidget, "lesson.notes")
        if notes is not None:
            notes.setVisible(self.notes.isChecked())

    def _name(self) -> None:
        lab, info = self.lab, self.lab.info
        flows = "" if info is None else " → ".join(info.flows[role].summary for role in ("teacher", "student"))
        data = "own points" if lab.state.lab.points else kind_label(lab.state.data.kind).lower()
        self.named.emit(f"Lab: {data}", flows)

    def present(self, *, on: bool) -> None:
        """Show the presenter view, with large type and, if wanted, the speaker notes; or leave it."""
        self.notes.setChecked(False)  # the audience sees the same screen
        self.notes.setVisible(on)
        self._note_key.setEnabled(on)
        self.lesson.present(on)
        self._show_notes()
        self.lesson.setFocus()
        self.view.present(on)
        self._presented = on
        QTimer.singleShot(0, self, self._fit_dock)  # the dock must know the new width of the lesson first

    def _fit_dock(self) -> None:
        width = scaled(_PRESENTED if self._presented else _LESSON)
        self.resizeDocks([self.docks["lesson"]], [width], Qt.Orientation.Horizontal)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.view.setFocus()  # for its keys
        self._name()

    def stop(self) -> None:
        """Close the lab in the engine."""
        self.lab.close()
