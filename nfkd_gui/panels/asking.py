"""Base class of the panels that show a reply of the engine about the flows of the shown run."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Generic, TypeVar

from PySide6.QtWidgets import QWidget

from nfkd.protocol.events import StageFinished, StageStarted
from nfkd.protocol.inspection import InspectionReply, InspectionRequest
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import Role
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.widgets.panel_dock import IconButton
from nfkd_gui.widgets.waiting_line import WaitingLine

Answer = TypeVar("Answer", bound=InspectionReply)


class AskingPanel(Panel, Generic[Answer]):
    """Asks when it is drawn and its reply is missing or out of date: a panel that nobody sees asks for nothing.

    Attributes
    ----------
    reply_type
        Of the reply.
    what
        What the reply holds, for the tooltips.
    reply
        The newest reply; None before the first.
    """

    reply_type: ClassVar[type]
    what: ClassVar[str]
    event_types = (StageStarted, StageFinished)

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.reply: Answer | None = None
        self._asked: Hashable = None
        self._inspection = Inspection(studio, self, long=True)
        self._inspection.replied.connect(self._take)
        self.waiting = WaitingLine(self.name, self.what, self._inspection, self.content, repeats=True)
        self.waiting.again.connect(self.ask_again)
        again = IconButton("refresh", f"Compute the {self.what} again", "Use the newest weights.", self)
        again.setObjectName(f"{self.name}.refresh")
        again.clicked.connect(self.ask_again)
        self.tools.append(again)

    def ask_again(self) -> None:
        """Ask once more, with the newest weights."""
        self._asked = None
        self.mark_dirty()

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, self.reply_type):
            self.reply = reply  # type: ignore[assignment]
            self.mark_dirty()

    def run_changed(self) -> None:
        self._inspection.cancel()
        self.waiting.clear()
        self._asked = self.reply = None

    def has_content(self) -> bool:
        return bool(self._trained())

    def _trained(self) -> tuple[Role, ...]:
        """Return the flows that have weights."""
        return tuple(
            role
            for role in self.roles()
            if (stage := self.stage(role)) is not None
            and (stage.summary is not None or any(len(curve) for curve in stage.curves.values()))
        )

    def _ended(self) -> tuple[Role, ...]:
        """Return the flows whose training has ended."""
        return tuple(role for role in self._trained() if (stage := self.stage(role)) is not None and stage.summary)

    def draw(self) -> None:
        if self.view is None:
            return
        wanted = (self.view.row.run, self.studio.seed, self._ended() or self._trained(), self.question())
        if wanted != self._asked:
            self._asked = wanted
            self._inspection.ask(self.request(self.view.row.run, self.studio.seed, self._inspection.ticket))
        self.draw_reply()

    # --- for subclasses -------------------------------------------------------------------------------------------

    def question(self) -> Hashable:
        """Return the user's choices that the reply depends on."""
        return None

    def request(self, run: str, seed: int, ticket: str) -> InspectionRequest:
        """Return the request for the present choices."""
        raise NotImplementedError

    def draw_reply(self) -> None:
        """Draw the reply, if there is one."""
        raise NotImplementedError
