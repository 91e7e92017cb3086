"""Records what a client reports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from nfkd.protocol.events import ErrorInfo, Event
from nfkd_gui.link.relay_client import RelayClient
from tests.gui import scripted_engine


class Recorder:
    """The events and losses that a client has reported, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lost: list[ErrorInfo] = []
        self.changed = asyncio.Event()

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    def on_lost(self, error: ErrorInfo) -> None:
        self.lost.append(error)
        self.changed.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds."""
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)


def scripted_client(recorder: Recorder, behaviour: str = "normal", patience: float = 30.0) -> RelayClient:
    """Return a client of the fake engine's process."""
    command = [sys.executable, scripted_engine.__file__, behaviour]
    return RelayClient(recorder.on_event, recorder.on_lost, command, patience)
