"""``nfkd engine status`` and ``stop``, and the relay, end within seconds, whatever listens on the engine's socket."""

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
from nfkd.engine.endpoint import ENVIRONMENT, address
from nfkd.engine.relay import EngineStartError, Patience, find_or_start
from nfkd.protocol.codec import PROTOCOL, to_wire
from nfkd.protocol.events import Gap
from nfkd.protocol.requests import Hello, Notice

ANSWERING = 0.3
HELLO = to_wire(Hello(protocol=PROTOCOL, version="test"))
GREETED = "(process {pid}) "
COMMANDS = ("status", "stop")

Behaviour = Callable[[socket.socket], None]
Outcome = tuple[int, str, str]
"""Exit code, standard output and standard error."""


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("e")
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


@pytest.fixture
def command(directory: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command with short limits."""

    def run(action: str, answering: float = ANSWERING) -> Outcome:
        code = perform(action, answering=answering, ending=0.5)
        output = capfd.readouterr()
        return code, output.out, output.err

    return run


@contextmanager
def listening(behaviour: Behaviour | None) -> Iterator[None]:
    """Listen on the engine's socket; call `behaviour` with each client, or never accept one."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address())
        server.listen(4)
        threads: list[threading.Thread] = []

        def serve(client: socket.socket) -> None:
            with client, suppress(OSError):
                if behaviour is not None:
                    behaviour(client)
                while client.recv(1 << 16):  # until the client leaves
                    pass

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threads.append(threading.Thread(target=serve, args=(client,)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        if behaviour is not None:
            acceptor.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads) if behaviour is not None else ():
                thread.join()


def flood(data: bytes) -> Behaviour:
    def send(client: socket.socket) -> None:
        client.sendall(HELLO)
        while True:
            client.sendall(data)

    return send


# --- programs other than an engine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", COMMANDS)
@pytest.mark.parametrize(
    ("behaviour", "expected"),
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
    ids=["never accepts", "sends nothing", "garbage", "huge frame", "no greeting", "flood", "events", "greets"],
)
def test_a_program_that_does_not_answer_is_reported(
    command: Callable[..., Outcome], action: str, behaviour: Behaviour | None, expected: str
) -> None:
    patience = ANSWERING if "0.3 s" in expected else 1.0 if expected == GREETED else 10.0
    with listening(behaviour):
        code, out, error = command(action, patience)
    assert (code, out) == (1, "")
    assert expected.format(pid=os.getpid()) in error
    if expected == GREETED:
        assert ("has not answered within" if action == "status" else "has not ended within") in error


@pytest.mark.parametrize("action", COMMANDS)
def test_a_full_connection_queue_is_reported(command: Callable[..., Outcome], action: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address())
        server.listen(0)
        with suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(address())
        code, _, error = command(action)
    assert code == 1
    assert "does not answer within 0.3 s" in error


@pytest.mark.parametrize("action", COMMANDS)
def test_no_engine_is_no_error(command: Callable[..., Outcome], action: str) -> None:
    assert command(action) == (0, "No engine is running.\n", "")
    with listening(lambda client: client.shutdown(socket.SHUT_RDWR)):
        assert command(action) == (0, "No engine is running.\n", "")
    assert command(action) == (0, "No engine is running.\n", ""), "the socket is left, but no process listens"


@pytest.mark.parametrize("action", COMMANDS)
def test_an_engine_that_is_starting_or_ending_is_reported(
    command: Callable[..., Outcome], directory: Path, action: str
) -> None:
    (directory / "engine.pid").write_text(str(os.getpid()))
    with FileLock(directory / "engine.lock"):
        code, _, error = command(action)
    assert code == 1
    assert f"(process {os.getpid()})" in error
    assert ("starting or ending" if action == "status" else "has not ended within 0.5 s") in error


# --- files of the wrong kind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "directory"])
@pytest.mark.parametrize("name", ["engine.sock", "engine.lock", "engine.log"])
def test_a_file_of_the_wrong_kind_is_named_and_kept(
    command: Callable[..., Outcome], directory: Path, make: Callable[[Path], None], name: str
) -> None:
    make(directory / name)
    connect = [sys.executable, "-m", "nfkd.engine", "connect"]
    done = subprocess.run(connect, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    outcomes = [(done.returncode, done.stderr.decode())]
    for action in ("status", "stop", "serve"):
        code, _, error = command(action)
        outcomes.append((code, error))
    for code, error in outcomes:
        assert code == 1
        assert f"{directory / name} is not a" in error
        assert "remove it" in error
        assert "Traceback" not in error
    assert (directory / name).exists()


def test_a_regular_file_instead_of_the_socket_is_kept(command: Callable[..., Outcome], directory: Path) -> None:
    (directory / "engine.sock").write_text("mine")
    for action in ("status", "stop", "serve"):
        code, _, error = command(action)
        assert code == 1
        assert "is not a socket" in error
    assert (directory / "engine.sock").read_text() == "mine"


# --- engines ----------------------------------------------------------------------------------------------------------

LOADING = """
import sys, threading
class Blocking:
    def find_spec(self, name, path=None, target=None):
        if name == "nfkd.engine.core":
            threading.Event().wait()
sys.meta_path.insert(0, Blocking())
from nfkd.engine.commands import serve
sys.exit(serve())
"""


@contextmanager
def engine() -> Iterator[subprocess.Popen[bytes]]:
    """Start an engine that never finishes loading torch; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", LOADING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_an_engine_that_loads_torch_or_hangs_is_reported(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with engine() as process:
        hang = f"End it with `kill -KILL {process.pid}`"
        for state, hint, answering in (("loading", "it loads torch", 2.0), ("hung", hang, 0.3)):
            if state == "hung":
                process.send_signal(signal.SIGSTOP)
            assert perform("status", answering=answering) == 1
            error = capfd.readouterr().err
            assert f"(process {process.pid})" in error
            assert hint in error
            assert perform("stop", answering=answering, ending=0.5) == 1
            assert f"kill -KILL {process.pid}" in capfd.readouterr().err
    assert perform("status") == 0


def test_an_engine_has_ended_before_its_parent_notices(directory: Path) -> None:
    commands = (
        ["-m", "nfkd.engine", "serve"],
        ["-c", "from nfkd.engine.commands import perform; exit(perform('stop'))"],
    )
    serve, stop = ([sys.executable, *arguments] for arguments in commands)
    with subprocess.Popen(serve, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # it listens
        stopped = subprocess.run(stop, capture_output=True, text=True, check=False)
    assert stopped.returncode == 0, stopped.stderr


# --- the relay --------------------------------------------------------------------------------------------------------

RELAY = "import sys; from nfkd.engine import relay; sys.exit(relay.main(relay.Patience(greeting=0.3)))"


def test_a_relay_reports_a_program_that_sends_no_greeting(directory: Path) -> None:
    relay_command = [sys.executable, "-c", RELAY]
    with (
        listening(lambda _client: None),
        subprocess.Popen(relay_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as relay,
    ):
        assert relay.stdin is not None
        assert relay.stderr is not None
        relay.stdin.write(HELLO)
        relay.stdin.flush()
        assert relay.wait(60) == 1
        [line] = relay.stderr.read().decode().splitlines()
    assert f"does not answer within 0.3 s (process {os.getpid()}). End it with" in line


def test_an_engine_that_never_listens_is_killed(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid'}\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(EngineStartError, match=r"did not listen within 0\.5 s and was ended"):
        find_or_start(Patience(listening=0.5))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
