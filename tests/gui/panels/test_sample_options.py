"""Guidance and denoising in the samples panel: offered where a run has them, sent with the request, and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import astuple
from PySide6.QtWidgets import QApplication, QMainWindow
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import StageFinished
from nfkd.protocol.inspection import SampleOptions
from nfkd.protocol.requests import Samples
from nfkd_gui.panels.sample_options import SampleOptionFields
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.widgets.number_field import DecimalField
from nfkd_gui.widgets.panel_dock import PanelDock


def experiment(preset: str, **data: object) -> str:
    config = ExperimentConfig.load(preset)
    return config.replace(data={**config.data.model_dump(), **data}).to_toml()


@pytest.fixture
def fields(qtbot: QtBot) -> SampleOptionFields:
    made = SampleOptionFields("samples")
    qtbot.addWidget(made)
    return made


def test_fields_are_offered_where_a_run_has_tarflow_classes_and_noise(fields: SampleOptionFields) -> None:
    fields.offer(experiment("digits"))
    assert not fields.guides
    assert not fields.denoise.isVisible()
    fields.offer(experiment("tarflow_digits", class_labels=False))
    assert fields.guides
    for one, both in ((False, False), (True, False), (True, True)):
        assert fields.fit(one=one, both=both) == one + both
        assert (not fields.isHidden(), not fields.attention.isHidden()) == (one, both)
    fields.offer(experiment("tarflow_digits", class_labels=True, noise="gaussian"))
    fields.fit(one=True, both=True)
    assert fields.attention.isHidden()
    assert fields.denoise.isVisible()
    fields.offer("not TOML")
    assert not fields.guides
    assert not fields.jacobi.isVisible()


@pytest.mark.parametrize(("preset", "offered"), [("maf_moons", True), ("tarflow_digits", True), ("power", False)])
def test_jacobi_iteration_is_offered_where_a_flow_samples_token_by_token(
    fields: SampleOptionFields, qtbot: QtBot, preset: str, offered: bool
) -> None:
    fields.offer(experiment(preset))
    assert fields.jacobi.isVisible() == offered
    if offered:
        with qtbot.waitSignal(fields.changed):
            fields.jacobi.trigger()
        assert fields.options().jacobi == 1e-3
        fields.offer(experiment("digits"))
    assert fields.options().jacobi is None


def test_the_options_are_those_of_the_fields(fields: SampleOptionFields, qtbot: QtBot) -> None:
    fields.offer(experiment("tarflow_digits", class_labels=False))
    assert astuple(fields.options()) == astuple(SampleOptions())
    with qtbot.waitSignal(fields.changed):
        fields.weight.setValue(1.5)
    assert astuple(fields.options()) == astuple(SampleOptions(guidance=1.5, attention_temperature=0.3))
    fields.offer(experiment("tarflow_digits", class_labels=True, noise="gaussian"))
    with qtbot.waitSignal(fields.changed):
        fields.denoise.trigger()
    assert astuple(fields.options()) == astuple(SampleOptions(guidance=1.5, denoise=True))
    fields.offer(experiment("digits"))
    assert astuple(fields.options()) == astuple(SampleOptions())


def test_the_panel_asks_for_guided_samples_and_names_them(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.view.config = experiment("tarflow_digits", class_labels=False)
    run.begin("teacher")
    pictures = np.zeros((4, 1, 8, 8), np.float32)
    for role in ("teacher", "student"):
        run.samples(role, 300, pictures)
    panel = show(SamplesPanel, run)
    weight = panel.findChild(DecimalField, "samples.guidance")
    assert weight.isVisible()
    weight.setValue(2.0)
    request, reply, _, _ = fake_studio.asked[-1]
    expected = SampleOptions(guidance=2.0, attention_temperature=0.3)
    assert astuple(request.options) == astuple(expected)
    settings = {"run": request.run, "seed": 1, "temperature": 0.7, "real": pictures, "densities": {}}
    samples = {"teacher": pictures, "student": pictures}
    reply(Samples(**settings, samples=samples, options=request.options, guided=["teacher"]))
    assert panel.current_picture("teacher").captions[0] == "temperature 0.70, guidance 2"
    assert panel.current_picture("student").captions[0] == "temperature 0.70"
    assert astuple(panel.origin_of("teacher", 1).options) == astuple(expected)
    panel.go_live()
    assert weight.value() == 0
    assert astuple(fake_studio.asked[-1][0].options) == astuple(SampleOptions())


def test_samples_with_own_settings_are_asked_again_when_a_stage_has_saved_its_weights(
    show: Any, fake_run: Any, fake_studio: Any
) -> None:
    run = fake_run()
    run.view.config = experiment("tarflow_digits", class_labels=False)
    run.begin("teacher")
    run.samples("teacher", 300, np.zeros((4, 1, 8, 8), np.float32))
    panel = show(SamplesPanel, run)
    panel.findChild(DecimalField, "samples.guidance").setValue(2.0)
    before = len(fake_studio.asked)
    run.finish("teacher", steps=300, best_step=300)
    panel.draw()
    assert len(fake_studio.asked) == before + 1
    panel.draw()
    assert len(fake_studio.asked) == before + 1
    assert StageFinished in SamplesPanel.event_types


@pytest.mark.parametrize("width", [480, 595, 640, 760, 900])
def test_no_control_in_the_head_is_cut(show: Any, fake_run: Any, qtbot: QtBot, width: int) -> None:
    run = fake_run()
    run.view.config = experiment("tarflow_digits", class_labels=False)
    run.begin("teacher")
    run.samples("teacher", 300, np.zeros((4, 1, 8, 8), np.float32))
    panel = show(SamplesPanel, run, (width, 400))
    window = QMainWindow()
    dock = PanelDock(panel.name, panel.title, panel, window)
    dock.head.add(*panel.tools)
    dock.add_expand_button()
    window.setCentralWidget(dock)
    window.resize(width, 400)
    try:
        with qtbot.waitExposed(window):
            window.show()
        weight: Any = dock.head.findChild(DecimalField, "samples.guidance")
        weight.setValue(2.0)
        QApplication.processEvents()
        assert weight.isVisible()
        for tool in panel.tools:
            if tool.isVisible():
                assert tool.width() >= tool.minimumSizeHint().width(), tool
                assert dock.head.rect().contains(tool.geometry()), tool
        assert weight.parentWidget().rect().contains(weight.geometry())
    finally:
        window.close()
        for widget in (panel, *panel.tools):
            widget.setParent(None)  # qtbot deletes the panel
        window.deleteLater()
