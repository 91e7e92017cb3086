"""What a layer of the shown run makes of an example, beside the drawing of the flows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QPushButton

from nfkd.protocol.inspection import FlowStates, LayerState, LayerStates, Origin, ReadLayers
from nfkd.protocol.view import RunView
from nfkd_gui.panels.layer_glance import LayerGlance
from nfkd_gui.widgets.labels import PlainLabel
from tests.gui.panels.conftest import RUN, FakeRun, FakeStudio

PRESET = "digits"


@pytest.fixture
def trained(fake_studio: FakeStudio) -> Iterator[FakeRun]:
    """A run of the experiment in the form, whose student has samples."""
    fake_studio.experiment.open(PRESET)
    run = FakeRun()
    run.view = RunView(run.view.row, fake_studio.experiment.text)
    for event in FakeRun().view.seeds.values():
        run.view.apply(event)
    run.begin("student")
    run.samples("student", 5, np.zeros((4, 1, 8, 8), np.float32))
    fake_studio.view = run.view
    yield run
    fake_studio.autosave.close()
    for model in (fake_studio.experiment, fake_studio.data_preview, fake_studio.time_estimate):
        model.stop()


def states() -> LayerStates:
    layers = [
        LayerState("level1.step1", "level 1 step 1", "step", np.eye(4)[None].repeat(4, 0), 1.0, 0),
        LayerState("level2.step1", "level 2 step 1", "step", np.eye(2)[None].repeat(8, 0), 2.0, 1),
    ]
    decoded = [np.full((1, 8, 8), 0.2), np.full((1, 8, 8), 0.8)]
    flow = FlowStates(decoded[0], decoded[0], layers, [np.zeros(3)], decoded, -2.0, 0.0)
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
