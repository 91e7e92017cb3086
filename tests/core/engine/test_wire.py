"""The engine's process and the relay: greetings, broken frames, clients that leave, engines that end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nfkd.engine.commands import perform
from nfkd.engine.endpoint import ENVIRONMENT, address
from nfkd.engine.limits import Limits
from nfkd.engine.outbox import Outbox
from nfkd.engine.server import Server
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


@contextmanager
def engine_directory(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Use a new directory for the engine; an engine in it is stopped at the end."""
    path = factory.mktemp("e")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, str(path))
        yield path
        assert perform("stop") == 0


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a test's own engine."""
    with engine_directory(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client that keeps an engine running for the tests that leave it as it is."""
    with engine_directory(tmp_path_factory):
        client = Client(RELAY)
        client.greet()
        yield client
        client.leave()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients, which leave after the test."""
    clients: list[Client] = []

    def make(command: list[str] = RELAY, *, greet: bool = True) -> Client:
        clients.append(Client(command))
        if greet:
            clients[-1].greet()
        return clients[-1]

    yield make
    for client in clients:
        client.leave()


def status(client: Client) -> ask.EngineStatus:
    reply = client.ask(ask.Status())
    assert isinstance(reply, ask.EngineStatus), reply
    return reply


def wait_for_clients(client: Client, count: int) -> None:
    """Wait until the engine has this many clients: it notices after a moment that one has left."""
    end = time.monotonic() + 30
    while (clients := status(client).clients) != count:
        assert time.monotonic() < end, f"{clients} clients"
        time.sleep(0.02)


# --- clients of one engine --------------------------------------------------------------------------------------------


def test_the_relay_starts_one_engine_for_all_in_a_private_directory(
    shared_client: Client, connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    other = connect()
    pid = status(shared_client).pid
    assert status(other).pid == pid
    wait_for_clients(shared_client, 2)
    assert stat.S_IMODE(Path(os.environ[ENVIRONMENT]).stat().st_mode) == 0o700
    other.leave()
    assert perform("status") == 0
    assert f"pid {pid}" in capfd.readouterr().out
    assert perform("serve") == 3


def test_another_protocol_is_refused_with_both_versions(shared_client: Client, connect: Connect) -> None:
    other = connect(greet=False)
    other.send(to_wire(ask.Hello(protocol=PROTOCOL + 1, version="9.9")))
    assert isinstance(other.next(), ask.Hello)
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert "9.9" in refusal.error.cause
    assert other.next() is None
    wait_for_clients(shared_client, 1)


def test_a_call_before_the_greeting_is_refused(shared_client: Client, connect: Connect) -> None:
    other = connect(greet=False)
    other.send(to_wire(ask.Call(id=1, request=ask.Status())))
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert "greeting" in refusal.error.cause
    wait_for_clients(shared_client, 1)


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
def test_broken_frames_are_refused_and_the_engine_continues(
    bytes_sent: bytes, shared_client: Client, connect: Connect
) -> None:
    other = connect()
    other.send(bytes_sent)
    refusal = other.next()
    assert isinstance(refusal, ask.Refusal)
    assert refusal.error.title == "The message was refused"
    assert other.next() is None
    wait_for_clients(shared_client, 1)


def test_a_frame_may_arrive_in_any_pieces(shared_client: Client, connect: Connect) -> None:
    other = connect()
    for byte in to_wire(ask.Call(id=77, request=ask.Status())):
        other.send(bytes([byte]))
    answer = other.next()
    assert isinstance(answer, ask.Answer)
    assert answer.id == 77


def test_a_stray_print_in_the_relay_breaks_no_frame(shared_client: Client, connect: Connect) -> None:
    noisy = """
import sys
from nfkd.engine import relay
find_or_start = relay.find_or_start
def find(patience):
    print("a library prints", flush=True)
    return find_or_start(patience)
relay.find_or_start = find
sys.exit(relay.main())
"""
    assert status(connect([sys.executable, "-c", noisy])).pid == status(shared_client).pid


# --- engines that outlive clients, end, or are killed -----------------------------------------------------------------


def test_a_run_continues_without_clients_and_late_clients_get_the_greeting_first(
    shared_client: Client, tmp_path: Path, connect: Connect
) -> None:
    config, client = moons(training={"teacher_steps": 1_000_000}), connect()
    accepted = client.ask(ask.Run(config=config.to_toml(), folder=str(tmp_path)))
    assert isinstance(accepted, ask.RunAccepted)
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(address())
        for _ in range(5):
            client.until(events.CurvePoints)  # the engine has accepted the connection long ago
        late.sendall(to_wire(ask.Hello(protocol=PROTOCOL, version="test")))
        decoder, bodies = FrameDecoder(), list[bytes]()
        while not bodies:
            bodies += decoder.feed(late.recv(1 << 16))
        assert isinstance(from_engine(bodies[0]), ask.Hello)
    client.leave()
    other = connect()
    assert status(other).active == accepted.run
    snapshot = other.ask(ask.OpenRun(run=accepted.run))
    assert isinstance(snapshot, ask.Snapshot)
    assert snapshot.row.state == "running"
    assert any("train/total" in stage.curves for stage in snapshot.stages)
    other.until(events.CurvePoints)
    assert isinstance(other.ask(ask.Stop(run=accepted.run, scope="run")), ask.Done)
    assert isinstance(other.until(events.RunFinished), events.RunFinished)


def test_a_relay_starts_another_engine_when_one_closes_without_a_greeting_is_killed_or_ends(
    directory: Path, connect: Connect
) -> None:
    killed = start_beside_an_ending_engine(connect)
    pid = status(killed).pid
    os.kill(pid, signal.SIGKILL)
    assert killed.next() is None
    assert "The engine has ended" in killed.errors()
    assert killed.process.wait(30) == 1

    client = connect()
    first = psutil.Process(status(client).pid)
    assert first.pid != pid
    assert isinstance(client.ask(ask.Shutdown()), ask.Done)
    other = connect()  # while the first engine is ending
    second = status(other).pid
    assert second != first.pid
    assert client.next() is None
    psutil.wait_procs([first], timeout=30)
    assert not first.is_running()
    done = subprocess.run([sys.executable, "-m", "nfkd.engine", "stop"], capture_output=True, text=True, check=True)
    assert done.stdout == "The engine has ended.\n"
    assert has_ended(second)


def has_ended(process: int) -> bool:
    """Return whether a process has ended, also if its parent has not noticed it yet."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start_beside_an_ending_engine(connect: Connect) -> Client:
    """Return a client whose relay found an engine that closed without a greeting, and has started another."""
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(address())
        ending.listen()
        client = connect(greet=False)
        client.send(to_wire(ask.Hello(protocol=PROTOCOL, version="test")))
        connection, _ = ending.accept()
        with connection:
            assert connection.recv(1 << 16), "the first engine gets the greeting, and it is lost with it"
    assert isinstance(client.next(), ask.Hello)
    assert status(client).clients == 1
    return client


GRACE = 0.06


async def _replies_to_a_late_client(after: float) -> list[type]:
    """Connect to a server without clients after some seconds, stay for longer than its grace, and query its status."""
    listening = asyncio.Event()
    server = asyncio.create_task(Server(grace=GRACE).serve(listening.set))
    await listening.wait()
    await asyncio.wait({server}, timeout=after)
    replies: list[type] = []
    decoder = FrameDecoder()
    with contextlib.suppress(ConnectionError):  # the server has ended: a relay starts another
        reader, writer = await asyncio.open_unix_connection(address())
        for message in (ask.Hello(protocol=PROTOCOL, version="test"), ask.Call(id=1, request=ask.Status())):
            writer.write(to_wire(message))
            replies += [type(from_engine(body)) for body in decoder.feed(await reader.read(1 << 16))]
            await asyncio.wait({server}, timeout=2 * GRACE)
        writer.close()
    await asyncio.wait_for(server, 60)  # it ends when it is idle and has no clients
    return replies


def test_an_idle_engine_serves_a_late_client_or_closes_without_a_greeting(directory: Path) -> None:
    asyncio.run(_replies_to_a_late_client(0.0))  # loads torch once, which would disturb the times below
    outcomes = [asyncio.run(_replies_to_a_late_client(GRACE * number / 8)) for number in range(12)]
    assert all(replies in ([], [ask.Hello, ask.Answer]) for replies in outcomes), outcomes
    assert [] in outcomes, "no client came late enough"
    assert [ask.Hello, ask.Answer] in outcomes, "no client came early enough"


def test_a_directory_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file" / "engine", tmp_path / ("x" * 120)):
        monkeypatch.setenv(ENVIRONMENT, str(bad))
        done = subprocess.run(RELAY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert ENVIRONMENT in done.stderr
        assert "Traceback" not in done.stderr


# --- the outbox -------------------------------------------------------------------------------------------------------


def progress(step: int, run: str = "r") -> events.Progress:
    return events.Progress(
        run=run, seed=1, stage="teacher", step=step, steps=9, steps_per_second=1.0, seconds_left=1.0, fraction=0.5
    )


def line(text: str) -> events.LogLine:
    return events.LogLine(run="r", level="info", text=text, time=0.0)


async def drain(outbox: Outbox, count: int) -> list[ask.FromEngine]:
    frames = b"".join([(await outbox.pop()).frame for _ in range(count)])
    return [from_engine(body) for body in FrameDecoder().feed(frames)]


def test_only_the_newest_of_queued_pictures_is_sent() -> None:
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


def test_a_slow_client_gets_a_gap_and_all_replies() -> None:
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
