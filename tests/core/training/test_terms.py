"""What `describe` says of the terms: which cannot be served, and which are served slowly."""

from __future__ import annotations

import numpy as np
import pytest

from nfkd.config import ExperimentConfig
from nfkd.config.flows import IAFConfig, MAFConfig, NSFConfig
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.training.describe import describe
from tests.core.tiny import moons


def warnings(experiment: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(experiment).warnings}


@pytest.mark.parametrize(
    ("student", "slow", "quick"),
    [
        (MAFConfig(steps=2, hidden=8), {"skd", "reverse_kl", "noisy_reverse"}, {"lkd", "density"}),
        (NSFConfig(steps=2, hidden=8, bins=4, transform="autoregressive"), {"skd"}, {"lkd"}),
        (IAFConfig(steps=2, hidden=8), {"lkd", "density", "reverse_kl"}, set()),
    ],
)
def test_what_a_flow_serves_feature_by_feature_is_told_with_an_estimate(student, slow, quick, tmp_path) -> None:
    table = tmp_path / "table.csv"
    rows = np.random.default_rng(0).normal(size=(200, 12))
    table.write_text("\n".join(",".join(f"{value:.4f}" for value in row) for row in rows))
    for name in slow | quick:
        terms = {term: {"weight": 0.0} for term in OBJECTIVES} | {name: {"weight": 1.0}}
        experiment = moons(
            data={"kind": "table", "path": str(table)},
            student=student.model_dump(),
            teacher={"kind": "glow1d", "steps": 3, "hidden": 8},
            distillation=terms,
        )
        told = warnings(experiment).get(f"distillation.{name}.weight", "")
        assert ("feature by feature, 12 one after another" in told) == (name in slow), (name, told)


def test_flows_that_take_all_features_at_once_are_not_told_of() -> None:
    terms = {name: {"weight": 1.0} for name in OBJECTIVES}
    assert not [path for path in warnings(moons(distillation=terms)) if path.endswith(".weight")]
