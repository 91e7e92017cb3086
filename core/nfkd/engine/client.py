"""One client of the engine: receives and sends frames, within limits."""

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
from nfkd.protocol.requests import Answer, Call, FromClient, Hello, Received, Refusal

if TYPE_CHECKING:
    from nfkd.engine.core import Engine

CHUNK = 1 << 18
_MIB = 1 << 20


@dataclass(frozen=True)
class Disconnect:
    """Why a client is disconnected.

    Attributes
    ----------
    title, cause, action
        The message to the client.
    unread
        Whether it did not read its messages: they are dropped, and the engine's log gets a line.
    """

    title: str
    cause: str
    action: str
    unread: bool = False


class Client:
    """A client's connection.

    Parameters
    ----------
    reader, writer
        The client's streams.
    answer
        Answers a call.
    limits
        Limits on what the client may send and leave unread.
    log
        Writes a line to the engine's log.

    Attributes
    ----------
    greeted
        Whether its greeting has arrived.
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
        self._disconnect: asyncio.Future[Disconnect] = asyncio.get_running_loop().create_future()
        self._unsubscribe: Callable[[], None] = lambda: None
        self.greeted = False
        self._sent, self._received = 0, -1
        self._window = asyncio.Event()
        self._window.set()

    async def serve(self, engine: asyncio.Future[Engine]) -> None:
        """Serve until the client leaves, breaks the protocol or exceeds a limit."""
        self._engine = engine
        sender, receiver = asyncio.create_task(self._send()), asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sender, receiver, self._disconnect}, return_when=asyncio.FIRST_COMPLETED)
            receiver.cancel()
            if self._disconnect.done():
                await self._send_reason(self._disconnect.result(), sender)
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
    def disconnecting(self) -> bool:
        """Whether it is about to be disconnected."""
        return self._disconnect.done()

    def disconnect(self, reason: Disconnect) -> None:
        """Disconnect the client soon; the first reason counts."""
        if not self._disconnect.done():
            self._disconnect.set_result(reason)

    def _subscribe(self, engine: asyncio.Future[Engine]) -> None:
        self._unsubscribe = engine.result().subscribe(self._outbox.put_event)

    # -- from the client -------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(self._limits.greeting_seconds) as self._greeting:
                while data := await self._reader.read(CHUNK):
                    for body in self._decoder.feed(data):
                        await self._handle(from_client(body))
        except FrameError as error:
            self.disconnect(_refused(str(error), "Start the studio again."))
        except TimeoutError:
            self.disconnect(
                _refused(f"no greeting arrived within {self._limits.greeting_seconds:g} s", "Connect again.")
            )

    async def _handle(self, message: FromClient) -> None:
        match message:
            case Hello():
                self._greet(message)
            case Call() if not self.greeted:
                self.disconnect(_refused("the first frame was not a greeting", "Update the client."))
            case Received():
                self._received = max(self._received, message.total)
                self._open_window()
            case Call():
                await self._slots.acquire()  # no more is read from a client that reads no answers
                task = asyncio.create_task(self._serve_call(message))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        if self.disconnecting:
            await asyncio.Future()  # wait for the cancellation, so that no further message is handled

    def _greet(self, hello: Hello) -> None:
        if self.greeted:
            self.disconnect(_refused("a second greeting arrived", "Update the client."))
            return
        self._outbox.put(Hello(protocol=PROTOCOL, version=nfkd.__version__))
        if hello.protocol != PROTOCOL:
            cause = (
                f"this engine (NFKD {nfkd.__version__}) has protocol {PROTOCOL}, "
                f"the client (NFKD {hello.version}) has protocol {hello.protocol}"
            )
            action = "Use the same version of NFKD on both sides."
            self.disconnect(Disconnect("Engine and studio have different versions", cause, action))
            return
        self.greeted = True
        self._greeting.reschedule(None)
        self._decoder.limit = self._limits.request_bytes
        self._engine.add_done_callback(self._subscribe)  # no event is sent before the greeting

    async def _serve_call(self, call: Call) -> None:
        try:
            reply = await self._answer(call)
        except Exception as error:  # noqa: BLE001 - one failed request must not end the engine
            trace = "".join(traceback.format_exception(error))
            info = ErrorInfo(title="The engine failed to answer", cause=str(error), traceback=trace)
            reply = Refusal(id=call.id, error=info)
        self._outbox.put(reply, on_sent=self._slots.release)
        unread = self._outbox.reply_bytes + self._writer.transport.get_write_buffer_size()
        if unread > self._limits.reply_bytes:
            self.disconnect(_unread(f"it has not read {unread / _MIB:,.0f} MiB of replies"))

    # -- to the client ---------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._window.wait()
            queued = await self._outbox.pop()
            self._writer.write(queued.frame)
            self._sent += len(queued.frame)
            self._open_window()
            await self._drain()
            queued.on_sent()

    def _open_window(self) -> None:
        """Let more be sent, unless the client says that much of it has not arrived."""
        if self._received < 0 or self._sent - self._received <= self._limits.window_bytes:
            self._window.set()
        else:
            self._window.clear()

    async def _drain(self) -> None:
        """Wait until the client has read nearly everything; disconnect it if it reads nothing for a long time."""
        while True:
            before = self._writer.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.unread_seconds):
                    await self._writer.drain()
            except TimeoutError:
                if self._writer.transport.get_write_buffer_size() >= before:
                    self.disconnect(_unread(f"it has read nothing for {self._limits.unread_seconds:g} s"))
            else:
                return

    async def _send_reason(self, reason: Disconnect, sender: asyncio.Task[None]) -> None:
        """Send why the client is disconnected, wait shortly until it has read that, and close the connection."""
        if reason.unread:
            self._log(f"a client was disconnected: {reason.cause}")
            self._outbox.clear()
        self._window.set()
        self._outbox.put(Refusal(id=0, error=ErrorInfo(reason.title, reason.cause, reason.action)))
        sent = asyncio.create_task(self._outbox.wait_until_empty())
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._limits.disconnect_seconds):
                await asyncio.wait({sent, sender}, return_when=asyncio.FIRST_COMPLETED)  # the client may have left
                await self._writer.drain()
        sent.cancel()
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()  # it would stay open until the client reads


def _refused(cause: str, action: str) -> Disconnect:
    return Disconnect("The message was refused", cause, action)


def _unread(cause: str) -> Disconnect:
    return Disconnect("The client does not read", cause, "Start the studio again, or connect again.", unread=True)
