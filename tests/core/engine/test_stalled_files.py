"""Files that do not answer: a data source that waits, and requests that do not need it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nfkd.config.data import MNISTConfig
from nfkd.data.dataset import DataSplit
from nfkd.data.source import Loaded, OnProgress, Source
from nfkd.data.sources import SOURCES
from nfkd.engine.core import Engine, Refused
from nfkd.engine.endpoint import ENVIRONMENT, Connection, connect
from nfkd.engine.limits import Limits
from nfkd.engine.threads import FilesSilentError, RequestThreads
from nfkd.protocol import data as ask_data
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder
from tests.core.tiny import digits, moons

STALLED = digits().replace(data={"kind": "mnist", "folder": "/gone/drive"}).to_toml()
FINE = moons().to_toml()


class Stalled(Source[MNISTConfig]):
    """Waits until it is released, like a disconnected drive."""

    config = MNISTConfig
    shape = "1×8×8"

    def __init__(self) -> None:
        self.started, self.released = threading.Semaphore(0), threading.Event()
        self.progress = 0.0

    def stamp(self, config: MNISTConfig) -> Hashable:
        return id(self)  # no cached data from another test

    def load(self, config: MNISTConfig) -> Loaded:
        self._wait()
        split = DataSplit(np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), np.uint8))
        return Loaded(name="far", train=split, validation=split, test=split, levels=256)

    def fetch(self, config: MNISTConfig, on_progress: OnProgress) -> None:
        end, received = time.monotonic() + self.progress, 0
        while time.monotonic() < end:
            on_progress("far.npy", received := received + 1, 0)
        if not self.progress:
            self._wait()

    def _wait(self) -> None:
        self.started.release()
        self.released.wait()

    async def until_started(self) -> None:
        await asyncio.to_thread(self.started.acquire)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stalled]:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    stalled = Stalled()
    monkeypatch.setitem(SOURCES, "mnist", stalled)
    yield stalled
    stalled.released.set()


def run_engine(scenario: Callable[[Engine], Awaitable[None]], limits: Limits) -> None:
    async def go() -> None:
        engine = Engine(limits)
        try:
            await scenario(engine)
        finally:
            await engine.close()

    asyncio.run(go())


async def refused(engine: Engine, request: ask.Request) -> str:
    with pytest.raises(Refused) as caught:
        await engine.answer(request)
    error = caught.value.error
    return f"{error.title}: {error.cause} {error.action}"


def test_requests_are_answered_while_a_file_does_not_answer(source: Stalled, tmp_path: Path) -> None:
    async def scenario(engine: Engine) -> None:
        waiting = [asyncio.ensure_future(engine.answer(ask.Describe(config=STALLED)))]
        await source.until_started()
        waiting.append(asyncio.ensure_future(engine.answer(ask_data.PreviewData(config='kind = "mnist"'))))
        await source.until_started()
        described = await engine.answer(ask.Describe(config=FINE))
        assert isinstance(described, ask.Description)
        assert described.problems == []
        preview = await engine.answer(ask_data.PreviewData(config='kind = "two_moons"'))
        assert isinstance(preview, ask_data.DataPreview)
        assert preview.points is not None
        assert isinstance(await engine.answer(ask.ListRuns(folder=str(tmp_path))), ask.RunList)
        assert isinstance(await engine.answer(ask.Run(config=FINE, folder=str(tmp_path))), ask.RunAccepted)
        assert not any(request.done() for request in waiting)
        source.released.set()
        late, _ = await asyncio.gather(*waiting)
        assert isinstance(late, ask.Description)
        assert late.problems == []

    run_engine(scenario, Limits(overtake_seconds=0.02))


def test_a_request_that_exceeds_its_limit_is_refused_with_the_path(source: Stalled) -> None:
    async def scenario(engine: Engine) -> None:
        message = await refused(engine, ask.Describe(config=STALLED))
        assert "/gone/drive did not answer within 0.1 s" in message
        assert "network drive" in message
        assert "try again" in message
        assert engine.running == ["/gone/drive"]

    run_engine(scenario, Limits(work_seconds=0.1, overtake_seconds=0.02, close_seconds=0.05))


def test_too_many_stuck_requests_are_refused_at_once(source: Stalled) -> None:
    async def scenario(engine: Engine) -> None:
        for _ in range(3):
            assert "did not answer" in await refused(engine, ask.Describe(config=STALLED))
        message = await refused(engine, ask.Describe(config=FINE))
        assert message.startswith("Too many files do not answer: 3 earlier requests still wait for: /gone/drive.")
        assert isinstance(await engine.answer(ask.Status()), ask.EngineStatus)

    run_engine(scenario, Limits(work_seconds=0.1, overtake_seconds=0.02, threads=3, close_seconds=0.05))


def test_stuck_threads_are_free_again_when_their_files_answer() -> None:
    release = threading.Event()

    async def go() -> None:
        threads = RequestThreads("test", 1, Limits(overtake_seconds=0.02, threads=2))
        for _ in range(2):
            with pytest.raises(FilesSilentError, match="x did not answer"):
                await threads.run(release.wait, about="x", limit=0.05)
        with pytest.raises(FilesSilentError, match="2 earlier requests still wait for: x"):
            await threads.run(int, about="y", limit=5.0)
        release.set()
        await threads.close(5.0)
        assert await threads.run(int, about="y", limit=5.0) == 0

    asyncio.run(go())


def test_a_download_without_progress_is_abandoned(source: Stalled, monkeypatch: pytest.MonkeyPatch) -> None:
    split = DataSplit(np.zeros((100, 1, 8, 8), np.uint8))
    loaded = Loaded(name="far", train=split, validation=split, test=split, levels=256)
    monkeypatch.setattr(source, "load", lambda _config: loaded)

    async def scenario(engine: Engine) -> None:
        message = await refused(engine, ask_data.FetchData(config='kind = "mnist"'))
        assert "the files of MNIST did not answer within 0.4 s" in message
        source.released.set()
        source.progress = 0.8  # longer than the limit, but bytes arrive
        assert isinstance(await engine.answer(ask_data.FetchData(config='kind = "mnist"')), ask.Done)

    run_engine(scenario, Limits(work_seconds=0.4))


def test_an_error_after_the_limit_is_ignored() -> None:
    failed: list[object] = []
    release = threading.Event()

    def fail() -> None:
        release.wait()
        msg = "late"
        raise OSError(msg)

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
        threads = RequestThreads("test", 1, Limits(overtake_seconds=0.02))
        with pytest.raises(FilesSilentError):
            await threads.run(fail, about="x", limit=0.05)
        assert await threads.run(lambda: 7, about="y", limit=5.0) == 7
        release.set()
        await threads.close(5.0)
        assert threads.running == []
        with pytest.raises(OSError, match="late"):
            await threads.run(fail, about="x", limit=5.0)

    asyncio.run(go())
    assert failed == []


# --- the process ------------------------------------------------------------------------------------------------------

ENGINE = """
import itertools, os, sys
from nfkd.config.data import TwoMoonsConfig
from nfkd.data.sources import SOURCES
from nfkd.engine.commands import serve
from nfkd.engine.limits import Limits

class Stalling(type(SOURCES["two_moons"])):
    calls = itertools.count()
    def stamp(self, config):
        return next(self.calls)  # never cached
    def load(self, config):
        if next(self.calls) > 1:
            os.write(2, b"stalled\\n")
            open(sys.argv[1], "rb").read()  # blocks: nothing writes to this FIFO
        return super().load(config)

SOURCES["two_moons"] = Stalling()
limits = Limits(overtake_seconds=0.05, stop_seconds=0.2, close_seconds=0.05)
sys.exit(serve(limits))
"""


def send(request: ask.Request) -> Connection:
    """Send a request to the engine's socket."""
    connection = connect()
    connection.write(to_wire(ask.Hello(protocol=PROTOCOL, version="test")) + to_wire(ask.Call(id=1, request=request)))
    return connection


def ask_engine(request: ask.Request) -> ask.Reply | ask.Refusal:
    connection, decoder = send(request), FrameDecoder()
    try:
        while True:
            for body in decoder.feed(connection.read(60)):
                match from_engine(body):
                    case ask.Answer(reply=reply):
                        return reply
                    case ask.Refusal() as refusal:
                        return refusal
                    case _:
                        pass
    finally:
        connection.close()


def test_an_engine_ends_while_its_run_and_a_request_wait_for_a_file(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path_factory.mktemp("e")))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", ENGINE, str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        assert engine.stderr is not None
        assert engine.stdout.readline() == b"ready\n"
        accepted = ask_engine(ask.Run(config=FINE, folder=str(tmp_path / "runs")))
        assert isinstance(accepted, ask.RunAccepted), accepted
        while engine.stderr.readline() != b"stalled\n":
            pass
        asking = send(ask.Describe(config=FINE))
        while engine.stderr.readline() != b"stalled\n":
            pass
        status = ask_engine(ask.Status())
        assert isinstance(status, ask.EngineStatus)
        assert status.active == accepted.run
        assert isinstance(ask_engine(ask.Shutdown()), ask.Done)
        assert engine.wait(60) == 0
        log = engine.stderr.read().decode()
        assert f"without waiting any longer for {accepted.run}, a file of the experiment" in log
        asking.close()
