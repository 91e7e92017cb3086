"""Messages for what ssh and shells print; `test_ssh.py` has those of a real server."""

from __future__ import annotations

import pytest

from nfkd.remote.failures import explain_failure, explain_silence, explain_start, explain_version
from nfkd.remote.hosts import EngineHost

HOST = EngineHost("box", "me@gpu")
KEY_CHANGED = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @"

CASES = [
    (255, [KEY_CHANGED, "Host key verification failed."], "The host key of box (me@gpu) has changed", False),
    (255, ["Host key verification failed."], "The host key of box (me@gpu) is unknown", False),
    (255, ["me@gpu: Permission denied (password)."], "box (me@gpu) asks for a password", False),
    (255, ["me@gpu: Permission denied (publickey,password)."], "box (me@gpu) refused the login", False),
    (255, ["Received disconnect: Too many authentication failures"], "box (me@gpu) refused the login", False),
    (255, ["ssh: Could not resolve hostname gpu: Name or service not known"], "box (me@gpu) was not found", True),
    (255, ["ssh: connect to host gpu port 22: Connection refused"], "box (me@gpu) accepts no ssh connections", True),
    (255, ["ssh: connect to host gpu port 22: Connection timed out"], "box (me@gpu) does not answer", True),
    (255, ["ssh: connect to host gpu port 22: No route to host"], "box (me@gpu) does not answer", True),
    (255, ["Connection timed out during banner exchange"], "box (me@gpu) does not answer", True),
    (255, ["/x/config: line 3: Bad configuration option: foo"], "ssh cannot read its settings", False),
    (255, ["kex_exchange_identification: read: reset"], "box (me@gpu) cannot be reached", True),
    (127, ["sh: 1: python3: not found"], "box (me@gpu) has no python3", False),
    (126, ["sh: 1: python3: Permission denied"], "box (me@gpu) has no python3", False),
    (1, ["/usr/bin/python3: No module named nfkd"], "box (me@gpu) has no NFKD", False),
    (1, ["ModuleNotFoundError: No module named 'nfkd.engine'"], "box (me@gpu) has no NFKD", False),
    (1, ["    match x:", "SyntaxError: invalid syntax"], "The Python on box (me@gpu) is too old", False),
    (1, ["ModuleNotFoundError: No module named 'torch'"], "NFKD on box (me@gpu) is incomplete", False),
    (1, ["The engine cannot be reached: no space"], "The engine on box (me@gpu) did not start", False),
    (1, [], "The engine on box (me@gpu) did not start", False),
    (None, [], "box (me@gpu) cannot be reached", True),
]


@pytest.mark.parametrize(("code", "lines", "title", "transient"), CASES)
def test_each_failure_has_a_message_with_what_to_do(
    code: int | None, lines: list[str], title: str, transient: bool
) -> None:
    failure = explain_failure(HOST, code, lines)
    assert (failure.error.title, failure.transient) == (title, transient)
    assert failure.error.cause.endswith((".", "no space"))
    assert failure.error.action
    assert "{" not in failure.error.title + failure.error.cause + failure.error.action
    assert failure.error.traceback == "\n".join(lines)


@pytest.mark.parametrize(
    ("code", "title", "transient"),
    [
        (255, "The connection to box (me@gpu) was lost", True),
        (None, "The connection to box (me@gpu) was lost", True),
        (-9, "The connection to box (me@gpu) was lost", True),
        (1, "The engine on box (me@gpu) has ended", False),
    ],
)
def test_after_the_greeting_a_cut_differs_from_an_end(code: int | None, title: str, transient: bool) -> None:
    failure = explain_failure(HOST, code, ["Connection to gpu closed by remote host."], greeted=True)
    assert (failure.error.title, failure.transient) == (title, transient)


def test_text_in_place_of_the_protocol_is_named() -> None:
    for failure in (
        explain_failure(HOST, 0, [], output=b"Welcome\x1b[31m to gpu\n"),
        explain_silence(HOST, 3.0, [], b"Welcome\x1b[31m to gpu\n"),
    ):
        assert failure.error.title == "The shell of box (me@gpu) prints text in between"
        assert r"Welcome\x1b[31m to gpu" in failure.error.cause


def test_a_missing_program_silence_and_another_version() -> None:
    assert explain_start(HOST, FileNotFoundError(2, "x")).error.title == "ssh is not installed on this machine"
    assert explain_start(HOST, PermissionError(13, "x")).error.title == "ssh cannot be started"
    silent = explain_silence(HOST, 3.0)
    assert "within 3 s" in silent.error.cause
    assert silent.transient
    version = explain_version(HOST, ("0.2", 13), ("0.1", 9)).error
    assert all(part in version.cause for part in ("0.2", "13", "0.1", "9"))


def test_foreign_text_is_cut_and_made_visible() -> None:
    failure = explain_failure(HOST, 1, ["\x1b]0;title\x07" + "x" * 1000])
    assert "\x1b" not in failure.error.cause
    assert len(failure.error.cause) < 300
