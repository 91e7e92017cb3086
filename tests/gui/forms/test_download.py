"""The download in the preview: progress, cancelling, failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from nfkd.protocol.data import CancelFetch, FetchData, PreviewData
from nfkd.protocol.events import DataProgress, ErrorInfo
from nfkd.protocol.requests import Describe
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose
from tests.gui.forms.preview_driver import BY_HAND, MISSING, all_text, message, part

Do = Callable[[Any], Any]
Until = Callable[[Any], Any]


@pytest.fixture
def form(form_with_preview: ExperimentForm) -> ExperimentForm:
    return form_with_preview


def begin_download(form: ExperimentForm, ready: Studio, qtbot: QtBot, settled: Callable[[], None]) -> Any:
    """Choose MNIST and press Download; return the client, which does not reply yet."""
    choose(form, "data.kind", "mnist")
    settled()
    client = ready.clients[-1]  # type: ignore[attr-defined]
    client.slow = (FetchData,)
    qtbot.mouseClick(part(form, "preview.download"), Qt.MouseButton.LeftButton)
    return client


@pytest.mark.usefixtures("mnist_missing")
def test_missing_data_is_downloaded_with_progress_and_previewed(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    choose(form, "data.kind", "mnist")
    settled()
    button, bar = part(form, "preview.download"), part(form, "preview.progress")
    assert button.isVisible()
    assert button.text() == "Download 12 MB"
    assert all_text(form).count(MISSING) == 1
    assert not ready.experiment.may_run
    assert BY_HAND[1:] not in all_text(form)
    qtbot.mouseClick(part(form, "preview.show_manual"), Qt.MouseButton.LeftButton)
    assert BY_HAND[1:] in all_text(form)
    client = begin_download(form, ready, qtbot, settled)
    assert bar.isVisible()
    assert not button.isVisible()
    assert (bar.minimum(), bar.maximum()) == (0, 0)  # busy: no progress is known yet
    script.emit(DataProgress(data="mnist", file="train-images.gz", done=5_797_361, total=11_594_722))
    assert bar.value() / bar.maximum() == pytest.approx(0.5, abs=0.001)
    assert "train-images.gz: 5.8 MB of 12 MB" in all_text(form)
    script.emit(DataProgress(data="cifar10", file="other.gz", done=1, total=2))
    assert "other.gz" not in all_text(form)
    script.asked.clear()
    client.release()
    settled()
    assert {Describe, PreviewData} <= {type(request) for request in script.asked}
    assert message(form).startswith("1,259 train")
    assert not bar.isVisible()
    assert not button.isVisible()
    assert MISSING not in all_text(form)
    assert ready.experiment.may_run


@pytest.mark.usefixtures("mnist_missing")
def test_tab_visits_named_data_sets_and_download_in_visual_order(
    form: ExperimentForm, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    choose(form, "data.kind", "mnist")
    settled()
    form.activateWindow()
    heading = part(form, "data.heading")
    heading.setFocus()
    qtbot.waitUntil(heading.hasFocus)
    visited = []
    for _ in range(6):
        QTest.keyClick(form.focusWidget(), Qt.Key.Key_Tab)
        visited.append(form.focusWidget().objectName())
    names = ["data.named", "data.advanced", "data.kind", "preview.download", "preview.show_manual", "teacher.heading"]
    assert visited == names


@pytest.mark.usefixtures("mnist_missing")
def test_a_cancelled_download_shows_no_error_and_can_be_repeated(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    reported: list[ErrorInfo] = []
    ready.failed.connect(reported.append)
    client = begin_download(form, ready, qtbot, settled)
    cancel = part(form, "preview.cancel")
    script.asked.clear()
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert not cancel.isEnabled()
    assert "Cancelling the download" in all_text(form)
    qtbot.waitUntil(lambda: bool(script.asked))
    cancelled = [request.data for request in script.asked if isinstance(request, CancelFetch)]
    assert cancelled == ["mnist"]
    script.fetch_error = ErrorInfo(title="MNIST was not downloaded", cause="The download was cancelled.")
    client.release()
    assert part(form, "preview.download").isVisible()
    assert not cancel.isVisible()
    assert reported == []
    script.fetch_error = None
    client.slow = ()
    qtbot.mouseClick(part(form, "preview.download"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: message(form).startswith("1,259 train"))


@pytest.mark.usefixtures("mnist_missing")
def test_a_failed_download_is_reported_and_can_be_repeated(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    reported: list[ErrorInfo] = []
    ready.failed.connect(reported.append)
    client = begin_download(form, ready, qtbot, settled)
    script.fetch_error = ErrorInfo(title="MNIST was not downloaded", cause="The server cannot be reached.")
    client.release()
    assert reported == [script.fetch_error]
    assert part(form, "preview.download").isVisible()


@pytest.mark.usefixtures("mnist_missing")
def test_a_download_continues_while_another_data_set_is_shown(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    client = begin_download(form, ready, qtbot, settled)
    script.data_problems = []
    choose(form, "data.kind", "digits")
    settled()
    assert not part(form, "preview.progress").isVisible()
    script.emit(DataProgress(data="mnist", file="a.gz", done=3, total=4))
    assert "a.gz" not in all_text(form)
    choose(form, "data.kind", "mnist")
    assert part(form, "preview.progress").isVisible()
    assert "a.gz" in all_text(form)
    client.release()
    settled()
    assert message(form).startswith("1,259 train")


@pytest.mark.usefixtures("mnist_missing")
def test_an_engine_lost_during_a_download_is_reported_once(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, do: Do, until: Until, settled: Callable[[], None]
) -> None:
    client = begin_download(form, ready, qtbot, settled)
    script.emit(DataProgress(data="mnist", file="a.gz", done=1, total=4))
    reported: list[ErrorInfo] = []
    ready.failed.connect(reported.append)
    gone = ErrorInfo(title="The engine has stopped", cause="Killed")
    client.lose(gone)
    assert reported == [gone]
    assert not part(form, "preview.progress").isVisible()

    async def restart() -> None:
        ready.start()
        await until(ready.rows_changed)

    do(restart())
    settled()
    assert part(form, "preview.download").isVisible()
    assert all_text(form).count(MISSING) == 1
