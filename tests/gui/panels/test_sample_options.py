"""Guidance and denoising in the samples panel: offered where a run has them, sent with the request, and named."""

from __future__ import annotations

import pytest
from msgspec.structs import astuple
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.inspection import SampleOptions
from nfkd_gui.panels.sample_options import SampleOptionFields


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
    fields.offer(experiment("tarflow_digits"))
    assert fields.guides
    assert not fields.attention.isHidden()
    fields.offer(experiment("tarflow_digits", class_labels=True, noise="gaussian"))
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
    fields.offer(experiment("tarflow_digits"))
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
