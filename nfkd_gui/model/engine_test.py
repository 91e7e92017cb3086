"""A test of the connection to an engine on another machine."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import EngineStatus, Status
from nfkd.remote.hosts import EngineHost
from nfkd_gui.link.engine_client import EngineError
from nfkd_gui.model.machines import Machines


class EngineTest(QObject):
    """Connects once, asks for the engine's status, and disconnects."""

    found = Signal(object)
    """The `EngineStatus`."""
    failed = Signal(object)
    """An `ErrorInfo`."""

    def __init__(self, machines: Machines, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._machines = machines
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """Whether a test is under way."""
        return self._task is not None

    def start(self, host: EngineHost) -> None:
        """Test a machine; an earlier test is cancelled."""
        self.cancel()
        self._task = asyncio.ensure_future(self._test(host))

    def cancel(self) -> None:
        """End the test without a result."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _test(self, host: EngineHost) -> None:
        task = asyncio.current_task()
        client = self._machines.client_of(host, _ignore_event, _ignore_loss)
        try:
            await client.start()
            result = await client.request(Status())
        except EngineError as error:
            result = error.error
        finally:
            await client.close()
        if self._task is not task:
            return
        self._task = None
        (self.found if isinstance(result, EngineStatus) else self.failed).emit(result)


def _ignore_event(_event: Event) -> None:
    """Do nothing: events are for the studio's own connection."""


def _ignore_loss(_error: ErrorInfo) -> None:
    """Do nothing: the request fails with the same reason."""
