"""What a layer of the shown run makes of an example, beside the drawing of the flows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QPushButton

from nfkd.protocol.inspection import FlowStates, LayerState, LayerStates, Origin, ReadLayers
from nfkd.protocol.view import RunView
from nfkd_gui.panels.layer_glance import LayerGlance
from nfkd_gui.widgets.labels import PlainLabel
from tests.gui.panels.conftest import RUN, FakeRun, FakeStudio


def start(studio: FakeStudio, preset: str, shape: tuple[int, ...]) -> FakeRun:
    """Show a run of the experiment in the form, whose student has samples."""
    studio.experiment.open(preset)
    run = FakeRun(shape)
    run.view = RunView(run.view.row, studio.experiment.text)
    for event in FakeRun(shape).view.seeds.values():
        run.view.apply(event)
    run.begin("student")
    run.samples("student", 5, np.zeros((4, *shape), np.float32))
    studio.view = run.view
    return run


@pytest.fixture
def stopped(fake_studio: FakeStudio) -> Iterator[None]:
    """Stops the models of the studio after the test."""
    yield
    fake_studio.autosave.close()
    for model in (fake_studio.experiment, fake_studio.data_preview, fake_studio.time_estimate):
        model.stop()


@pytest.fixture
def trained(fake_studio: FakeStudio, stopped: None) -> FakeRun:
    return start(fake_studio, "digits", (1, 8, 8))


def picture(glance: Any, name: str) -> QImage:
    return glance.findChild(PlainLabel, f"architecture.{name}").pixmap().toImage()


def states() -> LayerStates:
    layers = [
        LayerState("level1.step1", "level 1 step 1", "step", np.eye(4)[None].repeat(4, 0), 1.0, 0),
        LayerState("level2.step1", "level 2 step 1", "step", np.eye(2)[None].repeat(8, 0), 2.0, 1),
    ]
    decoded = [np.full((1, 8, 8), 0.2), np.full((1, 8, 8), 0.8)]
    latents = [np.arange(32.0).reshape(2, 4, 4), np.zeros((8, 2, 2))]
    flow = FlowStates(decoded[0], decoded[0], layers, latents, decoded, -2.0, 0.0)
    return LayerStates(RUN, 1, Origin("validation", 0), {"student": flow})


def test_a_layer_of_the_shown_run_has_its_state_and_what_is_decoded(
    trained: FakeRun, fake_studio: FakeStudio, qtbot: Any
) -> None:
    glance: Any = LayerGlance(fake_studio)
    qtbot.addWidget(glance)
    wanted: list[tuple[str, str]] = []
    glance.flow_wanted.connect(lambda role, name: wanted.append((role, name)))
    glance.show_layer("student", "level2.step1")
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert isinstance(request, ReadLayers)
    assert not glance.isVisible()
    on_reply(states())
    assert glance.isVisible()
    decoded = glance.findChild(PlainLabel, "architecture.decoded").pixmap().toImage()
    assert decoded.pixelColor(20, 20).lightnessF() == pytest.approx(0.2, abs=0.01), "ink: dark where the value is high"
    state = glance.findChild(PlainLabel, "architecture.state").pixmap().toImage()
    assert state.pixelColor(2, 2) != state.pixelColor(state.width() - 2, 2)
    latents = picture(glance, "latents")
    assert latents.pixelColor(2, 2) != latents.pixelColor(latents.width() - 2, latents.height() - 2)
    assert glance.findChild(PlainLabel, "architecture.latents").toolTip().endswith("z₁: 32 values.")
    glance.widen(False)
    assert not glance.findChild(PlainLabel, "architecture.latents").isVisible()
    glance.widen(True)
    assert glance.findChild(PlainLabel, "architecture.latents").isVisible()
    glance.findChild(QPushButton, "architecture.flow").click()
    assert wanted == [("student", "level2.step1")]
    fake_studio.view_changed.emit()
    assert not glance.isVisible()


def test_nothing_is_asked_without_weights_or_for_other_flows(
    trained: FakeRun, fake_studio: FakeStudio, qtbot: Any
) -> None:
    glance: Any = LayerGlance(fake_studio)
    qtbot.addWidget(glance)
    before = len(fake_studio.asked)
    glance.show_layer("teacher", "level1.step1")  # not trained yet
    document = copy.deepcopy(fake_studio.experiment.document)
    document["student"]["steps"] = 3
    fake_studio.experiment.edit(document)
    glance.show_layer("student", "level1.step1")
    assert len(fake_studio.asked) == before
    assert not glance.isVisible()


def test_states_of_vectors_are_strips(fake_studio: FakeStudio, stopped: None, qtbot: Any) -> None:
    start(fake_studio, "pinwheel_few", (2,))
    glance: Any = LayerGlance(fake_studio)
    qtbot.addWidget(glance)
    glance.show_layer("student", "step1")
    point = np.array([0.5, -1.0])
    layers = [LayerState("step1", "step 1", "step", point[::-1], 1.0, 0)]
    flow = FlowStates(point, point, layers, [point], [point], -2.0, 0.0)
    fake_studio.asked[-1][1](LayerStates(RUN, 1, Origin("validation", 0), {"student": flow}))
    assert glance.isVisible()
    state, decoded = picture(glance, "state"), picture(glance, "decoded")
    levels = [[image.pixelColor(2, y).lightness() for y in (2, image.height() - 2)] for image in (state, decoded)]
    assert levels[0] == levels[1][::-1], "upside down"
    assert levels[0][0] != levels[0][1]


def test_a_flow_that_cannot_decode_says_so(trained: FakeRun, fake_studio: FakeStudio, qtbot: Any) -> None:
    glance: Any = LayerGlance(fake_studio)
    qtbot.addWidget(glance)
    glance.show_layer("student", "level2.step1")
    reply = states()
    reply.flows["student"].decoded.clear()
    fake_studio.asked[-1][1](reply)
    assert glance.findChild(PlainLabel, "architecture.after").text() == "This flow cannot decode."
    assert not glance.findChild(PlainLabel, "architecture.decoded").isVisible()


def test_newer_weights_are_asked_for_once_a_second_at_most_while_the_glance_is_visible(
    trained: FakeRun, fake_studio: FakeStudio, qtbot: Any
) -> None:
    glance: Any = LayerGlance(fake_studio)
    qtbot.addWidget(glance)
    trained.panel = SimpleNamespace(on_event=fake_studio.event_applied.emit)
    glance.show_layer("student", "level2.step1")
    fake_studio.asked[-1][1](states())
    before = len(fake_studio.asked)

    def draw(step: int) -> None:
        trained.samples("student", step, np.zeros((4, 1, 8, 8), np.float32))

    for step in (6, 7, 8):
        draw(step)
    assert len(fake_studio.asked) == before
    qtbot.waitUntil(lambda: len(fake_studio.asked) == before + 1, timeout=3000)
    assert isinstance(fake_studio.asked[-1][0], ReadLayers)
    fake_studio.asked[-1][1](states())
    glance.hide()
    draw(9)
    qtbot.wait(1100)
    assert len(fake_studio.asked) == before + 1
    glance.show()
    assert len(fake_studio.asked) == before + 2
