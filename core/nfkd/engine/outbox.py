"""What waits to be sent to one client: bounded, with pictures coalesced to the newest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import count

from nfkd.protocol.events import COALESCED, Event, Gap
from nfkd.protocol.requests import FromEngine, Notice

_MOST = 2000


class Outbox:
    """A queue of frames for one client.

    Parameters
    ----------
    most
        Waiting events beyond which all are left out and the client gets `Gap`: it asks for a snapshot then.
        Replies are never left out.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._waiting: OrderedDict[tuple[object, ...], FromEngine] = OrderedDict()
        self._numbers = count()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def emptied(self) -> None:
        """Wait until nothing waits any more."""
        await self._emptied.wait()

    def put(self, message: FromEngine) -> None:
        """Have a message sent, after all that wait."""
        self._add((next(self._numbers),), message)

    def put_event(self, event: Event) -> None:
        """Have an event sent; the newest of its kind replaces one that waits."""
        key: tuple[object, ...] = (next(self._numbers),)
        if isinstance(event, COALESCED):
            key = (type(event), *(getattr(event, name, "") for name in ("run", "seed", "stage", "data")))
            self._waiting.pop(key, None)
        self._add(key, Notice(event=event))
        if len(self._waiting) > self._most:
            self._leave_out()

    def _leave_out(self) -> None:
        for key in [key for key, message in self._waiting.items() if isinstance(message, Notice)]:
            del self._waiting[key]
        self._add((Gap,), Notice(event=Gap()))

    def _add(self, key: tuple[object, ...], message: FromEngine) -> None:
        self._waiting[key] = message
        self._filled.set()
        self._emptied.clear()

    async def take(self) -> FromEngine:
        """Return the oldest message, as soon as there is one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popitem(last=False)[1]
        if not self._waiting:
            self._emptied.set()
        return message
