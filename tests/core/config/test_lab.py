"""The state of the lab as a model, as a file and as a line of text."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.lab import PLANE_DATA, PLANE_FLOWS, LabConfig

FINITE = st.floats(-1e3, 1e3, allow_nan=False)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "data.kind": st.sampled_from(PLANE_DATA),
        "teacher.kind": st.sampled_from(PLANE_FLOWS),
        "training.learning_rate": st.floats(1e-6, 1),
        "training.student_examples": st.integers(0, 1000),
        "distillation.pool.share": st.floats(0, 1),
        "distillation.ilkd.weight": st.floats(0, 10),
        "lab.teacher": st.sampled_from(["trained", "together"]),
        "lab.probe": st.just([]) | st.lists(FINITE, min_size=2, max_size=2),
        "lab.off": st.lists(st.sampled_from(["student.step1", "teacher.step2"]), max_size=3),
        "lab.points": st.lists(st.tuples(FINITE, FINITE), min_size=100, max_size=120),
        "lab.position": st.floats(0, 1),
        "seeds.first": st.integers(0, 1000),
        "description": st.text(st.characters(codec="utf-8"), max_size=9),
    },
)


@settings(max_examples=40)
@given(VALUES)
def test_states_survive_text_and_link(values: dict[str, Any]) -> None:
    state = LabConfig.first().with_values(values)
    assert LabConfig.from_toml(state.to_toml()) == state
    assert LabConfig.from_toml(state.short_toml()) == state
    assert LabConfig.from_link(state.link()) == state
    middle = len(state.link()) // 2
    assert LabConfig.from_link(f"  {state.link()[:middle]}\n{state.link()[middle:]} ") == state  # wrapped by a mail


def test_every_kind_of_data_and_flow_is_accepted() -> None:
    for kind in PLANE_DATA:
        assert LabConfig.first().with_values({"data": {"kind": kind}}).data.kind == kind
    for kind in PLANE_FLOWS:
        assert LabConfig.first().with_values({"student": {"kind": kind}}).student.kind == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": {"kind": "digits"}}, "data.kind must be one of pinwheel"),
        ({"student": {"kind": "glow"}}, "student.kind must be a flow for vectors"),
        ({"assistants": [{"kind": "nsf"}]}, "no assistants"),
        ({"distillation.inherit": "blocks"}, "no inherited weights"),
        ({"training.teacher_weights": "/tmp/x.safetensors"}, "no teacher from a file"),
        ({"lab.points": [[0, 1]] * 5}, "lab.points needs at least 100 points"),
        ({"lab.probe": [1.0]}, "lab.probe needs x and y"),
        ({"lab.position": 2.0}, "lab.position: must be at most 1 (given: 2.0)"),
        ({"lab.speed": "fast"}, "lab.speed: must be 'slow', 'normal', 'quick' or 'full'"),
    ],
)
def test_wrong_states_are_refused_with_the_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LabConfig.first().with_values(values)
    assert message in str(error.value)


def _packed(content: bytes) -> str:
    return "nfkd-lab:" + base64.urlsafe_b64encode(zlib.compress(content)).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must start with nfkd-lab:"),
        ("https://example.com", "must start with nfkd-lab:"),
        ("nfkd-lab:", "copy the whole text"),
        ("nfkd-lab:????", "copy the whole text"),
        (LabConfig.first().link()[:-6], "copy the whole text"),
        (_packed(b"\xff\xfe"), "copy the whole text"),
        (_packed(b"x" * (5 << 20)), "copy the whole text"),
        (_packed(b"x ="), "not a TOML file"),
        (_packed(b"name = 'a'"), "data: is required"),
    ],
)
def test_damaged_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LabConfig.from_link(text)
    assert message in str(error.value)


def test_files_of_states_are_told_from_experiments(tmp_path: Path) -> None:
    state = LabConfig.first().with_values({"lab.show": "samples"})
    path = tmp_path / "pinwheel.toml"
    state.save(path)
    assert LabConfig.open(path) == state
    assert LabConfig.is_state(path.read_text())
    assert not LabConfig.is_state(state.experiment().to_toml())
    assert not LabConfig.is_state("[")


def test_an_experiment_and_its_state_have_the_same_fields() -> None:
    experiment = ExperimentConfig.load("two_moons")
    assert LabConfig.of_experiment(experiment).experiment() == experiment
    with pytest.raises(ConfigError, match=r"data\.kind must be one of"):
        LabConfig.of_experiment(ExperimentConfig.load("digits"))


def test_layers_off_are_listed_by_flow() -> None:
    state = LabConfig.first().with_values({"lab.off": ["student.step1", "teacher.step2", "student.step2"]})
    assert state.layers_off("student") == ["step1", "step2"]
    assert state.layers_off("baseline") == []
