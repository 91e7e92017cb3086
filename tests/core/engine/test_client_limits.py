"""Clients that send too much, send no greeting or do not read, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from nfkd.engine.client import Client
from nfkd.engine.endpoint import ENVIRONMENT, address
from nfkd.engine.limits import Limits
from nfkd.engine.outbox import Outbox
from nfkd.engine.server import Server
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder

HELLO = to_wire(ask.Hello(protocol=PROTOCOL, version="test"))
MIB = 1 << 20
PATIENCE = 60


class Peer:
    """A client as bytes on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = FrameDecoder()
        self._messages: list[ask.FromEngine] = []

    def call(self, number: int) -> None:
        self.writer.write(to_wire(ask.Call(id=number, request=ask.Status())))

    async def next(self) -> ask.FromEngine | None:
        """Return the next message; None at the end."""
        while not self._messages:
            try:
                data = await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._messages += [from_engine(body) for body in self._decoder.feed(data)]
        return self._messages.pop(0)

    async def answered(self, number: int) -> None:
        """Read the next message, which must be the answer to this call."""
        message = await self.next()
        assert isinstance(message, ask.Answer), message
        assert message.id == number

    async def refusal(self) -> str:
        """Return the reason of the disconnection, which must come next and last."""
        message = await self.next()
        assert isinstance(message, ask.Refusal), message
        assert await self.next() is None
        return f"{message.error.title}: {message.error.cause}"


class Host:
    """A server whose clients are served by `Client`, without an engine."""

    def __init__(self, path: str, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self.log: list[str] = []
        self.asked = 0
        self.reply = ask.Done()
        self.listeners: list[Callable[[events.Event], None]] = []
        self.subscribed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._peers: list[Peer] = []

    def subscribe(self, listener: Callable[[events.Event], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        self.subscribed.set()
        return lambda: self.listeners.remove(listener)

    async def answer(self, call: ask.Call) -> ask.Answer:
        self.asked += 1
        return ask.Answer(id=call.id, reply=self.reply)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        engine: asyncio.Future[Host] = asyncio.get_running_loop().create_future()
        engine.set_result(self)
        with contextlib.suppress(asyncio.CancelledError):
            await Client(reader, writer, self.answer, self._limits, self.log.append).serve(engine)  # type: ignore[arg-type]
        writer.close()

    async def connect(self, *, greet: bool = True) -> Peer:
        peer = Peer(*await asyncio.open_unix_connection(self._path))
        self._peers.append(peer)
        if greet:
            peer.writer.write(HELLO)
            assert isinstance(await peer.next(), ask.Hello)
        return peer

    async def close(self) -> None:
        for peer in self._peers:
            peer.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def hosting(folder: Path, limits: Limits) -> AsyncIterator[Host]:
    host = Host(str(folder / "s"), limits)
    async with await asyncio.start_unix_server(host.accept, str(folder / "s")):
        try:
            yield host
        finally:
            await host.close()


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Run a coroutine function with a host that has these limits."""

    def run(scenario: Callable[[Host], Awaitable[None]], limits: Limits) -> None:
        async def go() -> None:
            async with hosting(tmp_path_factory.mktemp("c"), limits) as host:
                await scenario(host)

        asyncio.run(go())

    return run


def big_list() -> ask.RunList:
    return ask.RunList(folder="x" * MIB, rows=[])


# --- before the greeting ----------------------------------------------------------------------------------------------


def test_a_client_without_a_greeting_is_disconnected(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        for sent in (b"", b"N", HELLO[:-1]):
            silent = await host.connect(greet=False)
            silent.writer.write(sent)
            assert "no greeting arrived within 0.1 s" in await silent.refusal()

    serve(scenario, Limits(greeting_seconds=0.1))


def test_a_client_with_a_greeting_stays_connected_after_that_time(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        quiet, silent = await host.connect(), await host.connect(greet=False)
        await silent.refusal()  # a later client has been disconnected
        quiet.call(1)
        await quiet.answered(1)

    serve(scenario, Limits(greeting_seconds=0.5))


@pytest.mark.parametrize("greet", [False, True])
def test_a_large_frame_is_refused_by_its_header(serve: Callable[..., None], greet: bool) -> None:
    limits = Limits(greeting_bytes=100, request_bytes=200)

    async def scenario(host: Host) -> None:
        peer = await host.connect(greet=greet)
        limit = limits.request_bytes if greet else limits.greeting_bytes
        peer.writer.write(b"NF" + (limit + 1).to_bytes(4, "big"))
        assert f"a frame of {limit + 1} bytes is over the limit of {limit}" in await peer.refusal()

    serve(scenario, limits)


def test_a_request_in_the_same_piece_as_the_greeting_has_the_larger_limit(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        peer = await host.connect(greet=False)
        long = ask.Call(id=5, request=ask.ListRuns(folder="x" * 500))
        peer.writer.write(HELLO + to_wire(long))
        assert isinstance(await peer.next(), ask.Hello)
        await peer.answered(5)

    serve(scenario, Limits(greeting_bytes=100, request_bytes=1000))


def test_a_second_greeting_is_refused(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        peer = await host.connect()
        peer.writer.write(HELLO * 1000)
        assert "a second greeting" in await peer.refusal()

    serve(scenario, Limits())


# --- clients that do not read -----------------------------------------------------------------------------------------


def test_calls_are_read_only_as_fast_as_the_client_reads_answers(serve: Callable[..., None]) -> None:
    calls, limit = 1000, 8

    async def scenario(host: Host) -> None:
        host.reply = big_list()  # type: ignore[assignment]
        process = psutil.Process(os.getpid())
        other, greedy = await host.connect(), await host.connect()
        before = process.memory_info().rss
        for number in range(calls):
            greedy.call(number)
        for number in range(50):  # another client is served meanwhile
            other.call(number)
            await other.answered(number)
        assert host.asked - 50 <= limit + 2  # plus what fits into the socket
        assert process.memory_info().rss - before < 200 * MIB  # all answers would be 1 GB
        host.reply = ask.Done()
        for number in range(calls):  # no answer is lost
            await greedy.answered(number)
        assert host.log == []

    serve(scenario, Limits(calls=limit))


def test_unread_events_become_a_gap(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        slow = await host.connect()
        await host.subscribed.wait()
        process = psutil.Process(os.getpid())
        before = process.memory_info().rss
        for number in range(400):
            host.listeners[0](events.LogLine(run="r", level="info", text="x" * MIB, time=float(number)))
            await asyncio.sleep(0)
        assert process.memory_info().rss - before < 100 * MIB
        slow.call(7)
        seen: list[ask.FromEngine | None] = []
        while not isinstance(seen[-1] if seen else None, ask.Answer):
            seen.append(await slow.next())
        notices = [message.event for message in seen if isinstance(message, ask.Notice)]
        assert any(isinstance(event, events.Gap) for event in notices)
        assert len(notices) < 50
        assert host.log == []

    serve(scenario, Limits(event_bytes=8 * MIB))


def test_a_client_with_many_unread_replies_is_disconnected(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        host.reply = big_list()  # type: ignore[assignment]
        other, greedy = await host.connect(), await host.connect()
        for number in range(60):
            greedy.call(number)
        seen: list[ask.FromEngine] = []
        while (message := await greedy.next()) is not None:
            seen.append(message)
        assert len(seen) < 60
        assert [line.partition(":")[0] for line in host.log] == ["a client was disconnected"]
        assert "MiB of replies" in host.log[0]
        host.reply = ask.Done()
        other.call(1)
        await other.answered(1)

    serve(scenario, Limits(reply_bytes=4 * MIB, disconnect_seconds=0.05))


def test_a_client_that_reads_nothing_is_disconnected(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        host.reply = big_list()  # type: ignore[assignment]
        stuck = await host.connect()
        stuck.call(1)
        stuck.reader._transport.pause_reading()  # type: ignore[attr-defined]
        while not host.log:
            other = await host.connect(greet=False)
            await other.refusal()  # lets time pass
        assert host.log == ["a client was disconnected: it has read nothing for 0.2 s"]

    serve(scenario, Limits(unread_seconds=0.2, disconnect_seconds=0.05, greeting_seconds=0.3))


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("e")
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


def test_clients_without_a_greeting_are_limited_and_keep_no_engine_running(directory: Path) -> None:
    async def go() -> None:
        listening = asyncio.Event()
        limits = Limits(ungreeted=3, greeting_seconds=2.0)
        server = asyncio.create_task(Server(grace=0.1, limits=limits).serve(listening.set))
        await listening.wait()
        silent = [Peer(*await asyncio.open_unix_connection(address())) for _ in range(4)]
        assert "Too many clients" in await silent[0].refusal()
        good = Peer(*await asyncio.open_unix_connection(address()))
        good.writer.write(HELLO)
        assert isinstance(await good.next(), ask.Hello)
        good.call(1)
        assert isinstance(await good.next(), ask.Answer)
        good.writer.close()
        await asyncio.wait_for(server, PATIENCE)  # although the silent clients are still connected
        for peer in (*silent, good):
            peer.writer.close()

    asyncio.run(go())


# --- slow lines -------------------------------------------------------------------------------------------------------


def picture(step: int) -> events.SamplesDrawn:
    samples = np.full((1, 100, 100), step, np.float32)  # 40 kB
    return events.SamplesDrawn(run="run", seed=1, stage="teacher", step=step, temperature=1.0, samples=samples)


def test_a_client_that_counts_gets_the_newest_picture_instead_of_old_ones(serve: Callable[..., None]) -> None:
    async def scenario(host: Host) -> None:
        counting, other = await host.connect(), await host.connect()
        for peer, counts in ((counting, True), (other, False)):
            if counts:
                peer.writer.write(to_wire(ask.Received(total=0)))
            peer.call(1)
            await peer.answered(1)
        for step in range(10):
            for listener in host.listeners:
                listener(picture(step))
            await asyncio.sleep(0)  # the sender takes what it may
            other.call(step)
            found = [await other.next(), await other.next()]
            assert any(isinstance(message, ask.Notice) for message in found)
        first = await counting.next()
        assert isinstance(first, ask.Notice)
        counting.call(2)
        counting.writer.write(to_wire(ask.Received(total=1 << 20)))
        rest = [await counting.next(), await counting.next()]
        steps = [message.event.step for message in rest if isinstance(message, ask.Notice)]  # type: ignore[union-attr]
        assert steps == [9]

    serve(scenario, Limits(window_bytes=1000))


def test_each_kind_of_picture_has_its_turn_on_a_slow_line() -> None:
    async def go() -> list[str]:
        outbox, sent = Outbox(), []
        where: Any = {"run": "run", "seed": 1, "stage": "teacher", "step": 1}
        density = events.DensityDrawn(**where, extent=(0.0, 1.0, 0.0, 1.0), log_prob=np.zeros((2, 2)))
        progress = events.Progress(**where, steps=9, steps_per_second=1.0, seconds_left=1.0, fraction=0.1)
        for _ in range(6):  # each is drawn again before the next one is sent
            for event in (picture(1), density, progress):
                outbox.put_event(event)
            (body,) = FrameDecoder().feed((await outbox.pop()).frame)
            message = from_engine(body)
            assert isinstance(message, ask.Notice)
            sent.append(type(message.event).__name__)
        return sent

    kinds = ["SamplesDrawn", "DensityDrawn", "Progress"]
    assert asyncio.run(go()) == [*kinds, *kinds]


def test_a_picture_never_passes_the_start_of_its_stage() -> None:
    async def go() -> list[str]:
        outbox = Outbox()
        started = events.StageStarted(run="run", seed=1, stage="teacher", step=0)
        for event in (picture(1), started, picture(2)):
            outbox.put_event(event)
        frames = [(await outbox.pop()).frame for _ in range(2)]
        messages = [from_engine(body) for frame in frames for body in FrameDecoder().feed(frame)]
        return [type(message.event).__name__ for message in messages if isinstance(message, ask.Notice)]

    assert asyncio.run(go()) == ["StageStarted", "SamplesDrawn"]
