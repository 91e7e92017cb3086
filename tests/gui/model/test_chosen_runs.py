"""Questions about the chosen runs: asked once after a pause, and again when the engine is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import CompareRuns, ReadRunCurves, RunCurves
from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.chosen_runs import MOST, ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from tests.gui.compare_script import FOLDER, CompareScript, many_runs

Do = Callable[[Any], Any]


@pytest.fixture
def script() -> CompareScript:
    script = CompareScript(lambda _event: None)
    script.add_recipes()
    return script


@pytest.fixture
def model(ready: Studio, do: Do) -> CompareModel:
    model = CompareModel(ready, ready)
    do(ready.clients[-1].settled())  # type: ignore[attr-defined]
    return model


@pytest.fixture
def chosen(ready: Studio, model: CompareModel) -> ChosenRuns:
    return ChosenRuns(ready, model, ready)


def keys(*names: str) -> list[str]:
    return [FOLDER + name for name in names]


def test_changes_that_follow_each_other_are_asked_once_and_what_is_known_is_not_asked_again(
    model: CompareModel, chosen: ChosenRuns, script: CompareScript, qtbot: QtBot, ready: Studio, do: Do
) -> None:
    for names in (["pool"], ["pool", "SKD at 1"], ["pool", "mixing only"]):
        model.choose(keys(*names))
        chosen.ask_curves("train/total")
    assert chosen.curves.waits
    qtbot.waitUntil(lambda: any(isinstance(request, ReadRunCurves) for request in script.asked) or _turn(ready, do))
    do(ready.clients[-1].settled())  # type: ignore[attr-defined]
    reply = chosen.ask_curves("train/total")
    assert isinstance(reply, RunCurves)
    assert list(reply.curves) == keys("pool", "mixing only")
    assert not chosen.curves.waits
    assert sum(isinstance(request, ReadRunCurves) for request in script.asked) == 1


def _turn(studio: Studio, do: Do) -> bool:
    """Let the loop answer what was asked."""
    do(studio.clients[-1].settled())  # type: ignore[attr-defined]
    return False


def test_what_failed_is_asked_again_when_the_engine_is_back(
    model: CompareModel, chosen: ChosenRuns, script: CompareScript, qtbot: QtBot, ready: Studio, do: Do
) -> None:
    script.refused["CompareRuns"] = ErrorInfo(title="The engine has ended", cause="", action="")
    model.choose(keys("pool", "SKD at 1"))
    chosen.ask_differences()
    qtbot.waitUntil(lambda: chosen.compared.error is not None or _turn(ready, do))
    assert chosen.ask_differences() is None
    script.refused.clear()
    ready.engine_changed.emit()
    assert chosen.compared.error is None
    chosen.ask_differences()
    qtbot.waitUntil(lambda: chosen.compared.reply is not None or _turn(ready, do))
    assert sum(isinstance(request, CompareRuns) for request in script.asked) == 2


def test_the_engine_is_asked_about_a_limited_number_of_runs(
    model: CompareModel, chosen: ChosenRuns, script: CompareScript, ready: Studio, do: Do
) -> None:
    many_runs(script, MOST + 10)
    ready.list_runs()
    do(ready.clients[-1].settled())  # type: ignore[attr-defined]
    model.choose([group.key for group in model.groups])
    assert len(model.chosen) > MOST
    assert len(chosen.groups()) == MOST
