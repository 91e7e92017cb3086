"""One kind of question of a panel about the flows of a run: the newest counts, and it can be cancelled."""

from __future__ import annotations

from uuid import uuid4

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import CancelInspection, InspectionRequest
from nfkd.protocol.requests import Reply
from nfkd_gui.model.studio import Studio


class Inspection(QObject):
    """Sends requests with one ticket; of those made while one is computed, only the newest is sent.

    Parameters
    ----------
    studio
        Sends the requests.
    long
        Whether a request may take seconds: then a newer one cancels the one that is computed.

    Attributes
    ----------
    ticket
        To be put into each request.
    busy
        Whether a reply is expected.
    """

    replied = Signal(object)
    """The reply to the newest request."""
    failed = Signal(object)
    """Why there is none: an `ErrorInfo`."""
    progressed = Signal(float)
    """The share that is done, from 0 to 1."""
    busy_changed = Signal(bool)

    def __init__(self, studio: Studio, parent: QObject | None = None, *, long: bool = False) -> None:
        super().__init__(parent)
        self._studio, self._long = studio, long
        self.ticket = uuid4().hex
        self.busy = False
        self._sent: object | None = None
        self._waiting: InspectionRequest | None = None
        studio.inspection_progressed.connect(self._progress)

    def ask(self, request: InspectionRequest) -> None:
        """Send a request that carries `ticket`, or keep it until the reply to the one that is computed."""
        if self._long:
            self.cancel()
        self._set_busy(busy=True)
        if self._sent is None:
            self._send(request)
        else:
            self._waiting = request

    def cancel(self) -> None:
        """Drop the replies that are expected, and end the computation."""
        self._waiting = None
        if self._sent is not None:
            self._sent = None
            self._studio.ask(CancelInspection(ticket=self.ticket), _ignore, _ignore)
        self._set_busy(busy=False)

    def _send(self, request: InspectionRequest) -> None:
        sent = self._sent = object()

        def replied(reply: Reply) -> None:
            if self._is_expected(sent):
                self.replied.emit(reply)

        def failed(error: ErrorInfo) -> None:
            if self._is_expected(sent):
                self.failed.emit(error)

        self._studio.ask(request, replied, failed)

    def _is_expected(self, sent: object) -> bool:
        """Return whether the reply to a request is still wanted; then send the request that waits for it."""
        if sent is not self._sent:
            return False
        waiting, self._waiting, self._sent = self._waiting, None, None
        if waiting is not None:
            self._send(waiting)
        self._set_busy(busy=waiting is not None)
        return True

    def _set_busy(self, *, busy: bool) -> None:
        if busy != self.busy:
            self.busy = busy
            self.busy_changed.emit(busy)

    def _progress(self, ticket: str, share: float) -> None:
        if ticket == self.ticket and self.busy:
            self.progressed.emit(share)


def _ignore(_reply: object) -> None:
    pass
