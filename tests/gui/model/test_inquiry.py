"""A question to the engine that follows what the user types."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Done, ListRuns
from nfkd_gui.model.inquiry import Inquiry


def test_it_asks_once_after_a_pause_and_drops_what_comes_late(qtbot: QtBot) -> None:
    sent: list[tuple[Any, Any, Any]] = []
    heard: list[object] = []
    parent = QObject()

    def ask(request: Any, on_reply: Any, on_error: Any, *, key: str = "") -> None:
        assert key == "k"
        sent.append((request, on_reply, on_error))

    def make() -> ListRuns:
        return ListRuns(folder=str(inquiry.subject))

    inquiry = Inquiry(ask, "k", 1, make, heard.append, heard.append, parent)
    for subject in ("a", "b"):
        inquiry.follow(subject)
    qtbot.waitUntil(lambda: bool(sent))
    [(request, reply, fail)] = sent
    assert (request.folder, inquiry.waits) == ("b", False)
    inquiry.follow("c", known=True)
    assert not inquiry.waits
    reply(Done())
    fail(ErrorInfo(title="late", cause="late"))
    assert heard == []
    inquiry.follow("b", known=True)
    done = Done()
    reply(done)
    assert heard == [done]
    inquiry.stop()  # as when its receiver is deleted
    reply(Done())
    fail(ErrorInfo(title="late", cause="late"))
    assert heard == [done]
    inquiry.send()
    assert len(sent) == 1
