"""The experiment form in a window, with or without a preview of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import DataPreview
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.forms.preview_driver import BY_HAND, MISSING


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


@pytest.fixture
def form_with_preview(ready: Studio, qtbot: QtBot) -> Iterator[ExperimentForm]:
    """The form with the digits preset and its preview, in a window."""
    ready.experiment.open("digits")
    form = ExperimentForm(ready.experiment, ready.data_preview)
    qtbot.addWidget(form)
    form.resize(400, 1000)
    form.show()
    qtbot.waitExposed(form)
    yield form
    ready.experiment.stop()


@pytest.fixture
def settled(do: Callable[[Any], Any], until: Callable[[Any], Any], ready: Studio) -> Callable[[], None]:
    """Wait until the engine has sent the preview and the description of the current experiment."""

    async def wait() -> None:
        preview, experiment = ready.data_preview, ready.experiment
        if not preview.current:
            preview.refresh()  # do not wait for the timers
        if experiment.config is not None and experiment.description is None:
            experiment.describe()
        while not preview.current:
            await until(preview.changed)
        while experiment.config is not None and experiment.description is None and experiment.error is None:
            await until(experiment.checked)

    return lambda: do(wait())


@pytest.fixture
def mnist_missing(script: Any) -> None:
    """Make MNIST a data set that must be downloaded."""
    problem = ConfigProblem(path="data.kind", message=MISSING)
    script.previews["mnist"] = DataPreview(problems=[problem], may_fetch=True, size=11_594_722, by_hand=BY_HAND)
    script.data_problems = [problem]
