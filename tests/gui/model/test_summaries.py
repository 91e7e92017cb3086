"""Short names of flows and data sets, for cards, the outline and the inspector."""

from __future__ import annotations

import pytest

from nfkd.config import ExperimentConfig
from nfkd_gui.model.summaries import flow_label, summary_of


@pytest.mark.parametrize(
    ("preset", "teacher", "student"),
    [
        ("digits", "Glow 8×2", "Glow 2×2"),
        ("two_moons", "Glow-1D 8", "Glow-1D 3"),
        ("iaf_moons", "MAF 8", "IAF 4"),
        ("tarflow_jet", "TarFlow 4×2", "Jet 8×1"),
    ],
)
def test_flows_have_the_names_of_their_papers(preset: str, teacher: str, student: str) -> None:
    config = ExperimentConfig.load(preset)
    assert flow_label(config.teacher) == teacher
    assert flow_label(config.student) == student
    section = config.student.model_dump()
    assert summary_of("student", section, None) == student.partition(" ")[0], "before the engine has described it"


def test_data_sets_have_the_names_of_the_form() -> None:
    data = ExperimentConfig.load("tarflow_cifar10").data.model_dump()
    assert summary_of("data", data, None) == "CIFAR-10"
    assert summary_of("data", {"kind": "no such data"}, None) == "Unknown"
