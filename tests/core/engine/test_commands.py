"""``nfkd engine status`` and ``stop``, and the relay, whatever is in the engine's place: an answer within seconds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock

from nfkd.engine.commands import perform
from nfkd.engine.place import ENVIRONMENT, address
from nfkd.engine.relay import EngineStartError, Patience, find_or_start
from nfkd.protocol.codec import PROTOCOL, to_wire
from nfkd.protocol.events import Gap
from nfkd.protocol.requests import Hello, Notice

ANSWERING = 0.3
HELLO = to_wire(Hello(protocol=PROTOCOL, version="test"))
GREETED = "(process {pid}) "
COMMANDS = ("status", "stop")

Manner = Callable[[socket.socket], None]
Said = tuple[int, str, str]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("e")
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


@pytest.fixture
def say(place: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command with little patience; returns its exit code and what it said."""

    def run(action: str, answering: float = ANSWERING) -> Said:
        code = perform(action, answering=answering, ending=0.5)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@contextmanager
def listening(manner: Manner | None) -> Iterator[None]:
    """Listen in the engine's place; each client is treated in that manner, or never accepted."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address())
        server.listen(4)
        threads: list[threading.Thread] = []

        def treat(client: socket.socket) -> None:
            with client, suppress(OSError):
                if manner is not None:
                    manner(client)
                while client.recv(1 << 16):  # until the client leaves
                    pass

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threads.append(threading.Thread(target=treat, args=(client,)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        if manner is not None:
            acceptor.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads) if manner is not None else ():
                thread.join()


def flood(data: bytes) -> Manner:
    def send(client: socket.socket) -> None:
        client.sendall(HELLO)
        while True:
            client.sendall(data)

    return send


# --- programs that are no engine --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", COMMANDS)
@pytest.mark.parametrize(
    ("manner", "words"),
    [
        (None, "does not answer within 0.3 s (process {pid}). End it with `kill -KILL {pid}`"),
        (lambda _client: None, "does not answer within 0.3 s (process {pid}). End it with `kill -KILL {pid}`"),
        (lambda client: client.sendall(b"HTTP/1.1 400 Bad Request\r\n"), "{pid}) is not an engine of this version"),
        (lambda client: client.sendall(b"NF\xff\xff\xff\xff"), "{pid}) is not an engine of this version"),
        (lambda client: client.sendall(to_wire(Notice(event=Gap()))), "{pid}) is not an engine of this version"),
        (flood(b"\0" * 4096), "{pid}) is not an engine of this version"),
        (flood(to_wire(Notice(event=Gap())) * 100), GREETED),
        (lambda client: client.sendall(HELLO), GREETED),
    ],
    ids=["never accepts", "never says a word", "garbage", "huge frame", "no greeting", "flood", "events", "greets"],
)
def test_what_does_not_answer_is_told(say: Callable[..., Said], action: str, manner: Manner | None, words: str) -> None:
    patience = ANSWERING if "0.3 s" in words else 1.0 if words == GREETED else 10.0  # spent in full by the first two
    with listening(manner):
        code, out, error = say(action, patience)
    assert (code, out) == (1, "")
    assert words.format(pid=os.getpid()) in error
    if words == GREETED:
        assert ("has not answered within" if action == "status" else "has not ended within") in error


@pytest.mark.parametrize("action", COMMANDS)
def test_a_full_queue_of_connections_is_told(say: Callable[..., Said], action: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address())
        server.listen(0)
        with suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(address())
        code, _, error = say(action)
    assert code == 1
    assert "does not answer within 0.3 s" in error


@pytest.mark.parametrize("action", COMMANDS)
def test_nobody_there_is_no_error(say: Callable[..., Said], action: str) -> None:
    assert say(action) == (0, "No engine is running.\n", "")
    with listening(lambda client: client.shutdown(socket.SHUT_RDWR)):
        assert say(action) == (0, "No engine is running.\n", "")
    assert say(action) == (0, "No engine is running.\n", ""), "its socket is left, and nobody listens"


@pytest.mark.parametrize("action", COMMANDS)
def test_an_engine_that_takes_no_requests_is_told(say: Callable[..., Said], place: Path, action: str) -> None:
    (place / "engine.pid").write_text(str(os.getpid()))
    with FileLock(place / "engine.lock"):
        code, _, error = say(action)
    assert code == 1
    assert f"(process {os.getpid()})" in error
    assert ("starting or ending" if action == "status" else "has not ended within 0.5 s") in error


# --- files of another kind --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["status", "stop", "serve", "connect"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "directory"])
@pytest.mark.parametrize("name", ["engine.sock", "engine.lock", "engine.log"])
def test_a_file_of_another_kind_is_named(
    say: Callable[..., Said], place: Path, action: str, make: Callable[[Path], None], name: str
) -> None:
    make(place / name)
    if action == "connect":
        done = subprocess.run(
            [sys.executable, "-m", "nfkd.engine", "connect"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        code, error = done.returncode, done.stderr.decode()
    else:
        code, _, error = say(action)
    assert code == 1
    assert f"{place / name} is not a" in error
    assert "remove it" in error
    assert "Traceback" not in error
    assert (place / name).exists()


def test_a_file_in_the_place_of_the_socket_is_kept(say: Callable[..., Said], place: Path) -> None:
    (place / "engine.sock").write_text("mine")
    for action in ("status", "stop", "serve"):
        code, _, error = say(action)
        assert code == 1
        assert "is not a socket" in error
    assert (place / "engine.sock").read_text() == "mine"


# --- engines ----------------------------------------------------------------------------------------------------------

LOADING = """
import sys, threading
class Forever:
    def find_spec(self, name, path=None, target=None):
        if name == "nfkd.engine.core":
            threading.Event().wait()
sys.meta_path.insert(0, Forever())
from nfkd.engine.commands import serve
sys.exit(serve())
"""


@contextmanager
def engine() -> Iterator[subprocess.Popen[bytes]]:
    """Start an engine that loads torch for ever; it is killed afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", LOADING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_an_engine_that_loads_torch_or_hangs_is_told(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with engine() as process:
        for state, hint in (("loading", "it loads torch"), ("hung", f"End it with `kill -KILL {process.pid}`")):
            if state == "hung":
                process.send_signal(signal.SIGSTOP)
            assert perform("status", answering=2.0) == 1
            error = capfd.readouterr().err
            assert f"(process {process.pid})" in error
            assert hint in error
            assert perform("stop", answering=2.0, ending=0.5) == 1
            assert f"kill -KILL {process.pid}" in capfd.readouterr().err
    assert perform("status") == 0


# --- the relay --------------------------------------------------------------------------------------------------------

RELAY = "import sys; from nfkd.engine import relay; sys.exit(relay.main(relay.Patience(greeting=0.3)))"


def test_a_relay_says_that_what_listens_does_not_greet(place: Path) -> None:
    command = [sys.executable, "-c", RELAY]
    with (
        listening(lambda _client: None),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as relay,
    ):
        assert relay.stdin is not None
        assert relay.stderr is not None
        relay.stdin.write(HELLO)
        relay.stdin.flush()
        assert relay.wait(60) == 1
        [line] = relay.stderr.read().decode().splitlines()
    assert f"does not answer within 0.3 s (process {os.getpid()}). End it with" in line


def test_an_engine_that_never_listens_is_ended(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid'}\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(EngineStartError, match=r"did not listen within 0\.5 s and was ended"):
        find_or_start(Patience(listening=0.5))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
