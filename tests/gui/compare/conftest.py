"""A studio with runs that can be compared, and panels of Compare that are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.theme import apply_theme
from tests.gui.compare_script import CompareScript

Do = Callable[[Any], Any]


@pytest.fixture
def script() -> CompareScript:
    """The scripted engine with the recipes."""
    script = CompareScript(lambda _event: None)
    script.add_recipes()
    return script


@pytest.fixture
def model(ready: Studio, do: Do) -> CompareModel:
    """The comparison of the scripted runs."""
    model = CompareModel(ready, ready)

    async def read() -> None:
        await ready.clients[-1].settled()  # type: ignore[attr-defined]

    do(read())
    assert model.groups
    return model


@pytest.fixture
def chosen(ready: Studio, model: CompareModel) -> ChosenRuns:
    """The questions about the chosen runs."""
    return ChosenRuns(ready, model, ready)


@pytest.fixture
def show(
    qapp: QApplication, qtbot: QtBot, ready: Studio, model: CompareModel, chosen: ChosenRuns
) -> Callable[..., Any]:
    """Creates a panel and shows it."""
    apply_theme(qapp, "light", shapes=False)

    def make(kind: type[ComparePanel], size: tuple[int, int] = (606, 400)) -> ComparePanel:
        panel = kind(ready, model, chosen)
        qtbot.addWidget(panel)
        panel.resize(*size)
        with qtbot.waitExposed(panel):
            panel.show()
        panel.refresh()
        return panel

    return make


@pytest.fixture
def answered(qtbot: QtBot, do: Do, ready: Studio) -> Callable[[ComparePanel, Any], None]:
    """Draws a panel, waits for the next reply of a question, and draws it."""

    def wait(panel: ComparePanel, question: Any) -> None:
        with qtbot.waitSignal(question.changed, timeout=10_000):
            panel.mark_dirty()
            panel.refresh()
            do(_wait(question))
        panel.refresh()

    return wait


async def _wait(question: Any) -> None:
    done = asyncio.Event()
    question.changed.connect(done.set, Qt.ConnectionType.SingleShotConnection)
    await asyncio.wait_for(done.wait(), 10)
