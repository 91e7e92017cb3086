"""The engine's process and the relay: greetings, broken frames, clients that leave, engines that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nfkd.engine.limits import Limits
from nfkd.engine.outbox import Outbox
from nfkd.engine.place import ENVIRONMENT, address
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder
from tests.core.tiny import moons

Connect = Callable[..., "Client"]
RELAY = [sys.executable, "-m", "nfkd.engine", "connect"]


class Client:
    """A client on the standard streams of a relay."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._decoder = FrameDecoder()
        self._messages: list[ask.FromEngine] = []
        self._number = 0

    def greet(self) -> None:
        self.send(to_wire(ask.Hello(protocol=PROTOCOL, version="test")))
        assert isinstance(self.next(), ask.Hello)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def next(self) -> ask.FromEngine | None:
        """Return the next message, or None at the end."""
        assert self.process.stdout is not None
        while not self._messages:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self._messages += [from_engine(body) for body in self._decoder.feed(data)]
        return self._messages.pop(0)

    def ask(self, request: ask.Request) -> ask.Reply | ask.Refusal:
        self._number += 1
        self.send(to_wire(ask.Call(id=self._number, request=request)))
        while (message := self.next()) is not None:
            if isinstance(message, ask.Answer) and message.id == self._number:
                return message.reply
            if isinstance(message, ask.Refusal):
                return message
        pytest.fail(f"the engine ended: {self.errors()}")

    def until(self, kind: type[events.Event]) -> events.Event:
        while (message := self.next()) is not None:
            if isinstance(message, ask.Notice) and isinstance(message.event, kind):
                return message.event
        pytest.fail(f"the engine ended: {self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def leave(self) -> None:
        with self.process, contextlib.suppress(BrokenPipeError):
            self.process.kill()


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for an engine of our own; the engine is ended afterwards."""
    path = tmp_path_factory.mktemp("e")
    monkeypatch.setenv(ENVIRONMENT, str(path))
    yield path
    subprocess.run([sys.executable, "-m", "nfkd.engine", "stop"], check=True, capture_output=True, timeout=60)


@pytest.fixture
def connect(place: Path) -> Iterator[Connect]:
    """Makes clients; those that have not left do so afterwards."""
    clients: list[Client] = []

    def make(command: list[str] = RELAY, *, greet: bool = True) -> Client:
        clients.append(Client(command))
        if greet:
            clients[-1].greet()
        return clients[-1]

    yield make
    for connected in clients:
        connected.leave()


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect()


def status(client: Client) -> ask.EngineStatus:
    reply = client.ask(ask.Status())
    assert isinstance(reply, ask.EngineStatus), reply
    return reply


def test_the_relay_starts_one_engine_for_all_in_a_directory_of_the_users_own(
    client: Client, place: Path, connect: Connect
) -> None:
    other = connect()
    assert status(other).pid == status(client).pid
    assert status(client).clients == 2
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    other.leave()
    said = subprocess.run([sys.executable, "-m", "nfkd.engine", "status"], capture_output=True, text=True, check=True)
    assert f"pid {status(client).pid}" in said.stdout
    second = subprocess.run([sys.executable, "-m", "nfkd.engine", "serve"], capture_output=True, check=False)
    assert second.returncode == 3


def test_another_protocol_is_refused_in_words(client: Client, connect: Connect) -> None:
    other = connect(greet=False)
    other.send(to_wire(ask.Hello(protocol=PROTOCOL + 1, version="9.9")))
    assert isinstance(other.next(), ask.Hello)
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert "9.9" in refusal.error.cause
    assert other.next() is None
    other.leave()
    assert status(client).clients == 1


def test_a_call_before_the_greeting_is_refused(client: Client, connect: Connect) -> None:
    other = connect(greet=False)
    other.send(to_wire(ask.Call(id=1, request=ask.Status())))
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert "greeting" in refusal.error.cause
    other.leave()
    status(client)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"Epoch 1/10: loss 3.2\n",
        b"NF\xff\xff\xff\xff",
        b"NF\x00\x00\x00\x01\xc1",
        to_wire(ask.Answer(id=1, reply=ask.Done())),
    ],
    ids=["a stray print", "oversized", "no MessagePack", "wrong type"],
)
def test_broken_frames_are_refused_and_the_engine_lives(bytes_sent: bytes, client: Client, connect: Connect) -> None:
    other = connect()
    other.send(bytes_sent)
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert refusal.error.title == "The message was refused"
    assert other.next() is None
    other.leave()
    assert status(client).clients == 1


def test_a_frame_may_come_in_any_pieces(client: Client) -> None:
    frame = to_wire(ask.Call(id=77, request=ask.Status()))
    for byte in frame:
        client.send(bytes([byte]))
    answer = client.next()
    assert isinstance(answer, ask.Answer)
    assert answer.id == 77


def test_a_stray_print_in_the_relay_breaks_nothing(connect: Connect) -> None:
    noisy = """
import sys
from nfkd.engine import relay
found = relay.find_or_start
def find(patience):
    print("a library says hello", flush=True)
    return found(patience)
relay.find_or_start = find
sys.exit(relay.main())
"""
    client = connect([sys.executable, "-c", noisy])
    assert status(client).clients == 1
    client.leave()


def test_a_run_goes_on_without_its_client_and_the_next_one_finds_it(
    client: Client, tmp_path: Path, connect: Connect
) -> None:
    config = moons(training={"teacher_steps": 800})
    accepted = client.ask(ask.Run(config=config.to_toml(), folder=str(tmp_path)))
    assert isinstance(accepted, ask.RunAccepted)
    client.until(events.Progress)
    client.leave()
    other = connect()
    assert status(other).active == accepted.run
    snapshot = other.ask(ask.OpenRun(run=accepted.run))
    assert isinstance(snapshot, ask.Snapshot)
    assert snapshot.row.state == "running"
    assert any("train/total" in stage.curves for stage in snapshot.stages)
    assert isinstance(other.until(events.RunFinished), events.RunFinished)
    other.leave()


def test_the_greeting_goes_before_what_a_run_tells(client: Client, tmp_path: Path) -> None:
    accepted = client.ask(ask.Run(config=moons(training={"teacher_steps": 800}).to_toml(), folder=str(tmp_path)))
    assert isinstance(accepted, ask.RunAccepted)
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(address())
        for _ in range(5):
            client.until(events.CurvePoints)  # the engine has long let it in
        late.sendall(to_wire(ask.Hello(protocol=PROTOCOL, version="test")))
        decoder, bodies = FrameDecoder(), list[bytes]()
        while not bodies:
            bodies += decoder.feed(late.recv(1 << 16))
        assert isinstance(from_engine(bodies[0]), ask.Hello)
    assert isinstance(client.until(events.RunFinished), events.RunFinished)


def test_a_killed_engine_is_told_and_the_next_client_starts_another(client: Client, connect: Connect) -> None:
    pid = status(client).pid
    os.kill(pid, signal.SIGKILL)
    assert client.next() is None
    assert "The engine has ended" in client.errors()
    assert client.process.wait(30) == 1
    other = connect()
    assert status(other).pid != pid
    other.leave()


def test_shutdown_ends_the_process(client: Client) -> None:
    process = psutil.Process(status(client).pid)
    assert isinstance(client.ask(ask.Shutdown()), ask.Done)
    assert client.next() is None
    psutil.wait_procs([process], timeout=30)
    assert not process.is_running()


def test_stop_says_that_the_engine_has_ended_when_its_process_has(client: Client) -> None:
    pid = status(client).pid
    said = subprocess.run([sys.executable, "-m", "nfkd.engine", "stop"], capture_output=True, text=True, check=True)
    assert said.stdout == "The engine has ended.\n"
    assert not psutil.pid_exists(pid)


def test_an_idle_engine_without_clients_ends_by_itself(place: Path) -> None:
    from nfkd.engine.server import Server

    async def serve() -> None:
        await asyncio.wait_for(Server(grace=0.1).serve(lambda: None), 60)

    asyncio.run(serve())


GRACE = 0.08


async def _said_to_a_late_client(after: float) -> list[type]:
    """Come to a lonely server after that many seconds, stay for longer than its patience, and ask for its status."""
    from nfkd.engine.place import address
    from nfkd.engine.server import Server

    listening = asyncio.Event()
    server = asyncio.create_task(Server(grace=GRACE).serve(listening.set))
    await listening.wait()
    await asyncio.wait({server}, timeout=after)
    said: list[type] = []
    decoder = FrameDecoder()
    with contextlib.suppress(ConnectionError):  # it has ended: a relay starts another
        reader, writer = await asyncio.open_unix_connection(address())
        for message in (ask.Hello(protocol=PROTOCOL, version="test"), ask.Call(id=1, request=ask.Status())):
            writer.write(to_wire(message))
            said += [type(from_engine(body)) for body in decoder.feed(await reader.read(1 << 16))]
            await asyncio.wait({server}, timeout=2 * GRACE)
        writer.close()
    await server
    return said


def test_an_engine_about_to_end_serves_a_late_client_or_parts_without_a_word(place: Path) -> None:
    asyncio.run(_said_to_a_late_client(0.0))  # torch is loaded once, and takes no part in what follows
    outcomes = [asyncio.run(_said_to_a_late_client(GRACE * number / 16)) for number in range(24)]
    assert all(said in ([], [ask.Hello, ask.Answer]) for said in outcomes), outcomes
    assert [] in outcomes, "no client came late enough"
    assert [ask.Hello, ask.Answer] in outcomes, "no client came early enough"


def test_a_relay_whose_engine_parts_without_a_word_starts_another(place: Path, connect: Connect) -> None:
    from nfkd.engine.place import address

    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(address())
        ending.listen()
        client = connect(greet=False)
        client.send(to_wire(ask.Hello(protocol=PROTOCOL, version="test")))
        connection, _ = ending.accept()
        with connection:
            assert connection.recv(1 << 16), "what was sent is lost with this engine"
    assert isinstance(client.next(), ask.Hello)
    assert status(client).clients == 1
    client.leave()


def test_a_client_that_comes_while_the_engine_is_told_to_end_gets_a_new_one(client: Client, connect: Connect) -> None:
    old = status(client).pid
    client.ask(ask.Shutdown())
    other = connect()
    assert status(other).pid != old
    other.leave()


def test_a_directory_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file" / "engine", tmp_path / ("x" * 120)):
        monkeypatch.setenv(ENVIRONMENT, str(bad))
        said = subprocess.run(RELAY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert said.returncode == 1
        assert ENVIRONMENT in said.stderr
        assert "Traceback" not in said.stderr


def progress(step: int, run: str = "r") -> events.Progress:
    return events.Progress(
        run=run, seed=1, stage="teacher", step=step, steps=9, steps_per_second=1.0, seconds_left=1.0, fraction=0.5
    )


def line(text: str) -> events.LogLine:
    return events.LogLine(run="r", level="info", text=text, time=0.0)


async def drain(outbox: Outbox, count: int) -> list[ask.FromEngine]:
    frames = b"".join([(await outbox.take()).frame for _ in range(count)])
    return [from_engine(body) for body in FrameDecoder().feed(frames)]


def test_of_pictures_that_wait_only_the_newest_is_sent() -> None:
    async def go() -> None:
        outbox = Outbox()
        for step in range(5):
            outbox.put_event(progress(step))
            outbox.put_event(line(str(step)))
        outbox.put_event(progress(7, run="other"))
        sent = [message.event for message in await drain(outbox, 7) if isinstance(message, ask.Notice)]
        assert [event.text for event in sent if isinstance(event, events.LogLine)] == list("01234")
        steps = [(event.run, event.step) for event in sent if isinstance(event, events.Progress)]
        assert steps == [("r", 4), ("other", 7)]

    asyncio.run(go())


def test_a_client_that_is_too_slow_gets_a_gap_and_loses_no_reply() -> None:
    async def go() -> None:
        outbox = Outbox(Limits(events=10))
        outbox.put(ask.Answer(id=1, reply=ask.Done()))
        for number in range(11):
            outbox.put_event(line(str(number)))
        first, second = await drain(outbox, 2)
        assert isinstance(first, ask.Answer)
        assert isinstance(second, ask.Notice)
        assert isinstance(second.event, events.Gap)

    asyncio.run(go())
