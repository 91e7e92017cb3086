"""What every client guarantees: over a relay to a fake and to a real engine, and in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol.requests import (
    Describe,
    Description,
    Done,
    EngineStatus,
    ListRuns,
    OpenRun,
    Pause,
    Reply,
    Run,
    RunAccepted,
    RunList,
    Snapshot,
    Status,
    Stop,
)
from nfkd.protocol.view import RunView
from nfkd_gui.link.engine_client import EngineClient, EngineError
from nfkd_gui.link.in_process_client import InProcessClient
from nfkd_gui.link.relay_client import RelayClient
from tests.engine_process import running_engine
from tests.gui.link.recorder import Recorder, scripted_client

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


CLIENTS: dict[str, Callable[[Recorder], EngineClient]] = {
    "fake engine": scripted_client,
    "relay": lambda recorder: RelayClient(recorder.on_event, recorder.on_lost),
    "in process": lambda recorder: InProcessClient(recorder.on_event, recorder.on_lost),
}


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """An engine process for all tests of this file."""
    with running_engine():
        yield


@pytest.fixture(params=list(CLIENTS))
def with_client(request: pytest.FixtureRequest, do: Callable[[Any], Any]) -> Callable[..., None]:
    """Run a coroutine function with a connected client of each kind."""

    def run(scenario: Callable[[EngineClient, Recorder], Any]) -> None:
        async def connected() -> None:
            recorder = Recorder()
            client = CLIENTS[request.param](recorder)
            await client.start()
            try:
                await scenario(client, recorder)
            finally:
                await client.close()

        do(connected())

    return run


def test_each_request_gets_its_own_reply(with_client: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(client: EngineClient, _recorder: Recorder) -> None:
        digits = ExperimentConfig.load("digits").to_toml()
        asked = [Status(), ListRuns(folder=str(tmp_path)), Describe(config=digits), Status()]
        replies = await asyncio.gather(*(client.request(request) for request in asked))
        assert [type(reply) for reply in replies] == [EngineStatus, RunList, Description, EngineStatus]
        assert isinstance(replies[2], Description)
        assert replies[2].problems == []

    with_client(scenario)


def test_a_refusal_has_a_reason_and_does_not_end_the_connection(
    with_client: Callable[..., None], tmp_path: Path
) -> None:
    async def scenario(client: EngineClient, recorder: Recorder) -> None:
        with pytest.raises(EngineError) as refusal:
            await client.request(Pause(run=str(tmp_path / "none")))
        assert refusal.value.error.title
        assert isinstance(await client.request(Status()), EngineStatus)
        assert recorder.lost == []

    with_client(scenario)


def test_a_snapshot_and_later_events_equal_the_whole_run(with_client: Callable[..., None], tmp_path: Path) -> None:
    """A view from a snapshot during the run plus later events equals a view of all events."""

    async def scenario(client: EngineClient, recorder: Recorder) -> None:
        text = ExperimentConfig.load("two_moons", TINY).to_toml()
        accepted = await client.request(Run(config=text, folder=str(tmp_path)))
        assert isinstance(accepted, RunAccepted)
        await recorder.until(lambda: any(type(event).__name__ == "StageStarted" for event in recorder.events))
        position: list[int] = []
        snapshots: list[Reply] = []

        def on_reply(reply: Reply) -> None:
            position.append(len(recorder.events))
            snapshots.append(reply)
            recorder.changed.set()

        client.send(OpenRun(run=accepted.run), on_reply, lambda error: pytest.fail(str(error)))
        await recorder.until(lambda: snapshots)
        assert isinstance(await client.request(Stop(run=accepted.run, scope="run")), Done)
        await recorder.until(lambda: any(type(event).__name__ == "RunFinished" for event in recorder.events))
        assert isinstance(snapshots[0], Snapshot)
        followed = RunView.from_snapshot(snapshots[0])
        whole = RunView(snapshots[0].row, text)
        for number, event in enumerate(recorder.events):
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


def test_close_may_be_repeated_and_reports_no_loss(with_client: Callable[..., None]) -> None:
    async def scenario(client: EngineClient, recorder: Recorder) -> None:
        await client.request(Status())
        await client.close()
        await client.close()
        assert recorder.lost == []

    with_client(scenario)
