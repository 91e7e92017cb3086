"""What waits to be sent to one client: bounded in number and size, with pictures coalesced to the newest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Literal, NamedTuple

from nfkd.engine.limits import Limits
from nfkd.protocol.codec import to_wire
from nfkd.protocol.events import COALESCED, Event, Gap
from nfkd.protocol.frames import FrameError
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.requests import Answer, FromEngine, Notice, Refusal

_Kind = Literal["event", "reply"]


class Waiting(NamedTuple):
    """A frame that waits, whether it is an event, and what is called when it was sent."""

    kind: _Kind
    frame: bytes
    on_sent: Callable[[], None]


class Outbox:
    """A queue of frames for one client.

    Messages are encoded when they come, so that their size is known.

    Parameters
    ----------
    limits
        Beyond `events` or `event_bytes` all events are left out and the client gets `Gap`: it asks for a snapshot then.
        Replies are never left out.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._waiting: OrderedDict[tuple[object, ...], Waiting] = OrderedDict()
        self._bytes: dict[_Kind, int] = {"event": 0, "reply": 0}
        self._numbers = count()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def reply_bytes(self) -> int:
        """Bytes of the replies that wait."""
        return self._bytes["reply"]

    async def emptied(self) -> None:
        """Wait until nothing waits any more."""
        await self._emptied.wait()

    def put(self, message: FromEngine, on_sent: Callable[[], None] = lambda: None) -> None:
        """Have a message sent, after all that wait; `on_sent` is called then."""
        self._add((next(self._numbers),), Waiting("reply", _encoded(message), on_sent))

    def put_event(self, event: Event) -> None:
        """Have an event sent; the newest of its kind replaces one that waits."""
        key: tuple[object, ...] = (next(self._numbers),)
        if isinstance(event, COALESCED):
            key = (type(event), *(getattr(event, name, "") for name in ("run", "seed", "stage", "data")))
        self._add(key, Waiting("event", _encoded(Notice(event=event)), lambda: None))
        if len(self._waiting) > self._limits.events or self._bytes["event"] > self._limits.event_bytes:
            self._leave_out()

    def clear(self) -> None:
        """Forget all that waits."""
        for key in list(self._waiting):
            self._remove(key)

    def _leave_out(self) -> None:
        for key in [key for key, waiting in self._waiting.items() if waiting.kind == "event"]:
            self._remove(key)
        self._add((Gap,), Waiting("event", _encoded(Notice(event=Gap())), lambda: None))

    def _add(self, key: tuple[object, ...], waiting: Waiting) -> None:
        if key in self._waiting:
            self._remove(key)
        self._waiting[key] = waiting
        self._bytes[waiting.kind] += len(waiting.frame)
        self._filled.set()
        self._emptied.clear()

    def _remove(self, key: tuple[object, ...]) -> Waiting:
        waiting = self._waiting.pop(key)
        self._bytes[waiting.kind] -= len(waiting.frame)
        return waiting

    async def take(self) -> Waiting:
        """Return the oldest frame, as soon as there is one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        waiting = self._remove(next(iter(self._waiting)))
        if not self._waiting:
            self._emptied.set()
        return waiting


def _encoded(message: FromEngine) -> bytes:
    """Return a message as a frame; one that has no form on the wire becomes the refusal of its call."""
    try:
        return to_wire(message)
    except (FrameError, TypeError, ValueError, NotImplementedError) as error:
        info = ErrorInfo(title="The engine's answer cannot be sent", cause=str(error), action="Ask for less at once.")
        number = message.id if isinstance(message, Answer) else 0
        return to_wire(Refusal(id=number, error=info) if number else Notice(event=Gap()))
