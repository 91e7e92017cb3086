"""Panels without a run: what they say and offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from nfkd.config import ExperimentConfig
from nfkd.protocol.requests import Run
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.conftest import may_run

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()


def button(window: MainWindow, name: str) -> QPushButton:
    found = window.findChild(QPushButton, name)
    assert isinstance(found, QPushButton), name
    return found


def test_an_empty_panel_runs_the_experiment_that_is_open(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.files.open("two_moons")
        window.open_workspace("train")
        assert not button(window, "samples.start").isEnabled(), "the engine has not checked it"
        await may_run(window.studio)
        start = button(window, "samples.start")
        assert start.text() == "Run “two moons”"
        assert not button(window, "samples.latest").isVisible(), "there is no run"
        QTest.mouseClick(start, Qt.MouseButton.LeftButton)
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        started = [request for request in script.asked if isinstance(request, Run)]
        assert [ExperimentConfig.from_toml(request.config).name for request in started] == ["two moons"]
        assert window.studio.view is not None

    do(scenario())


def test_an_empty_panel_opens_the_latest_run(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for name in ("old", "new"):
            script.begin(f"/runs/{name}", DIGITS)
            script.finish(f"/runs/{name}")
        window.open_workspace("train")
        window.studio.list_runs()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        latest = button(window, "samples.latest")
        assert latest.isVisible()
        QTest.mouseClick(latest, Qt.MouseButton.LeftButton)
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        assert window.studio.view is not None
        assert window.studio.view.row.run == "/runs/new"

    do(scenario())
