"""Requests to the engine, of which only the newest of each kind is kept waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd_gui.link.engine_client import OnError, OnReply


class Ask(Protocol):
    """Sends a request to the engine, as `Mailbox.ask` does."""

    def __call__(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None: ...


class Mailbox:
    """Keeps a dragged slider or fast typing from flooding the engine with requests.

    Parameters
    ----------
    send
        Sends one request to the engine.
    """

    def __init__(self, send: Callable[[Request, OnReply, OnError], None]) -> None:
        self._send = send
        self._waiting: dict[str, tuple[Request, OnReply, OnError] | None] = {}

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Send a request; exactly one of the two is called later, unless a newer request replaces this one.

        Parameters
        ----------
        key
            Only one request with the same key is sent at a time. Of those made meanwhile, the newest is sent next and
            the others are dropped. A reply is also dropped when the newest request is about another run.
        """
        if key and key in self._waiting:
            self._waiting[key] = (request, on_reply, on_error)
            return
        if key:
            self._waiting[key] = None
        run = getattr(request, "run", "")

        def replied(reply: Reply) -> None:
            if self._send_next(key, run):
                on_reply(reply)

        def failed(error: ErrorInfo) -> None:
            if self._send_next(key, run):
                on_error(error)

        self._send(request, replied, failed)

    def clear(self) -> None:
        """Drop all waiting requests."""
        self._waiting.clear()

    def _send_next(self, key: str, run: str) -> bool:
        """Send the request that waits under `key`; return whether the reply about `run` is still wanted."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return True
        self.ask(*waiting, key=key)
        return getattr(waiting[0], "run", "") == run
