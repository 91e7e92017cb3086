"""Copies of runs over a connection that the test interrupts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nfkd.protocol import copying
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Done, ListRuns, Reply, Request, RunList
from nfkd.remote.hosts import EngineHost
from nfkd_gui.link.engine_client import EngineClient, OnError, OnEvent, OnLost
from nfkd_gui.model.run_copier import RunCopier

HOST = EngineHost("gpu", "user@gpu.example")
CUT = ErrorInfo(title="The connection to gpu was lost", cause="The network was interrupted.")
FILES = {"run.h5": bytes(range(256)) * 3, "weights/student.safetensors": b"w" * 100, "state.json": b"{}"}
PART = 64
Do = Callable[[Any], Any]


class Host:
    """Serves the files of one run; also makes the clients, as `Machines` does.

    Attributes
    ----------
    cuts
        Numbers of parts after which the connection is cut.
    refused
        Whether the copy is refused.
    held, asked
        Whether parts are never sent, and whether one was asked for then.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.refused = self.held = False
        self.asked = asyncio.Event()
        self.parts = self.clients = 0
        self.listed: list[str] = []
        self.ended: list[str] = []

    def client_of(self, host: EngineHost, on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        assert host is HOST
        self.clients += 1
        return HostClient(on_event, on_lost, self)

    def answer(self, request: Request) -> Reply:
        match request:
            case ListRuns():
                self.listed.append(request.folder)
                return RunList(folder=request.folder, rows=[])
            case copying.CopyRun():
                files = [
                    copying.RunFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                    for path, data in FILES.items()
                ]
                return copying.RunFiles(run=request.run, ticket="t", files=files)
            case copying.ReadRunFile():
                self.parts += 1
                data = FILES[request.path][request.start : request.start + PART]
                return copying.FilePart(start=request.start, data=data)
            case copying.EndCopy():
                self.ended.append(request.ticket)
        return Done()


class HostClient(EngineClient):
    outlives_window = True
    remote = True
    reconnects = True

    def __init__(self, on_event: OnEvent, on_lost: OnLost, host: Host) -> None:
        super().__init__(on_event, on_lost)
        self._host = host

    async def start(self) -> None:
        """Connect."""

    def send(self, request: Request, on_reply: Callable[[Reply], None], on_error: OnError) -> None:
        host, loop = self._host, asyncio.get_running_loop()
        if isinstance(request, copying.ReadRunFile) and host.held:
            host.asked.set()
            return
        if host.refused and isinstance(request, copying.CopyRun):
            loop.call_soon(on_error, ErrorInfo(title="The run cannot be copied", cause="It is gone."))
        elif host.cuts and host.parts == host.cuts[0]:
            host.cuts.pop(0)
            self.connected = False
            loop.call_soon(on_error, CUT)
        else:
            loop.call_soon(on_reply, host.answer(request))

    async def close(self) -> None:
        """Disconnect."""


class Copies:
    """A copier and what it reported."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.folder = folder
        self.copier = RunCopier(host, second=0.0)  # type: ignore[arg-type]
        self.copied: list[str] = []
        self.failed: list[ErrorInfo] = []
        self.waited: list[str] = []
        self.progress: list[tuple[int, int]] = []
        self.ended = asyncio.Event()
        copier = self.copier
        copier.copied.connect(self.copied.append)
        copier.failed.connect(self.failed.append)
        copier.waited.connect(self.waited.append)
        copier.progressed.connect(lambda done, total: self.progress.append((done, total)))
        copier.ended.connect(self.ended.set)

    async def copy(self, *runs: str) -> None:
        self.copier.start(HOST, "/data/runs", runs, self.folder)
        await asyncio.wait_for(self.ended.wait(), 20)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_runs_are_copied_completely(do: Do, qapp: object, tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host()
        copies = Copies(host, tmp_path / "runs")
        await copies.copy("/data/runs/a", "/data/runs/sub/b")
        assert copies.copied == [str(tmp_path / "runs" / "a"), str(tmp_path / "runs" / "b")]
        assert content(tmp_path / "runs" / "a") == content(tmp_path / "runs" / "b") == FILES
        assert names(tmp_path / "runs") == ["a", "b"]
        total = sum(map(len, FILES.values()))
        assert copies.progress[-1] == (total, total)
        assert host.listed == ["/data/runs"] * 2
        assert host.ended == ["t", "t"]
        assert not copies.copier.runs

    do(scenario())


def test_a_cut_copy_goes_on_where_it_was(do: Do, qapp: object, tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host()
        host.cuts = [5, 9]
        copies = Copies(host, tmp_path)
        await copies.copy("/data/runs/a")
        assert content(tmp_path / "a") == FILES
        assert copies.waited == [CUT.title] * 2
        assert host.clients == 3
        assert host.parts == sum(-(-len(data) // PART) for data in FILES.values()), "no part is read twice"

    do(scenario())


def test_a_refused_copy_leaves_nothing(do: Do, qapp: object, tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host()
        host.refused = True
        copies = Copies(host, tmp_path)
        await copies.copy("/data/runs/a", "/data/runs/b")
        assert [error.cause for error in copies.failed] == ["It is gone."]
        assert names(tmp_path) == []
        assert host.clients == 1

    do(scenario())


def test_a_cancelled_copy_leaves_nothing(do: Do, qapp: object, tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host()
        host.held = True
        copies = Copies(host, tmp_path)
        copies.copier.start(HOST, "/data/runs", ["/data/runs/a"], tmp_path)
        task = copies.copier._task
        assert task is not None
        await asyncio.wait_for(host.asked.wait(), 20)
        copies.copier.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert names(tmp_path) == []
        assert not copies.ended.is_set()

    do(scenario())


def test_an_existing_run_is_kept(do: Do, qapp: object, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    async def scenario() -> None:
        copies = Copies(Host(), tmp_path)
        await copies.copy("/data/runs/a")
        assert copies.copied == [str(tmp_path / "a-2")]
        assert names(tmp_path / "a") == []

    do(scenario())


@pytest.mark.parametrize("run", ["/data/runs/..", "C:\\runs\\a", "/"])
def test_names_stay_in_the_folder(do: Do, qapp: object, tmp_path: Path, run: str) -> None:
    async def scenario() -> None:
        copies = Copies(Host(), tmp_path / "runs")
        await copies.copy(run)
        [copied] = copies.copied
        assert Path(copied).parent == tmp_path / "runs"

    do(scenario())


def test_a_folder_that_cannot_be_written_is_reported(do: Do, qapp: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scenario() -> None:
        copies = Copies(Host(), tmp_path / "file")
        await copies.copy("/data/runs/a")
        assert copies.failed[0].title == "The run was not copied"

    do(scenario())
