"""An engine over ssh: on loopback compared with the relay of this machine, and on a slow line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

import nfkd
from nfkd.protocol import events, queue
from nfkd.protocol import requests as ask
from nfkd.remote.client import EngineConnection
from nfkd.remote.copying import copying
from nfkd.remote.hosts import EngineHost
from tests.benchmarks.loud_engine import EVENTS
from tests.benchmarks.slow_line import slow_line_process
from tests.core.tiny import digits
from tests.ssh_server import ALIAS, AVAILABLE, ROOT, SshServer, session_environment, ssh_server

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AVAILABLE, reason="openssh-server and openssh-client are not installed"),
]
RELAY = [sys.executable, "-m", "nfkd.engine", "connect"]
HOST = EngineHost("lab", ALIAS, sys.executable)
SNAPSHOTS = 20
NAMESPACE, OUTER, INNER = "nfkd-bench", "10.213.7.1", "10.213.7.2"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A loud engine, and a run with pictures."""
    folder = tmp_path / "there"
    training = {"teacher_steps": 40, "student_steps": 40}
    monitor = {"evaluate_every": 5, "pictures_every": 10, "sample_count": 64}
    nfkd.run(digits(name="pictures", training=training, monitor=monitor), folder / "runs" / "pictures")
    environment = session_environment(folder / "engine", folder)
    monkeypatch.setenv("NFKD_ENGINE_DIR", environment["NFKD_ENGINE_DIR"])
    command = [sys.executable, "-m", "tests.benchmarks.loud_engine"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | environment) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"ready\n"
        yield folder
        engine.send_signal(signal.SIGINT)


@contextmanager
def reached(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str = "127.0.0.1") -> Iterator[SshServer]:
    with ssh_server(folder / "ssh", address) as server:
        monkeypatch.setenv("NFKD_SSH", server.program)
        yield server


def events_a_second(connection: EngineConnection) -> float:
    connection.request(ask.Status())
    start = time.perf_counter()
    connection.request(queue.PauseQueue(paused=False), keep_events=True)
    count = 0
    while count < EVENTS:
        event = connection.next_event(60.0)
        assert event is not None
        count += isinstance(event, events.CurvePoints)
    return count / (time.perf_counter() - start)


def snapshot_seconds(connection: EngineConnection, run: Path, times: int) -> tuple[float, int]:
    """Return the median time of a snapshot, and its bytes."""
    seconds = []
    before = connection.received.total
    for _ in range(times):
        start = time.perf_counter()
        connection.request(ask.OpenRun(run=str(run)))
        seconds.append(time.perf_counter() - start)
    return median(seconds), (connection.received.total - before) // times


def test_loopback_against_the_local_relay(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, size = machine / "runs" / "pictures", 0
    found: dict[str, list[tuple[float, float]]] = {"relay": [], "ssh": []}
    with reached(machine, monkeypatch) as server:
        server.start(environment=session_environment(machine / "engine", machine))
        with EngineConnection(HOST, RELAY) as local, EngineConnection(HOST) as remote:
            for _ in range(3):
                for name, connection in (("relay", local), ("ssh", remote)):
                    rate = events_a_second(connection)
                    seconds, size = snapshot_seconds(connection, run, SNAPSHOTS)
                    found[name].append((rate, 1 / seconds))
                    for other in (local, remote):
                        other.request(ask.Status())
    rates = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for index, what in enumerate(("events", f"snapshots of {size / 1e3:,.0f} kB")):
        relay, ssh = rates["relay"][index], rates["ssh"][index]
        print(f"{what} a second: relay {relay:,.0f}, ssh {ssh:,.0f}, ratio {ssh / relay:.2f}")
    assert min(rates["ssh"]) > 0


@contextmanager
def netem_line() -> Iterator[bool]:
    """Make a network namespace behind a slow line, and yield whether this machine allows it."""
    netem = ["root", "netem", "delay", "25ms", "rate", "1mbit"]
    inside = ["ip", "netns", "exec", NAMESPACE]
    steps = [
        ["ip", "netns", "add", NAMESPACE],
        ["ip", "link", "add", "nfkd0", "type", "veth", "peer", "name", "nfkd1", "netns", NAMESPACE],
        ["ip", "addr", "add", f"{OUTER}/30", "dev", "nfkd0"],
        ["ip", "link", "set", "nfkd0", "up"],
        [*inside, "ip", "addr", "add", f"{INNER}/30", "dev", "nfkd1"],
        [*inside, "ip", "link", "set", "nfkd1", "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        ["tc", "qdisc", "add", "dev", "nfkd0", *netem],
        [*inside, "tc", "qdisc", "add", "dev", "nfkd1", *netem],
    ]
    usable = os.getuid() == 0 and all(map(shutil.which, ("ip", "tc")))
    try:
        yield usable and not any(subprocess.run(step, capture_output=True, check=False).returncode for step in steps)
    finally:
        if usable:
            subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)


@contextmanager
def slow_server(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start a server behind a line of 50 ms (there and back) and 1 Mbit/s: by netem, else by a proxy."""
    environment = session_environment(machine / "engine", machine)
    with netem_line() as has_netem:
        print(f"slow line by {'tc netem' if has_netem else 'a proxy: this machine has no tc netem'}")
        with reached(machine, monkeypatch, INNER if has_netem else "127.0.0.1") as server:
            server.prefix = ["ip", "netns", "exec", NAMESPACE] if has_netem else []
            server.start(environment=environment)
            if has_netem:
                yield
                return
            with slow_line_process(server.port) as port:
                config = machine / "ssh" / "config"
                config.write_text(config.read_text().replace(f"Port {server.port}", f"Port {port}"))
                known = machine / "ssh" / "known_hosts"
                known.write_text(known.read_text().replace(f":{server.port} ", f":{port} "))
                yield


def test_a_slow_line(machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = machine / "runs" / "pictures"
    with slow_server(machine, monkeypatch):
        start = time.perf_counter()
        with EngineConnection(HOST) as connection:
            connection.request(ask.Status())
            print(f"connected after {time.perf_counter() - start:.1f} s")
            start = time.perf_counter()
            connection.request(ask.Status())
            print(f"status: {1e3 * (time.perf_counter() - start):.0f} ms")
            seconds, size = snapshot_seconds(connection, run, 3)
            print(f"snapshot: {seconds:.1f} s for {size / 1e3:,.0f} kB, {8e-6 * size / seconds:.2f} Mbit/s")
            seconds, size = figures_seconds(connection, run)
            print(f"figures alone: {seconds:.2f} s for {size / 1e3:,.1f} kB")
            lags, pictures = lags_of_progress(connection)
            print(f"while 200 kB pictures are drawn ten times a second: {pictures} arrived in 20 s; progress is "
                  f"{median(lags):.1f} s old, at most {max(lags):.1f} s")  # fmt: skip
            connection.request(ask.ListRuns(folder=str(run.parent)))
            start = time.perf_counter()
            with copying(str(run), tmp_path / "copy") as copy:
                connection.perform(copy.steps())
            size = sum(path.stat().st_size for path in (tmp_path / "copy").iterdir())
            seconds = time.perf_counter() - start
            print(f"copy: {seconds:.1f} s for {size / 1e3:,.0f} kB, {8e-6 * size / seconds:.2f} Mbit/s")
        assert max(lags) < 15.0


def figures_seconds(connection: EngineConnection, run: Path) -> tuple[float, int]:
    before, start = connection.received.total, time.perf_counter()
    connection.request(ask.ReadFigures(run=str(run)))
    return time.perf_counter() - start, connection.received.total - before


def lags_of_progress(connection: EngineConnection) -> tuple[list[float], int]:
    """Return how old each message about progress was when it came, and the number of pictures that came."""
    connection.request(ask.Resume(run="run"))
    lags, pictures = [], 0
    while (event := connection.next_event(15.0)) is not None:
        if isinstance(event, events.Progress):
            lags.append(time.time() - event.seconds_left)
        pictures += isinstance(event, events.SamplesDrawn)
        if isinstance(event, events.Progress) and lags and event.step >= 195:
            break
    return lags, pictures
