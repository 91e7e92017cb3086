"""One suite for every client: over a relay process, scripted and real, and in this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import (
    Describe,
    Description,
    Done,
    EngineStatus,
    ListRuns,
    OpenRun,
    Pause,
    Reply,
    Request,
    Run,
    RunAccepted,
    RunList,
    Shutdown,
    Snapshot,
    Status,
    Stop,
    Trace,
)
from nfkd.protocol.view import RunView
from nfkd_gui.link.connection import Connection
from nfkd_gui.link.engine_client import EngineClient, EngineLost, InProcessClient, RelayClient, RequestRefused

SCRIPT = Path(__file__).with_name("scripted_engine.py")
TINY = [
    "teacher.steps=1",
    "teacher.hidden=4",
    "student.steps=1",
    "student.hidden=4",
    "data.count=200",
    "training.teacher_steps=1000000",
    "training.early_stop=0",
    "compute.threads=1",
    "compute.device=cpu",
]


class Heard:
    """What a client has called back, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lost: list[ErrorInfo] = []
        self._news = asyncio.Event()

    def event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def loss(self, error: ErrorInfo) -> None:
        self.lost.append(error)
        self._news.set()

    async def until(self, found: Callable[[], Any]) -> None:
        """Wait until something is so."""
        while not found():
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 30)


def scripted_client(heard: Heard, manner: str = "well", patience: float = 30.0) -> RelayClient:
    return RelayClient(heard.event, heard.loss, [sys.executable, str(SCRIPT), manner], patience)


CLIENTS: dict[str, Callable[[Heard], EngineClient]] = {
    "scripted relay": scripted_client,
    "relay": lambda heard: RelayClient(heard.event, heard.loss),
    "in this process": lambda heard: InProcessClient(heard.event, heard.loss),
}


@pytest.fixture(params=list(CLIENTS))
def with_client(request: pytest.FixtureRequest, do: Callable[[Any], Any]) -> Callable[..., None]:
    """Run a coroutine function with a connected client of each kind, and end its engine afterwards."""

    def run(scenario: Callable[[EngineClient, Heard], Any], *, ends_engine: bool = True) -> None:
        async def whole() -> None:
            heard = Heard()
            client = CLIENTS[request.param](heard)
            await client.start()
            try:
                await scenario(client, heard)
                if client.outlives_window and ends_engine:
                    await client.request(Shutdown())
            finally:
                await client.close()

        do(whole())

    return run


def test_requests_are_answered_by_their_own_replies(with_client: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(client: EngineClient, _heard: Heard) -> None:
        digits = ExperimentConfig.load("digits").to_toml()
        asked = [Status(), ListRuns(folder=str(tmp_path)), Describe(config=digits), Status()]
        replies = await asyncio.gather(*(client.request(request) for request in asked))
        assert [type(reply) for reply in replies] == [EngineStatus, RunList, Description, EngineStatus]
        assert isinstance(replies[2], Description)
        assert replies[2].problems == []

    with_client(scenario)


def test_a_refusal_says_why_and_the_engine_lives(with_client: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(client: EngineClient, heard: Heard) -> None:
        with pytest.raises(RequestRefused) as refusal:
            await client.request(Pause(run=str(tmp_path / "none")))
        assert refusal.value.error.title
        assert isinstance(await client.request(Status()), EngineStatus)
        assert heard.lost == []

    with_client(scenario)


def test_a_snapshot_and_the_events_after_it_make_the_whole(with_client: Callable[..., None], tmp_path: Path) -> None:
    """A view from a snapshot in mid-run and its deltas equals a view that has seen every event."""

    async def scenario(client: EngineClient, heard: Heard) -> None:
        text = ExperimentConfig.load("two_moons", TINY).to_toml()
        accepted = await client.request(Run(config=text, folder=str(tmp_path)))
        assert isinstance(accepted, RunAccepted)
        await heard.until(lambda: any(type(event).__name__ == "StageStarted" for event in heard.events))
        position: list[int] = []
        snapshots: list[Reply] = []

        def take(reply: Reply) -> None:
            position.append(len(heard.events))
            snapshots.append(reply)
            heard._news.set()

        client.send(OpenRun(run=accepted.run), take, lambda error: pytest.fail(str(error)))
        await heard.until(lambda: snapshots)
        assert isinstance(await client.request(Stop(run=accepted.run, scope="run")), Done)
        await heard.until(lambda: any(type(event).__name__ == "RunFinished" for event in heard.events))
        assert isinstance(snapshots[0], Snapshot)
        followed = RunView.from_snapshot(snapshots[0])
        whole = RunView(snapshots[0].row, text)
        for number, event in enumerate(heard.events):
            if getattr(event, "run", "") == accepted.run:
                whole.apply(event)  # type: ignore[arg-type]
                if number >= position[0]:
                    followed.apply(event)  # type: ignore[arg-type]
        assert points(followed) == points(whole)

    with_client(scenario)


def points(view: RunView) -> dict[Any, Any]:
    """Return every point of every curve, as plain lists."""
    return {
        (key, name): (curve.steps.tolist(), curve.values.tolist())
        for key, stage in view.stages.items()
        for name, curve in stage.curves.items()
    }


def test_after_close_nothing_is_called_back(with_client: Callable[..., None]) -> None:
    async def scenario(client: EngineClient, heard: Heard) -> None:
        await client.request(Status())
        if client.outlives_window:
            await client.request(Shutdown())
        await client.close()
        await client.close()
        assert heard.lost == []

    with_client(scenario, ends_engine=False)


# --- what only a process can do ---------------------------------------------------------------------------


def test_a_crash_is_told_once_with_the_engines_last_words(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        heard = Heard()
        client = scripted_client(heard)
        await client.start()
        trace = client.request(Trace(run="r", seed=1, stage="student", index=0))
        with pytest.raises(EngineLost) as lost:
            await trace
        assert lost.value.error.cause == "Killed: out of memory"
        assert "Traceback" in lost.value.error.traceback
        await heard.until(lambda: heard.lost)
        assert len(heard.lost) == 1
        with pytest.raises(EngineLost):
            await client.request(Status())
        await client.close()

    do(scenario())


@pytest.mark.parametrize(
    ("manner", "cause"),
    [("dead", "No module named torch"), ("old", "speaks protocol"), ("mute", "said nothing for 1 seconds")],
)
def test_an_engine_that_cannot_be_had_says_why(do: Callable[[Any], Any], manner: str, cause: str) -> None:
    async def scenario() -> None:
        heard = Heard()
        client = scripted_client(heard, manner, patience=1.0 if manner == "mute" else 30.0)
        with pytest.raises(EngineLost) as lost:
            await client.start()
        assert cause in lost.value.error.cause
        assert lost.value.error.title == "The engine could not be started"
        assert heard.lost == []
        await client.close()

    do(scenario())


def test_a_stray_print_ends_the_connection_with_the_reason(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        heard = Heard()
        client = scripted_client(heard, "noisy")
        await client.start()
        await heard.until(lambda: heard.lost)
        assert "not a frame" in heard.lost[0].cause
        assert "training" in heard.lost[0].cause
        await client.close()

    do(scenario())


def test_an_engine_that_ends_the_connection_says_why(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        heard = Heard()
        client = scripted_client(heard, "parting")
        await client.start()
        await heard.until(lambda: heard.lost)
        assert heard.lost[0].cause == "The client does not read: too much waits"
        await client.close()

    do(scenario())


SILENT = """
import socket, sys
from nfkd.engine import relay
from nfkd.engine.endpoint import address
listener = socket.socket(socket.AF_UNIX)
listener.bind(address())
listener.listen()  # and accepts nobody, as an engine that hangs
sys.exit(relay.main(relay.Patience(greeting=0.3)))
"""


def test_an_engine_that_hangs_is_told_instead_of_waited_for(
    do: Callable[[Any], Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFKD_ENGINE_DIR", str(tmp_path_factory.mktemp("e")))

    async def scenario() -> None:
        heard = Heard()
        client = RelayClient(heard.event, heard.loss, [sys.executable, "-c", SILENT])
        with pytest.raises(EngineLost, match=r"does not answer within 0\.3 s \(process \d+\)\. End it with"):
            await client.start()
        assert heard.lost == []
        await client.close()

    do(scenario())


class Dumb(EngineClient):
    """Greets, and answers nothing."""

    name = "dumb"
    outlives_window = False

    async def start(self) -> None:
        """Connect."""

    def send(self, request: Request, on_reply: Callable[[Reply], None], on_error: Callable[[Any], None]) -> None:
        """Take a request."""

    async def close(self) -> None:
        """Disconnect."""


def test_an_engine_that_never_tells_its_status_is_told(do: Callable[[Any], Any], qapp: object) -> None:
    async def scenario() -> None:
        failed: asyncio.Future[ErrorInfo] = asyncio.get_running_loop().create_future()
        connection = Connection(Dumb, lambda _event: None, patience=0.05)
        connection.failed.connect(failed.set_result)
        connection.start()
        error = await asyncio.wait_for(failed, 30)
        assert error.title == "The engine does not answer"
        assert connection.state.phase == "lost"
        await connection.close()

    do(scenario())


def test_a_missing_program_is_an_error_in_words(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        heard = Heard()
        client = RelayClient(heard.event, heard.loss, ["/no/such/python"])
        with pytest.raises(EngineLost) as lost:
            await client.start()
        assert "/no/such/python" in lost.value.error.cause
        await client.close()

    do(scenario())


def test_a_listener_that_fails_does_not_end_the_connection(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        heard = Heard()
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

        def fail(_event: Event) -> None:
            msg = "a panel failed"
            raise RuntimeError(msg)

        client = RelayClient(fail, heard.loss, [sys.executable, str(SCRIPT)])
        await client.start()
        await client.request(Run(config=ExperimentConfig.load("digits").to_toml(), folder="/runs"))
        assert isinstance(await client.request(Status()), EngineStatus)
        assert str(reported[0]["exception"]) == "a panel failed"
        assert heard.lost == []
        await client.close()

    do(scenario())
