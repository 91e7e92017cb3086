"""The client over ssh, with a program in the place of ssh."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nfkd.protocol.events import LogLine
from nfkd.protocol.requests import EngineStatus, Status
from nfkd.remote.hosts import EngineHost
from nfkd_gui.link.engine_client import EngineError
from nfkd_gui.link.ssh_client import SshClient
from tests.gui import scripted_engine
from tests.gui.link import counting_engine
from tests.gui.link.recorder import Recorder

HOST = EngineHost("gpu", "user@gpu.example")
Do = Callable[[Any], Any]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[SshClient, Recorder]]:
    """Make a client; the script's behaviour, or a program, takes the place of ssh."""

    def make(*program: str, patience: float = 30.0) -> tuple[SshClient, Recorder]:
        monkeypatch.setenv("NFKD_SSH", shlex.join(program))
        recorder = Recorder()
        return SshClient(recorder.on_event, recorder.on_lost, HOST, patience), recorder

    return make


def scripted(behaviour: str) -> tuple[str, str, str]:
    return sys.executable, scripted_engine.__file__, behaviour


def printing(text: str, code: int) -> tuple[str, str, str]:
    return sys.executable, "-c", f"import sys; sys.stderr.write({text!r}); sys.exit({code})"


def test_requests_are_answered(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, _ = client(*scripted("normal"))
        await ssh.start()
        assert isinstance(await ssh.request(Status()), EngineStatus)
        assert ssh.connected
        assert ssh.received > 100
        await ssh.close()

    do(scenario())


@pytest.mark.parametrize(
    ("text", "code", "title", "again"),
    [
        ("ssh: connect to host gpu.example port 22: Connection refused\n", 255, "accepts no ssh connections", True),
        ("user@gpu.example: Permission denied (publickey).\n", 255, "refused the login", False),
        ("Host key verification failed.\n", 255, "is unknown", False),
        ("/usr/bin/python3: No module named nfkd\n", 1, "has no NFKD", False),
    ],
)
def test_a_failed_connection_has_a_reason(client: Any, do: Do, text: str, code: int, title: str, again: bool) -> None:
    async def scenario() -> None:
        ssh, recorder = client(*printing(text, code))
        with pytest.raises(EngineError) as failed:
            await ssh.start()
        assert title in failed.value.error.title
        assert ssh.reconnects is again
        assert recorder.lost == []
        await ssh.close()

    do(scenario())


def test_another_version_is_not_tried_again(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, _ = client(*scripted("old"))
        with pytest.raises(EngineError) as failed:
            await ssh.start()
        assert failed.value.error.title == "gpu (user@gpu.example) has another version of NFKD"
        assert not ssh.reconnects
        await ssh.close()

    do(scenario())


def test_a_silent_host_is_given_up(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, _ = client(*scripted("mute"), patience=0.3)
        with pytest.raises(EngineError) as failed:
            await ssh.start()
        assert "does not answer" in failed.value.error.title
        assert ssh.reconnects
        await ssh.close()

    do(scenario())


def test_a_missing_ssh_is_reported(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, _ = client("/nowhere/ssh")
        with pytest.raises(EngineError) as failed:
            await ssh.start()
        assert failed.value.error.title == "ssh is not installed on this machine"
        assert not ssh.reconnects

    do(scenario())


def test_a_cut_connection_may_be_restored(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, recorder = client(*scripted("normal"))
        await ssh.start()
        assert ssh._process is not None
        ssh._process.kill()  # as when the network is interrupted
        await recorder.until(lambda: recorder.lost)
        assert "was lost" in recorder.lost[0].title
        assert ssh.reconnects
        assert not ssh.connected
        with pytest.raises(EngineError):
            await asyncio.wait_for(ssh.request(Status()), 20)
        await ssh.close()

    do(scenario())


def test_the_engine_learns_what_has_arrived(client: Any, do: Do) -> None:
    async def scenario() -> None:
        ssh, recorder = client(sys.executable, counting_engine.__file__)
        await ssh.start()
        await recorder.until(lambda: len(recorder.events) == 2)
        report = recorder.events[1]
        assert isinstance(report, LogLine)
        told, sent = (int(part) for part in report.text.split(" of "))
        assert len(counting_engine.TEXT) < told <= sent, "the text of the shell before it does not count"
        await ssh.close()

    do(scenario())
