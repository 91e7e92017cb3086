"""An engine in this process, with all its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import nfkd
from nfkd.engine.core import Engine, Refused
from nfkd.engine.limits import Limits
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.queue import QueueState

PATIENCE = 60


class Watched:
    """An engine and all its events."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.engine = Engine(limits)
        self.seen: list[events.Event] = []
        self._new = asyncio.Event()
        self.engine.subscribe(self._take)

    def _take(self, event: events.Event) -> None:
        self.seen.append(event)
        self._new.set()

    async def until(self, found: Callable[[events.Event], bool]) -> events.Event:
        """Wait for an event; earlier events count too."""
        index = 0
        while True:
            for event in self.seen[index:]:
                if found(event):
                    return event
            index = len(self.seen)
            self._new.clear()
            await asyncio.wait_for(self._new.wait(), PATIENCE)

    async def ended(self, run: str) -> events.Event:
        return await self.until(
            lambda event: isinstance(event, (events.RunFinished, events.RunFailed)) and event.run == run
        )

    @property
    def queue(self) -> QueueState:
        """The queue as the newest event says."""
        return self.changes[-1] if self.changes else QueueState()

    @property
    def changes(self) -> list[QueueState]:
        """The queue after each of its changes."""
        return [event.queue for event in self.seen if isinstance(event, events.QueueChanged)]

    @property
    def started(self) -> str:
        """The run with the stage that started last."""
        return [event.run for event in self.seen if isinstance(event, events.StageStarted)][-1]

    async def state(self, run: str, state: str) -> None:
        await self.until(
            lambda event: isinstance(event, events.RunChanged) and event.run == run and event.row.state == state
        )

    async def start(self, config: nfkd.ExperimentConfig, folder: Path) -> str:
        reply = await self.engine.answer(ask.Run(config=config.to_toml(), folder=str(folder)))
        assert isinstance(reply, ask.RunAccepted)
        return reply.run


@asynccontextmanager
async def engine(limits: Limits | None = None) -> AsyncIterator[Watched]:
    """Start an engine and close it."""
    watched = Watched(limits)
    try:
        yield watched
    finally:
        await watched.engine.close()


def run_engine(scenario: Callable[[Watched], Awaitable[None]], limits: Limits | None = None) -> None:
    """Run a scenario with an engine of this process."""

    async def go() -> None:
        async with engine(limits) as watched:
            await scenario(watched)

    asyncio.run(go())


async def refusal(engine: Engine, request: ask.Request) -> Refused:
    """Return why a request is refused."""
    with pytest.raises(Refused) as refused:
        await engine.answer(request)
    return refused.value
