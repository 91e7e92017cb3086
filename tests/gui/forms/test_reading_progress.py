"""Large data that the engine reads for the preview: what it does, cancelling it, and reading it after all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from nfkd.config.toml import toml_text
from nfkd.protocol.data import CancelReading, PreviewData
from nfkd.protocol.events import DataReading, ErrorInfo
from nfkd.protocol.requests import Describe
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose
from tests.gui.forms.preview_driver import all_text, message, part

SAID = "Preparing rows.csv to be read from disk: 1,000,000 rows so far."


@pytest.fixture
def reading(form_with_preview: ExperimentForm, ready: Studio, script: Any, settled: Callable[[], None]) -> Any:
    """The client of a form whose preview is being made; the engine has said what it does."""
    settled()
    client = ready.clients[-1]  # type: ignore[attr-defined]
    client.slow = (PreviewData, Describe)
    choose(form_with_preview, "data.kind", "two_moons")
    ready.data_preview.refresh()
    ready.experiment.describe()
    assert ready.experiment.config is not None
    script.emit(DataReading(data="other = 1", message="Another data set."))
    assert "Another data set." not in all_text(form_with_preview)
    script.emit(DataReading(data=toml_text(ready.experiment.config.data), message=SAID))
    return client


def test_a_long_reading_shows_progress_until_the_preview(
    form_with_preview: ExperimentForm, reading: Any, settled: Callable[[], None]
) -> None:
    form = form_with_preview
    assert part(form, "preview.reading_bar").isVisible()
    assert part(form, "preview.cancel_reading").isVisible()
    assert SAID in all_text(form)
    assert not part(form, "preview.read_again").isVisible()
    reading.release()
    settled()
    assert message(form).startswith("1,259 train")
    assert not part(form, "preview.reading_bar").isVisible()
    assert SAID not in all_text(form)


def test_a_cancelled_reading_can_be_repeated(
    form_with_preview: ExperimentForm,
    ready: Studio,
    reading: Any,
    script: Any,
    qtbot: QtBot,
    settled: Callable[[], None],
) -> None:
    form, cancel = form_with_preview, part(form_with_preview, "preview.cancel_reading")
    reported: list[ErrorInfo] = []
    ready.failed.connect(reported.append)
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert not cancel.isEnabled()
    assert "Cancelling" in all_text(form)
    qtbot.waitUntil(lambda: any(isinstance(request, CancelReading) for request in script.asked))
    error = ErrorInfo(title="The data was not read", cause="Reading it was cancelled.")
    for _, fail in [*reading.waiting]:
        fail(error)
    reading.waiting.clear()
    assert not cancel.isVisible()
    assert "Reading it was cancelled." in message(form)
    assert reported == []
    reading.slow = ()
    qtbot.mouseClick(part(form, "preview.read_again"), Qt.MouseButton.LeftButton)
    settled()
    assert message(form).startswith("1,259 train")
    assert not part(form, "preview.read_again").isVisible()
