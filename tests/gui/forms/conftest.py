"""The experiment form in a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio


@pytest.fixture
def form(ready: Studio, qtbot: QtBot) -> Iterator[ExperimentForm]:
    """The form with the digits preset, in a window."""
    yield from open_form(ready, qtbot, "digits")


def open_form(ready: Studio, qtbot: QtBot, preset: str) -> Iterator[ExperimentForm]:
    ready.experiment.open(preset)
    form = ExperimentForm(ready.experiment)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitExposed(form)
    yield form
    ready.experiment.stop()


@pytest.fixture
def described(ready: Studio, do: Callable[[Any], Any], until: Callable[[Any], Any]) -> Callable[[], None]:
    """Wait until the engine has described the experiment."""

    async def wait() -> None:
        if ready.experiment.config is not None:
            ready.experiment.describe()  # do not wait for the timer
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    return lambda: do(wait())
