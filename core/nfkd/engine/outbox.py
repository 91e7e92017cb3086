"""The queue of frames for one client, bounded in number and size, with pictures coalesced to the newest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Literal, NamedTuple

from nfkd.engine.limits import Limits
from nfkd.protocol.codec import to_wire
from nfkd.protocol.events import COALESCED, CurvePoints, Event, Gap, LogLine
from nfkd.protocol.frames import FrameError
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.requests import Answer, FromEngine, Notice, Refusal

_Kind = Literal["event", "reply"]


class QueuedFrame(NamedTuple):
    """A frame in the queue; `number` counts its place, and `on_sent` is called when it has been sent."""

    kind: _Kind
    frame: bytes
    number: int
    on_sent: Callable[[], None] = lambda: None


class Outbox:
    """A queue of frames for one client.

    Parameters
    ----------
    limits
        Beyond `events` or `event_bytes` all queued events are dropped and the client gets `Gap`. Replies are never
        dropped.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._queue: OrderedDict[tuple[object, ...], QueuedFrame] = OrderedDict()
        self._bytes: dict[_Kind, int] = {"event": 0, "reply": 0}
        self._numbers = count()
        self._ordered = -1  # number of the last event that others may not pass
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def reply_bytes(self) -> int:
        """Total size of the queued replies."""
        return self._bytes["reply"]

    async def wait_until_empty(self) -> None:
        """Wait until the queue is empty."""
        await self._emptied.wait()

    def put(self, message: FromEngine, on_sent: Callable[[], None] = lambda: None) -> None:
        """Queue a message; `on_sent` is called when it has been sent."""
        number = next(self._numbers)
        self._add((number,), QueuedFrame("reply", _encode(message), number, on_sent))
        self._ordered = number

    def put_event(self, event: Event) -> None:
        """Queue an event; one that may be coalesced replaces the queued one of its kind.

        It takes that one's place, or those of a client on a slow line would be replaced again and again before their
        turn. It passes only points of curves and lines of the log.
        """
        number = next(self._numbers)
        key: tuple[object, ...] = (number,)
        if isinstance(event, COALESCED):
            key = (type(event), *(getattr(event, name, "") for name in ("run", "seed", "stage", "data", "ticket")))
        elif not isinstance(event, (CurvePoints, LogLine)):
            self._ordered = number
        self._add(key, QueuedFrame("event", _encode(Notice(event=event)), number))
        if len(self._queue) > self._limits.events or self._bytes["event"] > self._limits.event_bytes:
            self._drop_events()

    def clear(self) -> None:
        """Drop everything in the queue."""
        for key in list(self._queue):
            self._remove(key)

    def _drop_events(self) -> None:
        for key in [key for key, queued in self._queue.items() if queued.kind == "event"]:
            self._remove(key)
        number = self._ordered = next(self._numbers)
        self._add((Gap,), QueuedFrame("event", _encode(Notice(event=Gap())), number))

    def _add(self, key: tuple[object, ...], queued: QueuedFrame) -> None:
        before = self._queue.get(key)
        if before is not None and before.number > self._ordered:
            self._bytes[before.kind] -= len(before.frame)
            queued = queued._replace(number=before.number)
        elif before is not None:
            self._remove(key)
        self._queue[key] = queued
        self._bytes[queued.kind] += len(queued.frame)
        self._filled.set()
        self._emptied.clear()

    def _remove(self, key: tuple[object, ...]) -> QueuedFrame:
        queued = self._queue.pop(key)
        self._bytes[queued.kind] -= len(queued.frame)
        return queued

    async def pop(self) -> QueuedFrame:
        """Remove and return the oldest frame; waits for one."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        queued = self._remove(next(iter(self._queue)))
        if not self._queue:
            self._emptied.set()
        return queued


def _encode(message: FromEngine) -> bytes:
    """Return a message as a frame; one that cannot be encoded becomes the refusal of its call."""
    try:
        return to_wire(message)
    except (FrameError, TypeError, ValueError, NotImplementedError) as error:
        info = ErrorInfo(title="The engine's answer cannot be sent", cause=str(error), action="Request less at once.")
        number = message.id if isinstance(message, Answer) else 0
        return to_wire(Refusal(id=number, error=info) if number else Notice(event=Gap()))
