"""The engine's server: listens on a local socket, with one task per client."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING

from nfkd.engine.client import CHUNK, Client, Disconnect
from nfkd.engine.endpoint import address
from nfkd.engine.limits import Limits
from nfkd.protocol.requests import Answer, Call, Refusal, Shutdown

if TYPE_CHECKING:
    from nfkd.engine.core import Engine

_GRACE = 5.0
_IDLE_CHECKS = 4


class Server:
    """Serves all clients; ends when the engine is idle and no client is left.

    A client either gets a greeting, and then keeps the engine running, or its connection is closed without one: its
    relay then finds or starts another engine.

    Parameters
    ----------
    grace
        Seconds to wait for another client before it ends.
    limits
        Limits on clients and requests.

    Attributes
    ----------
    stuck
        After the end: the files that stuck threads wait for. The process must end without these threads.
    """

    def __init__(self, grace: float = _GRACE, limits: Limits | None = None) -> None:
        self._grace, self._limits = grace, limits or Limits()
        self._clients: dict[asyncio.Task[None], Client] = {}
        self.stuck: list[str] = []
        self._idle_checks = 0
        self._ending = False
        self._end = asyncio.Event()
        self._engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    async def serve(self, on_listening: Callable[[], None]) -> None:
        """Serve until the end; `on_listening` is called as soon as clients can connect."""
        self._listening = await self._listen()
        on_listening()
        # torch takes seconds to load; meanwhile clients get a greeting, and their calls wait
        core = await asyncio.wrap_future(import_engine())
        engine: Engine = core.Engine(self._limits)
        self._engine.set_result(engine)
        watch = asyncio.create_task(self._watch(engine))
        try:
            await self._end.wait()
        finally:
            watch.cancel()
            self._refuse_new_clients()
            await engine.close()
            self.stuck = engine.running
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        if sys.platform == "win32":  # pragma: no cover - untested
            loop = asyncio.get_running_loop()

            def protocol() -> asyncio.StreamReaderProtocol:
                return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._accept)

            [server] = await loop.start_serving_pipe(protocol, address())  # type: ignore[attr-defined]
            return server
        return await asyncio.start_unix_server(self._accept, address(), limit=CHUNK)

    async def _watch(self, engine: Engine) -> None:
        while True:
            self._idle_checks = self._idle_checks + 1 if not self._clients and engine.idle else 0
            if self._idle_checks > _IDLE_CHECKS:
                break
            await asyncio.sleep(self._grace / _IDLE_CHECKS)
        self._refuse_new_clients()  # no await since the last check: no client can connect in between
        self._end.set()

    def _refuse_new_clients(self) -> None:
        self._ending = True
        self._listening.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._ending:  # the client connected just before the end
            writer.close()
            return
        client = self._clients[task] = Client(reader, writer, self._answer, self._limits, _log)
        ungreeted = [other for other in self._clients.values() if not (other.greeted or other.disconnecting)]
        if len(ungreeted) > self._limits.ungreeted:
            cause = "more clients connected before it sent its greeting"
            ungreeted[0].disconnect(Disconnect("Too many clients", cause, "Connect again."))
        try:
            await client.serve(self._engine)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the engine ends
        finally:
            self._clients.pop(task)
            self._idle_checks = 0
            writer.close()

    async def _answer(self, call: Call) -> Answer | Refusal:
        engine = await asyncio.shield(self._engine)  # the future is shared by all clients
        from nfkd.engine.core import Refused  # already loaded

        if isinstance(call.request, Shutdown):
            self._refuse_new_clients()
        try:
            reply = await engine.answer(call.request)
        except Refused as refused:
            return Refusal(id=call.id, error=refused.error, problems=refused.problems)
        finally:
            if isinstance(call.request, Shutdown):
                asyncio.get_running_loop().call_later(0.2, self._end.set)  # the reply is sent first
        return Answer(id=call.id, reply=reply)


def import_engine() -> Future[ModuleType]:
    """Import the engine in a daemon thread, which does not delay the end of the process as an executor's would.

    Objects that exist afterwards are excluded from garbage collection.
    """
    imported: Future[ModuleType] = Future()

    def work() -> None:
        imported.set_running_or_notify_cancel()  # makes it impossible to cancel
        try:
            imported.set_result(_import_without_collections("nfkd.engine.core"))
        except BaseException as error:  # noqa: BLE001 - the server raises it
            imported.set_exception(error)

    Thread(target=work, name="import", daemon=True).start()
    return imported


def _import_without_collections(name: str) -> ModuleType:
    """Import a module and, if it is new, freeze all objects: a search of torch's for garbage takes 0.1 s each time."""
    new, enabled = name not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        module = import_module(name)
        if new:
            gc.freeze()
        return module
    finally:
        if enabled:
            gc.enable()


def _log(line: str) -> None:
    sys.stderr.write(f"nfkd engine: {line}\n")
    sys.stderr.flush()
