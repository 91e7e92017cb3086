"""The engine's process: listens on a local socket, one task a client."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING

import nfkd
from nfkd.engine.outbox import Outbox
from nfkd.engine.place import address
from nfkd.protocol.codec import PROTOCOL, from_client, to_wire
from nfkd.protocol.events import ErrorInfo, Gap
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, FromClient, FromEngine, Hello, Notice, Refusal, Shutdown

if TYPE_CHECKING:
    from nfkd.engine.core import Engine

_CHUNK = 1 << 18
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
    """

    def __init__(self, grace: float = _GRACE) -> None:
        self._grace = grace
        self._clients: set[asyncio.Task[None]] = set()
        self._alone = 0
        self._ending = False
        self._end = asyncio.Event()
        self._engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    async def serve(self, on_listening: Callable[[], None]) -> None:
        """Listen until the end; `on_listening` is called as soon as clients may come."""
        self._listening = await self._listen()
        on_listening()
        # torch takes seconds to load: clients are greeted meanwhile, and their calls wait.
        loop = asyncio.get_running_loop()
        core = await loop.run_in_executor(None, import_module, "nfkd.engine.core")
        engine: Engine = core.Engine()
        self._engine.set_result(engine)
        watch = asyncio.create_task(self._watch(engine))
        try:
            await self._end.wait()
        finally:
            watch.cancel()
            self._retire()
            await engine.close()
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
        return await asyncio.start_unix_server(self._accept, address(), limit=_CHUNK)

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
        self._clients.add(task)
        try:
            await _Client(reader, writer, self._answer).serve(self._engine)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the engine ends
        finally:
            self._clients.discard(task)
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
            return Refusal(id=call.id, error=refused.error, faults=refused.faults)
        finally:
            if isinstance(call.request, Shutdown):
                asyncio.get_running_loop().call_later(0.2, self._end.set)  # the reply leaves first
        return Answer(id=call.id, reply=reply)


def _encoded(message: FromEngine) -> bytes:
    """Return a message as a frame; one that has no form on the wire becomes the refusal of its call."""
    try:
        return to_wire(message)
    except (FrameError, TypeError, ValueError, NotImplementedError) as error:
        info = ErrorInfo(title="The engine's answer cannot be sent", cause=str(error), action="Ask for less at once.")
        number = message.id if isinstance(message, Answer) else 0
        return to_wire(Refusal(id=number, error=info) if number else Notice(event=Gap()))


class _Client:
    """One connection: frames in, frames out."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[[Call], Awaitable[Answer | Refusal]],
    ) -> None:
        self._reader, self._writer, self._answer = reader, writer, answer
        self._outbox = Outbox()
        self._greeted = False
        self._calls: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] = lambda: None

    async def serve(self, engine: asyncio.Future[Engine]) -> None:
        """Serve until the client leaves or breaks the protocol."""
        self._sender, self._engine = asyncio.create_task(self._send()), engine
        try:
            await self._receive()
        finally:
            engine.remove_done_callback(self._subscribe)
            self._unsubscribe()
            for task in (self._sender, *self._calls):
                task.cancel()

    def _subscribe(self, engine: asyncio.Future[Engine]) -> None:
        self._unsubscribe = engine.result().subscribe(self._outbox.put_event)

    async def _send(self) -> None:
        while True:
            self._writer.write(_encoded(await self._outbox.take()))
            await self._writer.drain()

    async def _receive(self) -> None:
        decoder = FrameDecoder()
        while data := await self._reader.read(_CHUNK):
            try:
                for body in decoder.feed(data):
                    if not await self._take(from_client(body)):
                        return
            except FrameError as error:
                await self._part("The message was refused", str(error), "Start the studio again.")
                return

    async def _take(self, message: FromClient) -> bool:
        match message:
            case Hello():
                return await self._greet(message)
            case Call() if not self._greeted:
                await self._part("The message was refused", "the first frame was no greeting", "Update the client.")
                return False
            case Call():
                task = asyncio.create_task(self._serve_call(message))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
                return True

    async def _greet(self, hello: Hello) -> bool:
        self._outbox.put(Hello(protocol=PROTOCOL, version=nfkd.__version__))
        if hello.protocol != PROTOCOL:
            cause = (
                f"this engine (NFKD {nfkd.__version__}) speaks protocol {PROTOCOL}, "
                f"the client (NFKD {hello.version}) speaks {hello.protocol}"
            )
            await self._part("Engine and studio do not fit", cause, "Use the same version of NFKD on both sides.")
            return False
        if not self._greeted:
            self._greeted = True
            self._engine.add_done_callback(self._subscribe)  # no event goes before the greeting
        return True

    async def _serve_call(self, call: Call) -> None:
        try:
            self._outbox.put(await self._answer(call))
        except Exception as error:  # noqa: BLE001 - one broken request must not end the engine
            trace = "".join(traceback.format_exception(error))
            info = ErrorInfo(title="The engine failed to answer", cause=str(error), traceback=trace)
            self._outbox.put(Refusal(id=call.id, error=info))

    async def _part(self, title: str, cause: str, action: str) -> None:
        """Say why, and end the connection: what follows a broken frame cannot be read."""
        message = Refusal(id=0, error=ErrorInfo(title=title, cause=cause, action=action))
        with contextlib.suppress(ConnectionError):
            self._outbox.put(message)
            emptied = asyncio.create_task(self._outbox.emptied())
            await asyncio.wait({emptied, self._sender}, return_when=asyncio.FIRST_COMPLETED)  # a client may have left
            emptied.cancel()
            await self._writer.drain()
