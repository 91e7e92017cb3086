"""The relay client: crashes, failed starts, wrong output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import Event
from nfkd.protocol.inspection import ReadPlane
from nfkd.protocol.requests import EngineStatus, Run, Status
from nfkd_gui.link.engine_client import EngineError
from nfkd_gui.link.relay_client import RelayClient
from tests.gui import scripted_engine
from tests.gui.link.recorder import Recorder, scripted_client


def test_a_crash_is_reported_once_with_the_last_line_of_stderr(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        client = scripted_client(recorder)
        await client.start()
        trace = client.request(ReadPlane(run="r", seed=1, count=1))
        with pytest.raises(EngineError) as lost:
            await trace
        assert lost.value.error.cause == "Killed: out of memory"
        assert "Traceback" in lost.value.error.traceback
        await recorder.until(lambda: recorder.lost)
        assert len(recorder.lost) == 1
        with pytest.raises(EngineError):
            await client.request(Status())
        await client.close()

    do(scenario())


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [("dead", "No module named torch"), ("old", "speaks protocol"), ("mute", "did not answer within 0.3 s")],
)
def test_a_failed_start_has_a_reason(do: Callable[[Any], Any], behaviour: str, cause: str) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        client = scripted_client(recorder, behaviour, patience=0.3 if behaviour == "mute" else 30.0)
        with pytest.raises(EngineError) as lost:
            await client.start()
        assert cause in lost.value.error.cause
        assert lost.value.error.title == "The engine could not be started"
        assert recorder.lost == []
        await client.close()

    do(scenario())


def test_output_that_is_no_message_ends_the_connection_with_a_reason(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        client = scripted_client(recorder, "noisy")
        await client.start()
        await recorder.until(lambda: recorder.lost)
        assert "not a frame" in recorder.lost[0].cause
        assert "training" in recorder.lost[0].cause
        await client.close()

    do(scenario())


def test_the_reason_of_an_engine_that_ends_the_connection_is_reported(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        client = scripted_client(recorder, "farewell")
        await client.start()
        await recorder.until(lambda: recorder.lost)
        assert recorder.lost[0].cause == "The client does not read: too much waits"
        await client.close()

    do(scenario())


SILENT = """
import socket, sys
from nfkd.engine import relay
from nfkd.engine.endpoint import address
listener = socket.socket(socket.AF_UNIX)
listener.bind(address())
listener.listen()  # but accepts no client, like an engine that hangs
sys.exit(relay.main(relay.Patience(greeting=0.3)))
"""


def test_an_engine_that_hangs_is_reported(
    do: Callable[[Any], Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFKD_ENGINE_DIR", str(tmp_path_factory.mktemp("e")))

    async def scenario() -> None:
        recorder = Recorder()
        client = RelayClient(recorder.on_event, recorder.on_lost, [sys.executable, "-c", SILENT])
        with pytest.raises(EngineError, match=r"does not answer within 0\.3 s \(process \d+\)\. End it with"):
            await client.start()
        assert recorder.lost == []
        await client.close()

    do(scenario())


def test_a_missing_program_is_named(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        client = RelayClient(recorder.on_event, recorder.on_lost, ["/no/such/python"])
        with pytest.raises(EngineError) as lost:
            await client.start()
        assert "/no/such/python" in lost.value.error.cause
        await client.close()

    do(scenario())


def test_an_exception_in_a_listener_does_not_end_the_connection(do: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

        def fail(_event: Event) -> None:
            msg = "a panel failed"
            raise RuntimeError(msg)

        client = RelayClient(fail, recorder.on_lost, [sys.executable, scripted_engine.__file__])
        await client.start()
        await client.request(Run(config=ExperimentConfig.load("digits").to_toml(), folder="/runs"))
        assert isinstance(await client.request(Status()), EngineStatus)
        assert str(reported[0]["exception"]) == "a panel failed"
        assert recorder.lost == []
        await client.close()

    do(scenario())
