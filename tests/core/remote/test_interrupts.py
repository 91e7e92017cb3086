"""Ctrl-C while the terminal follows a run on another machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, cast

import pytest

from nfkd.remote_run import Engine, follow_run


class Interrupted:
    """An engine that is connected or not while the user presses Ctrl-C."""

    def __init__(self, *, connected: bool) -> None:
        self.connected, self.note = connected, print

    def persist(self, work: Callable[[Any], Any]) -> str:
        del work
        os.kill(os.getpid(), signal.SIGINT)
        return "ended"


@pytest.mark.parametrize("connected", [True, False])
def test_the_message_says_whether_the_run_can_be_stopped_now(
    connected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert follow_run(cast(Engine, Interrupted(connected=connected)), "/there/run") == "ended"
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().err
    assert ("Stopping the run there" in said) == connected
    assert ("no connection" in said) != connected
    assert "Ctrl-C again" in said
