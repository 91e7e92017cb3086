"""Runs that were saved before fields and modules were renamed can still be read.

``saved/interrupted.zip`` is a run of two moons (200 points, Glow-1D 2 → 1, width 4) whose process was killed while the
student trained; ``saved/verdict.json`` is from a finished run of the same experiment.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.runs.data_space import load_flow
from nfkd.runs.verdict_file import read_verdict
from nfkd.training.checkpoint import load_checkpoint

SAVED = Path(__file__).with_name("saved")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with zipfile.ZipFile(SAVED / "interrupted.zip") as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


def test_curves_plans_and_figures_are_read(run: Path) -> None:
    record = nfkd.open_run(run)
    assert record.row.state == "interrupted"
    assert record.curves["student"]["validation/nll"].steps.tolist() == [2, 4]
    assert record.curves["student"]["train/lkd"].steps.tolist() == [1, 2, 3, 4]
    assert [(summary.stage, round(summary.test, 6)) for summary in record.summary] == [("teacher", 2.372576)]
    assert record.samples["teacher"].shape == (4, 2)
    (pair,) = next(plan.pairs for plan in record.snapshot().seeds[0].stages if plan.stage == "student")
    assert pair.summary == "student step 1 ↔ teacher step 2"


def test_weights_give_the_density_of_that_time(run: Path) -> None:
    x = torch.tensor([[0.5, 0.25], [1.0, -0.5]])
    expected = [-1.0219248533248901, -3.3121442794799805]
    for flow in (nfkd.open_run(run).load_teacher(), load_flow(run / "teacher.safetensors")):
        np.testing.assert_allclose(flow.log_prob(x).detach(), expected, rtol=1e-5)


def test_the_checkpoint_is_read(run: Path) -> None:
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    assert (checkpoint.position.stage, checkpoint.position.step) == ("student", 4)
    assert [summary.stage for summary in checkpoint.position.done] == ["teacher"]


def test_the_verdict_is_read(tmp_path: Path) -> None:
    shutil.copy(SAVED / "verdict.json", tmp_path)
    verdict = read_verdict(tmp_path)
    assert verdict is not None
    assert verdict.summary.startswith("Inconclusive: the student's test figure is 0.0002 nats higher")
    assert [other.summary.partition(":")[0] for other in verdict.others] == ["C2ST", "speed of sampling"]
