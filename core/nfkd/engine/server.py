"""The engine's process: listens on a local socket, one task a client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING

from nfkd.engine.client import CHUNK, Client, Parting
from nfkd.engine.limits import Limits
from nfkd.engine.place import address
from nfkd.protocol.requests import Answer, Call, Refusal, Shutdown

if TYPE_CHECKING:
    from nfkd.engine.core import Engine

_GRACE = 5.0
_LOOKS = 4


class Server:
    """Serves every client, and ends when the engine is idle and no client is left.

    A client is either greeted, and then keeps the engine, or parted from without a word: its relay then looks for
    another engine.

    Parameters
    ----------
    grace
        Seconds to wait for another client before it ends.
    limits
        Of clients and of requests.

    Attributes
    ----------
    left
        After the end: what threads still wait for. They are given up, and the process must end without them.
    """

    def __init__(self, grace: float = _GRACE, limits: Limits | None = None) -> None:
        self._grace, self._limits = grace, limits or Limits()
        self._clients: dict[asyncio.Task[None], Client] = {}
        self.left: list[str] = []
        self._alone = 0
        self._ending = False
        self._end = asyncio.Event()
        self._engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    async def serve(self, on_listening: Callable[[], None]) -> None:
        """Listen until the end; `on_listening` is called as soon as clients may come."""
        self._listening = await self._listen()
        on_listening()
        # torch takes seconds to load: clients are greeted meanwhile, and their calls wait.
        core = await asyncio.wrap_future(_import("nfkd.engine.core"))
        engine: Engine = core.Engine(self._limits)
        self._engine.set_result(engine)
        watch = asyncio.create_task(self._watch(engine))
        try:
            await self._end.wait()
        finally:
            watch.cancel()
            self._retire()
            await engine.close()
            self.left = engine.running
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
            self._alone = self._alone + 1 if not self._clients and engine.idle else 0
            if self._alone > _LOOKS:
                break
            await asyncio.sleep(self._grace / _LOOKS)
        self._retire()  # in the same turn of the loop as the last look: no client can come between the two
        self._end.set()

    def _retire(self) -> None:
        """Take no more clients."""
        self._ending = True
        self._listening.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._ending:  # it was on its way in when the engine decided to end
            writer.close()
            return
        client = self._clients[task] = Client(reader, writer, self._answer, self._limits, _log)
        ungreeted = [other for other in self._clients.values() if not (other.greeted or other.parting)]
        if len(ungreeted) > self._limits.ungreeted:
            ungreeted[0].part(Parting("Too many clients", "others came before it had greeted", "Connect again."))
        try:
            await client.serve(self._engine)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the engine ends
        finally:
            self._clients.pop(task)
            self._alone = 0
            writer.close()

    async def _answer(self, call: Call) -> Answer | Refusal:
        engine = await asyncio.shield(self._engine)  # a client that leaves takes it from nobody else
        from nfkd.engine.core import Refused  # loaded by now

        if isinstance(call.request, Shutdown):
            self._retire()
        try:
            reply = await engine.answer(call.request)
        except Refused as refused:
            return Refusal(id=call.id, error=refused.error, problems=refused.problems)
        finally:
            if isinstance(call.request, Shutdown):
                asyncio.get_running_loop().call_later(0.2, self._end.set)  # the reply leaves first
        return Answer(id=call.id, reply=reply)


def _import(name: str) -> Future[ModuleType]:
    """Import a module in a daemon thread: an executor's would keep a process that is told to end."""
    imported: Future[ModuleType] = Future()

    def work() -> None:
        imported.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        try:
            imported.set_result(import_module(name))
        except BaseException as error:  # noqa: BLE001 - the server tells
            imported.set_exception(error)

    Thread(target=work, name="import", daemon=True).start()
    return imported


def _log(line: str) -> None:
    sys.stderr.write(f"nfkd engine: {line}\n")
    sys.stderr.flush()
