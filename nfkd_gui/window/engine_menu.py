"""The choice of the machine whose engine the studio uses: a menu, and the header's button that opens it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from nfkd.text import plain
from nfkd_gui.model.machines import THIS_MACHINE
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_icon_size
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import tip

_LONGEST, _LONGEST_IN_HEADER = 60, 20
"""Characters of a machine's name."""
_ICON = 16
_ENDS_RUN = "The engine runs inside this window: stop its run first."


class EngineMenu(QMenu):
    """Lists the machines; choosing one connects to its engine, while runs continue on the machine that is left."""

    managed = Signal()
    """The user wants to change the list."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__("&Engine", parent)
        self.setObjectName("menu.engine")
        self.setToolTipsVisible(True)
        self._studio = studio
        self._group = QActionGroup(self)
        self._entries: list[QAction] = []
        self.addSeparator()
        manage = self.addAction("&Manage engines …")
        manage.setObjectName("engine.manage")
        manage.setToolTip("Add, change, test and remove engines on other machines.")
        manage.triggered.connect(self.managed)
        self._end = self.actions()[0]
        for signal in (studio.machines.changed, studio.row_changed, studio.rows_changed, studio.engine_changed):
            signal.connect(self.refresh)
        self._shown: object = None
        self.refresh()

    def refresh(self) -> None:
        """List the machines."""
        machines = self._studio.machines
        locked = self._studio.ends_with_connection
        shown = (tuple(machines.hosts), machines.host, locked)
        if shown == self._shown:
            return
        self._shown = shown
        for action in self._entries:
            self._group.removeAction(action)
            self.removeAction(action)
            action.deleteLater()
        places = [
            ("", THIS_MACHINE, "The engine on this machine."),
            *((h.name, h.name, h.host) for h in machines.hosts),
        ]
        self._entries = [self._entry(*place, locked=locked) for place in places]
        self.insertActions(self._end, self._entries)

    def _entry(self, name: str, title: str, help_: str, *, locked: bool) -> QAction:
        action = QAction(f"Engine: {plain(title, _LONGEST)}".replace("&", "&&"), self)
        action.setObjectName(f"engine.use.{name}")
        action.setToolTip(tip(_ENDS_RUN if locked else f"{help_} Runs continue on the machine that is left."))
        action.setCheckable(True)
        host = self._studio.machines.host
        action.setChecked(name == (host.name if host is not None else ""))
        action.setEnabled(not locked)
        action.triggered.connect(partial(self._choose, name))
        self._group.addAction(action)
        return action

    def _choose(self, name: str, _checked: bool = False) -> None:
        self._studio.machines.choose(name)


class EngineButton(QToolButton):
    """Shows in the header which machine is used, once there is more than this one, and opens the `EngineMenu`."""

    def __init__(self, studio: Studio, menu: QMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("header.engine")
        self.setProperty("flat", True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setMenu(menu)
        self._studio, self._titled = studio, True
        set_icon_size(self, _ICON)
        limit_size(self, most=(220, 40))
        studio.machines.changed.connect(self.refresh)
        studio.engine_changed.connect(self.refresh)
        self.refresh()

    def show_title(self, shown: bool) -> None:
        """Show the name beside the icon, or only the icon."""
        self._titled = shown
        self.refresh()

    def refresh(self) -> None:
        """Show the machine in use."""
        machines, state = self._studio.machines, self._studio.engine
        name = plain(machines.label, _LONGEST_IN_HEADER).replace("&", "&&")
        away = state.phase == "lost" or state.reconnecting
        self.setVisible(bool(machines.hosts))
        self.setIcon(icon("offline" if away else "machine"))
        self.setText(f"{name} ▾")
        style = Qt.ToolButtonStyle
        self.setToolButtonStyle(style.ToolButtonTextBesideIcon if self._titled else style.ToolButtonIconOnly)
        address = f" ({machines.host.host})" if machines.host is not None else ""
        self.setToolTip(tip(f"Engine: {machines.label}{address}{', not connected' if away else ''}"))
        self.setAccessibleName(f"Engine: {machines.label}")

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_studio"):
            self.refresh()
