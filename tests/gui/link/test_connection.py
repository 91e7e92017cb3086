"""The connection to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request
from nfkd_gui.link.connection import Connection
from nfkd_gui.link.engine_client import EngineClient


class SilentClient(EngineClient):
    """Connects, but never replies."""

    outlives_window = False

    async def start(self) -> None:
        """Connect."""

    def send(self, request: Request, on_reply: Callable[[Reply], None], on_error: Callable[[Any], None]) -> None:
        """Ignore the request."""

    async def close(self) -> None:
        """Disconnect."""


def test_an_engine_without_status_is_reported(do: Callable[[Any], Any], qapp: object) -> None:
    async def scenario() -> None:
        failed: asyncio.Future[ErrorInfo] = asyncio.get_running_loop().create_future()
        connection = Connection(SilentClient, lambda _event: None, patience=0.05)
        connection.failed.connect(failed.set_result)
        connection.start()
        error = await asyncio.wait_for(failed, 30)
        assert error.title == "The engine does not answer"
        assert connection.state.phase == "lost"
        await connection.close()

    do(scenario())
