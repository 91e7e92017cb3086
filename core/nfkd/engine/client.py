"""One client of the engine: frames in, frames out, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nfkd
from nfkd.engine.limits import Limits
from nfkd.engine.outbox import Outbox
from nfkd.protocol.codec import PROTOCOL, from_client
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.requests import Answer, Call, FromClient, Hello, Refusal

if TYPE_CHECKING:
    from nfkd.engine.core import Engine

CHUNK = 1 << 18
_MIB = 1 << 20


@dataclass(frozen=True)
class Parting:
    """Why a client is disconnected.

    Attributes
    ----------
    title, cause, action
        For the client.
    unread
        Whether it did not read what was sent to it: that is left out, and the engine's log has a line.
    """

    title: str
    cause: str
    action: str
    unread: bool = False


class Client:
    """A connection: frames in, frames out.

    Parameters
    ----------
    reader, writer
        Its streams.
    answer
        Answers a call.
    limits
        What it may send and leave unread.
    log
        Takes a line for the engine's log.

    Attributes
    ----------
    greeted
        Whether it has greeted.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[[Call], Awaitable[Answer | Refusal]],
        limits: Limits,
        log: Callable[[str], None],
    ) -> None:
        self._reader, self._writer, self._answer, self._limits, self._log = reader, writer, answer, limits, log
        self._outbox = Outbox(limits)
        self._decoder = FrameDecoder(limits.greeting_bytes)
        self._slots = asyncio.Semaphore(limits.calls)
        self._calls: set[asyncio.Task[None]] = set()
        self._parting: asyncio.Future[Parting] = asyncio.get_running_loop().create_future()
        self._unsubscribe: Callable[[], None] = lambda: None
        self.greeted = False

    async def serve(self, engine: asyncio.Future[Engine]) -> None:
        """Serve until the client leaves, breaks the protocol or exceeds a limit."""
        self._engine = engine
        sender, receiver = asyncio.create_task(self._send()), asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sender, receiver, self._parting}, return_when=asyncio.FIRST_COMPLETED)
            receiver.cancel()
            if self._parting.done():
                await self._part(self._parting.result(), sender)
        finally:
            engine.remove_done_callback(self._subscribe)
            self._unsubscribe()
            for task in (sender, receiver, *self._calls):
                task.cancel()
            ends = await asyncio.gather(sender, receiver, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, ConnectionError):  # the client may have left
                raise end

    @property
    def parting(self) -> bool:
        """Whether it is about to be disconnected."""
        return self._parting.done()

    def part(self, parting: Parting) -> None:
        """Disconnect the client soon; the first reason counts."""
        if not self._parting.done():
            self._parting.set_result(parting)

    def _subscribe(self, engine: asyncio.Future[Engine]) -> None:
        self._unsubscribe = engine.result().subscribe(self._outbox.put_event)

    # -- from the client -------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(self._limits.greeting_seconds) as self._greeting:
                while data := await self._reader.read(CHUNK):
                    for body in self._decoder.feed(data):
                        await self._take(from_client(body))
        except FrameError as error:
            self.part(_refused(str(error), "Start the studio again."))
        except TimeoutError:
            self.part(_refused(f"no greeting came within {self._limits.greeting_seconds:g} s", "Connect again."))

    async def _take(self, message: FromClient) -> None:
        match message:
            case Hello():
                self._greet(message)
            case Call() if not self.greeted:
                self.part(_refused("the first frame was no greeting", "Update the client."))
            case Call():
                await self._slots.acquire()  # a client that reads no answers is not read any further
                task = asyncio.create_task(self._serve_call(message))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        if self._parting.done():
            await asyncio.Future()  # what follows is not read: the parting cancels this

    def _greet(self, hello: Hello) -> None:
        if self.greeted:
            self.part(_refused("a second greeting came", "Update the client."))
            return
        self._outbox.put(Hello(protocol=PROTOCOL, version=nfkd.__version__))
        if hello.protocol != PROTOCOL:
            cause = (
                f"this engine (NFKD {nfkd.__version__}) speaks protocol {PROTOCOL}, "
                f"the client (NFKD {hello.version}) speaks {hello.protocol}"
            )
            self.part(Parting("Engine and studio do not fit", cause, "Use the same version of NFKD on both sides."))
            return
        self.greeted = True
        self._greeting.reschedule(None)
        self._decoder.limit = self._limits.request_bytes
        self._engine.add_done_callback(self._subscribe)  # no event goes before the greeting

    async def _serve_call(self, call: Call) -> None:
        try:
            reply = await self._answer(call)
        except Exception as error:  # noqa: BLE001 - one broken request must not end the engine
            trace = "".join(traceback.format_exception(error))
            info = ErrorInfo(title="The engine failed to answer", cause=str(error), traceback=trace)
            reply = Refusal(id=call.id, error=info)
        self._outbox.put(reply, on_sent=self._slots.release)
        waiting = self._outbox.reply_bytes + self._writer.transport.get_write_buffer_size()
        if waiting > self._limits.reply_bytes:
            self.part(_unread(f"{waiting / _MIB:,.0f} MiB of replies wait for it"))

    # -- to the client ---------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            waiting = await self._outbox.take()
            self._writer.write(waiting.frame)
            await self._drain()
            waiting.on_sent()

    async def _drain(self) -> None:
        """Wait until the client has read nearly all; one that reads nothing for a long time is disconnected."""
        while True:
            before = self._writer.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.unread_seconds):
                    await self._writer.drain()
            except TimeoutError:
                if self._writer.transport.get_write_buffer_size() >= before:
                    self.part(_unread(f"it has read nothing for {self._limits.unread_seconds:g} s"))
            else:
                return

    async def _part(self, parting: Parting, sender: asyncio.Task[None]) -> None:
        """Say why, and end the connection: the client has little time to read it."""
        if parting.unread:
            self._log(f"a client was disconnected: {parting.cause}")
            self._outbox.clear()
        self._outbox.put(Refusal(id=0, error=ErrorInfo(parting.title, parting.cause, parting.action)))
        said = asyncio.create_task(self._outbox.emptied())
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._limits.parting_seconds):
                await asyncio.wait({said, sender}, return_when=asyncio.FIRST_COMPLETED)  # a client may have left
                await self._writer.drain()
        said.cancel()
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()  # it would stay open until the client reads


def _refused(cause: str, action: str) -> Parting:
    return Parting("The message was refused", cause, action)


def _unread(cause: str) -> Parting:
    return Parting("The client does not read", cause, "Start the studio again, or connect again.", unread=True)
