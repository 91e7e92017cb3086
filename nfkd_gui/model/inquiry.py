"""A question to the engine about something that changes as the user types."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd_gui.link.mailbox import Ask


class Inquiry(QObject):
    """Asks the engine after a pause in the changes; what comes after another change is dropped.

    Parameters
    ----------
    ask
        Sends a request.
    key
        As in `Mailbox.ask`.
    pause
        Milliseconds without a change before the engine is asked.
    request
        Makes the request about the present subject.
    replied, failed
        Called with the reply to it, or with why there is none.

    Attributes
    ----------
    subject
        What the engine is asked about; None asks nothing.
    """

    def __init__(
        self,
        ask: Ask,
        key: str,
        pause: int,
        request: Callable[[], Request],
        replied: Callable[[Reply], None],
        failed: Callable[[ErrorInfo], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._ask, self._key = ask, key
        self._request, self._replied, self._failed = request, replied, failed
        self.subject: object = None
        self._quiet = QTimer(self, singleShot=True, interval=pause)
        self._quiet.timeout.connect(self.send)

    @property
    def waits(self) -> bool:
        """Whether the engine will be asked after the pause."""
        return self._quiet.isActive()

    def follow(self, subject: object, *, known: bool = False) -> None:
        """Ask about a subject after the pause, unless the answer is known."""
        self.subject = subject
        self._quiet.stop() if known or subject is None else self._quiet.start()

    def send(self) -> None:
        """Ask at once."""
        self._quiet.stop()
        asked = self.subject
        if asked is None:
            return

        def replied(reply: Reply) -> None:
            if asked == self.subject:
                self._replied(reply)

        def failed(error: ErrorInfo) -> None:
            if asked == self.subject:
                self._failed(error)

        self._ask(self._request(), replied, failed, key=self._key)

    def stop(self) -> None:
        """Ask no more, and drop what still arrives: its receiver may be gone."""
        self.subject = None
        self._quiet.stop()
