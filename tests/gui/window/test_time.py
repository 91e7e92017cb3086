"""The time slider in Train and the time estimate in Design."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QSlider

from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from nfkd.protocol.times import EstimateTime, StageTime, TimeEstimate
from nfkd.text import format_span
from nfkd_gui.theme import role_colour
from nfkd_gui.window.main_window import MainWindow

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()
RUN = "/runs/digits"


def child(window: MainWindow, kind: type, name: str) -> Any:
    found = window.findChild(kind, name)
    assert found is not None, name
    return found


def test_the_slider_shows_earlier_pictures_in_the_panels_and_latest_returns(
    window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        script.begin(RUN, DIGITS)
        window.studio.open_run(RUN)
        window.open_workspace("train")
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        for step, level in ((10, 0.2), (20, 0.4), (30, 0.9)):
            samples = np.full((4, 1, 8, 8), level, np.float32)
            script.emit(
                events.SamplesDrawn(run=RUN, seed=1, stage="teacher", step=step, temperature=0.7, samples=samples)
            )
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        slider, position = child(window, QSlider, "time.slider"), child(window, QLabel, "time.position")
        panel: Any = next(panel for panel in window.panels if panel.name == "samples")
        assert (slider.maximum(), slider.value()) == (2, 2)
        assert position.text() == "Step 30 of 100"
        slider.setFocus()
        QTest.keyClick(slider, Qt.Key.Key_Left)
        QTest.keyClick(slider, Qt.Key.Key_Left)
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        assert position.text() == "Step 10 of 100"
        panel.refresh()
        assert panel.current_picture("teacher")[0].max() == pytest.approx(0.2)
        QTest.mouseClick(child(window, QPushButton, "time.latest"), Qt.MouseButton.LeftButton)
        panel.refresh()
        assert panel.current_picture("teacher")[0].max() == pytest.approx(0.9)
        assert slider.value() == 2

    do(scenario())


def test_a_stage_is_chosen_and_replayed(window: MainWindow, script: Any, do: Do, qtbot: Any) -> None:
    def draw(stage: str, step: int, *, final: bool = False) -> None:
        samples = np.full((4, 1, 8, 8), step / 100, np.float32)
        script.emit(
            events.SamplesDrawn(
                run=RUN, seed=1, stage=stage, step=step, temperature=0.7, samples=samples, final=final  # type: ignore[arg-type]
            )
        )  # fmt: skip

    async def scenario() -> None:
        script.begin(RUN, DIGITS)
        window.studio.open_run(RUN)
        window.open_workspace("train")
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        for step in (10, 20, 30):
            draw("teacher", step)
        draw("teacher", 20, final=True)
        script.emit(events.StageStarted(run=RUN, seed=1, stage="student"))
        draw("student", 5)
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        stage, slider = child(window, QComboBox, "time.stage"), child(window, QSlider, "time.slider")
        position, replay = child(window, QLabel, "time.position"), child(window, QPushButton, "time.replay")
        assert [stage.itemText(index) for index in range(stage.count())] == ["Teacher", "Student"]
        assert (stage.currentText(), position.text()) == ("Student", "Step 5 of 100")
        assert not replay.isEnabled(), "one picture"
        stage.setCurrentIndex(0)
        stage.activated.emit(0)
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        assert (position.text(), slider.value(), slider.maximum()) == ("Step 20, kept", 3, 3)
        assert stage.itemData(0, Qt.ItemDataRole.ForegroundRole) == QColor(role_colour("teacher"))
        seen: list[str] = []
        window.studio.timeline.changed.connect(lambda: seen.append(position.text()))
        QTest.mouseClick(replay, Qt.MouseButton.LeftButton)
        assert replay.text() == "&Stop"
        ended = asyncio.Event()
        window.studio.timeline.changed.connect(lambda: ended.set() if position.text() == "Step 20, kept" else None)
        await ended.wait()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        assert replay.text() == "&Replay"
        assert list(dict.fromkeys(seen)) == ["Step 10 of 100", "Step 20 of 100", "Step 30 of 100", "Step 20, kept"]
        assert not window.studio.timeline.is_live

    do(scenario())


def test_the_estimate_of_the_engine_is_shown_in_design(window: MainWindow, script: Any, do: Do) -> None:
    stages = [
        StageTime(stage="teacher", steps=10, step_seconds=8.0),
        StageTime(stage="student", steps=5, step_seconds=4.0),
    ]
    script.estimate = TimeEstimate(stages=stages, preparation=0.0, search=0.0, seconds=100.0, seeds=1)

    async def scenario() -> None:
        window.studio.time_estimate.refresh()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        asked = [request for request in script.asked if isinstance(request, EstimateTime)]
        assert ExperimentConfig.from_toml(asked[-1].config) == ExperimentConfig.load("digits")
        assert child(window, QLabel, "time_estimate.figure").text() == "1 min 40 s"
        colours = [role_colour(role) for role in ("teacher", "student")]
        window.studio.prefer(theme="dark")
        QApplication.processEvents()  # the theme is followed in the next turn of the event loop
        dark = [role_colour(role) for role in ("teacher", "student")]
        assert not set(colours) & set(dark)
        assert all(colour in child(window, QLabel, "time_estimate.stages").text() for colour in dark)
        document = window.form.document()
        document["student"]["hidden"] = 21
        window.studio.experiment.edit(document)
        assert not child(window, QLabel, "time_estimate.figure").isVisible()  # it was of another experiment

    do(scenario())


def test_the_estimate_is_asked_for_again_when_the_run_has_ended(
    window: MainWindow, script: Any, do: Do, until: Callable[[Any], Any]
) -> None:
    async def scenario() -> None:
        model, caption = window.studio.time_estimate, child(window, QLabel, "time_estimate.caption")
        script.begin(RUN, DIGITS)
        model.refresh()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        assert caption.text() == "No time estimate: A run is in training."
        script.estimate = TimeEstimate(stages=[], preparation=0.0, search=0.0, seconds=100.0, seeds=1)
        script.finish(RUN)
        assert caption.text() == "Measuring real steps of each stage …"
        await until(model.changed)
        assert child(window, QLabel, "time_estimate.figure").text() == "1 min 40 s"

    do(scenario())


def test_without_a_valid_experiment_the_estimate_says_so(window: MainWindow, script: Any, do: Do) -> None:
    caption = child(window, QLabel, "time_estimate.caption")
    measuring, invalid = "Measuring real steps of each stage …", "A time estimate needs an experiment without problems."

    async def scenario() -> None:
        for hidden, text in ((-1, invalid), (21, measuring), (2000, invalid), (22, measuring)):  # 2000: says the engine
            document = window.form.document()
            document["student"]["hidden"] = hidden
            window.studio.experiment.edit(document)
            window.studio.experiment.describe()
            await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
            assert caption.text() == text

    do(scenario())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (160, "2 min 40 s"), (1800, "30 min"), (3600, "1 h"), (5000, "1 h 23 min")],
)
def test_times_have_at_most_two_units(seconds: float, text: str) -> None:
    assert format_span(seconds) == text
    assert format_span(float("nan")) == ""
