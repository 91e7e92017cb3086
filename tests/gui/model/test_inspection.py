"""Questions about flows: the newest counts, replies in between are shown, and a cancelled one is never sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import CancelInspection, ReadPlane
from nfkd_gui.model.inspection import Inspection
from tests.gui.panels.conftest import FakeStudio

ERROR = ErrorInfo(title="No", cause="Why.")


@pytest.fixture
def studio(qapp: QApplication, tmp_path: Path) -> FakeStudio:
    return FakeStudio(tmp_path)


def question(inspection: Inspection, count: int) -> ReadPlane:
    return ReadPlane("run", seed=1, ticket=inspection.ticket, count=count)


def followed(inspection: Inspection) -> list[Any]:
    seen: list[Any] = []
    inspection.replied.connect(seen.append)
    inspection.failed.connect(seen.append)
    return seen


def counts(studio: FakeStudio) -> list[object]:
    return [getattr(request, "count", type(request)) for request, *_ in studio.asked]


def test_only_the_newest_of_the_waiting_questions_is_sent(studio: FakeStudio) -> None:
    inspection = Inspection(studio)
    seen = followed(inspection)
    for count in (1, 2, 3):
        inspection.ask(question(inspection, count))
    assert counts(studio) == [1]
    studio.asked[0][1]("first")
    assert counts(studio) == [1, 3]
    assert inspection.busy
    studio.asked[1][1]("third")
    assert seen == ["first", "third"], "a drag shows what is known meanwhile"
    assert not inspection.busy


def test_cancelling_drops_the_waiting_question_and_late_replies(studio: FakeStudio) -> None:
    inspection = Inspection(studio)
    seen = followed(inspection)
    inspection.ask(question(inspection, 1))
    inspection.ask(question(inspection, 2))
    inspection.cancel()
    assert counts(studio) == [1, CancelInspection]
    assert studio.asked[1][0].ticket == inspection.ticket  # type: ignore[union-attr]
    studio.asked[0][2](ERROR)  # the refusal of the cancelled request
    assert counts(studio) == [1, CancelInspection]
    assert not seen
    inspection.ask(question(inspection, 4))
    assert counts(studio)[-1] == 4
    studio.asked[-1][2](ERROR)
    assert seen == [ERROR]
    inspection.cancel()
    assert len(studio.asked) == 3, "nothing is computed any more"


def test_a_long_question_is_replaced_at_once(studio: FakeStudio) -> None:
    inspection = Inspection(studio, long=True)
    seen, busy = followed(inspection), list[bool]()
    inspection.busy_changed.connect(busy.append)
    inspection.ask(question(inspection, 1))
    inspection.ask(question(inspection, 2))
    assert counts(studio) == [1, CancelInspection, 2]
    studio.asked[0][1]("late")
    studio.inspection_progressed.emit(inspection.ticket, 0.5)
    studio.asked[2][1]("second")
    assert seen == ["second"]
    assert busy[0]
    assert not busy[-1]
