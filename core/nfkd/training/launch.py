"""Executes a run in several processes that torchrun starts, and relays their events and the user's requests."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from secrets import token_bytes
from typing import IO, Any

import msgspec

from nfkd.config import ExperimentConfig
from nfkd.planning.times import UnitTimes
from nfkd.protocol.events import RunChanged, RunEvent, RunFailed, RunFinished
from nfkd.protocol.roles import Role
from nfkd.protocol.run_rows import RunState, StartRecord
from nfkd.runs.errors import RunError
from nfkd.runs.state import ACTIVE, read_row, write_row
from nfkd.training.control import Control
from nfkd.training.ranks import RESUME, ended_rank

ADDRESS, KEY = "NFKD_RANKS_ADDRESS", "NFKD_RANKS_KEY"
"""Environment variables: where rank 0 connects to, and the secret of both ends."""
_LOOPBACK = {"linux": "lo", "darwin": "lo0"}
_TAIL = 4000  # characters of the processes' own messages in an error


@dataclass(frozen=True)
class Launch:
    """What rank 0 executes; arguments as for `nfkd.training.job.execute_run`."""

    run: Path
    config: ExperimentConfig
    resume: bool
    units: Mapping[Role, UnitTimes] | None
    donors: tuple[Path, ...]
    start: StartRecord | None


def launch_run(launch: Launch, emit: Callable[[RunEvent], None], control: Control) -> RunState:
    """Execute a run in as many processes as its experiment names, and return how it ended.

    The last event is always `RunFinished` or `RunFailed`, also when the processes are killed.
    """
    ended = False

    def watch(event: RunEvent) -> None:
        nonlocal ended
        ended = ended or isinstance(event, RunFinished | RunFailed)
        emit(event)

    with tempfile.TemporaryFile() as messages:
        state, error = _relay(launch, watch, control, messages)
        control.close()
        if not ended:
            info = msgspec.structs.replace(error.info(), traceback=_tail(messages))
            row = record_failure(launch.run, error)
            emit(RunChanged(run=str(launch.run), row=row))
            emit(RunFailed(run=str(launch.run), error=info))
    return state


def record_failure(run: Path, error: RunError) -> Any:
    """Record in a run's files that its processes ended, unless they have recorded an end; return its row."""
    row = read_row(run)
    if row.state in {*ACTIVE, "interrupted"}:
        row = msgspec.structs.replace(row, state="failed", cause=f"{error.title}. {error.cause}")
        with suppress(OSError):
            write_row(run, row, error.info())
    return row


def _relay(
    launch: Launch, emit: Callable[[RunEvent], None], control: Control, messages: IO[bytes]
) -> tuple[RunState, RunError]:
    """Start the processes and relay until they have ended; return how, and why if they did not say it."""
    key, state = token_bytes(32), None
    with Listener(authkey=key) as listener:
        process = _start(launch.config, listener.address, key, messages)
        waker = threading.Thread(target=_wake, args=(process, listener.address, key), name="ranks", daemon=True)
        waker.start()
        connection = _accept(listener)
    try:
        send_to(connection, launch)
        control.forward(lambda request: send_to(connection, request))
        while state is None:
            match pickle.loads(connection.recv_bytes()):  # noqa: S301 - of our own process, authenticated
                case ("weights", number, weights):
                    control.receive_weights(number, weights)
                case ("end", ended):
                    state = ended
                case event:
                    emit(event)
    except (EOFError, OSError):
        pass
    finally:
        output, _ = process.communicate()
        connection.close()
        waker.join()
    return state or "failed", _failure(output)


def _start(config: ExperimentConfig, address: Any, key: bytes, messages: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = os.environ | {ADDRESS: json.dumps(address), KEY: key.hex()}
    if sys.platform in _LOOPBACK:
        environment.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK[sys.platform])
    compute = config.compute
    arguments = [sys.executable, "-m", "nfkd.training.torchrun", str(compute.devices), compute.device]
    return subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=messages,
        start_new_session=True,  # Ctrl-C reaches only this process, which then stops the run
    )


def _wake(process: subprocess.Popen[bytes], address: Any, key: bytes) -> None:
    """Let `_accept` return if the processes end before rank 0 has connected."""
    process.wait()
    with suppress(OSError, EOFError, AuthenticationError):
        Client(address, authkey=key).close()


def _accept(listener: Listener) -> Connection:
    while True:
        with suppress(AuthenticationError, EOFError):
            return listener.accept()


def send_to(connection: Connection, message: Any) -> None:
    """Send a message; the loss of the connection is found by who receives from it."""
    with suppress(OSError):
        connection.send_bytes(pickle.dumps(message))  # not `send`, which would put tensors into shared memory


def _failure(output: bytes) -> RunError:
    with suppress(ValueError, LookupError):
        found = json.loads(output.splitlines()[-1])
        return ended_rank(found["rank"], found["pid"], found["cause"])
    return RunError("The processes of the run ended", "They did not say why.", RESUME)


def _tail(messages: IO[bytes]) -> str:
    messages.seek(0)
    return messages.read().decode(errors="replace")[-_TAIL:]
