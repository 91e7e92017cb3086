"""The engine inside the studio's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nfkd.protocol.requests import Request
from nfkd_gui.gc_policy import LoopCollector
from nfkd_gui.link.engine_client import (
    EngineClient,
    EngineError,
    OnError,
    OnEvent,
    OnLost,
    OnReply,
    call_back,
    engine_lost,
    not_started,
)

if TYPE_CHECKING:
    from types import ModuleType


class InProcessClient(EngineClient):
    """Runs the engine in this process: for tests, debugging and machines that allow no second process."""

    outlives_window = False

    def __init__(self, on_event: OnEvent, on_lost: OnLost) -> None:
        super().__init__(on_event, on_lost)
        self._engine: Any = None
        self._unsubscribe: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: type[Exception] = Exception
        self._collector = LoopCollector()

    async def start(self) -> None:
        self._collector.start()
        try:
            with ThreadPoolExecutor(1) as thread:  # torch takes seconds to import; the window must not freeze
                core = await asyncio.wrap_future(thread.submit(_import_engine))
            self._engine = core.Engine()
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineError(not_started(str(error))) from error
        self._refused = core.Refused
        self._unsubscribe = self._engine.subscribe(lambda event: call_back(self._on_event, event))

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._engine is None:
            error = not_started("it has not been started")
            asyncio.get_running_loop().call_soon(call_back, on_error, error)
            return
        task = asyncio.create_task(self._answer(request, on_reply, on_error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        try:
            reply = await self._engine.answer(request)
        except self._refused as refused:
            call_back(on_error, refused.error)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - report it, as the crash of an engine process is reported
            call_back(on_error, engine_lost(f"{type(error).__name__}: {error}"))
        else:
            call_back(on_reply, reply)

    async def close(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        self._collector.stop()


def _import_engine() -> ModuleType:
    import nfkd.engine.core  # the only import of the engine in the studio; it loads torch

    return nfkd.engine.core
