"""Requests on their way: of those that overtake each other, only the newest counts."""

from __future__ import annotations

from collections.abc import Callable

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd_gui.link.engine_client import EngineError

OnReply = Callable[[Reply], None]
OnError = Callable[[ErrorInfo], None]
_Send = Callable[[Request, OnReply, Callable[[EngineError], None]], None]
_Waiting = tuple[Request, OnReply, OnError]


class Mailbox:
    """Keeps a dragged slider or a typed word from flooding the engine.

    Parameters
    ----------
    send
        Carries one request to the engine.
    """

    def __init__(self, send: _Send) -> None:
        self._carry = send
        self._waiting: dict[str, _Waiting | None] = {}

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Ask; exactly one of the two is called later, unless a newer request takes its place.

        Parameters
        ----------
        key
            Of the requests with the same key only one is under way; of those that come meanwhile the newest is
            asked next and the others are forgotten. A reply that is about another run than the newest asks for is
            dropped.
        """
        if key and key in self._waiting:
            self._waiting[key] = (request, on_reply, on_error)
            return
        if key:
            self._waiting[key] = None
        subject = getattr(request, "run", "")

        def answered(reply: Reply) -> None:
            if self._next(key, subject):
                on_reply(reply)

        def failed(error: EngineError) -> None:
            if self._next(key, subject):
                on_error(error.error)

        self._carry(request, answered, failed)

    def forget(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()

    def _next(self, key: str, subject: str) -> bool:
        """Ask what waits under `key`; return whether the reply that has just come is still wanted."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return True
        self.ask(*waiting, key=key)
        return getattr(waiting[0], "run", "") == subject
