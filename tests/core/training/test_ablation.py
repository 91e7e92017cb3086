"""The ablation: the student with what it inherits, trained by maximum likelihood on data alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.planning.describe import describe
from nfkd.runs.export import export_csv
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from tests.core.tiny import moons
from tests.core.training.runs import KillPoint, assert_same, only, run_with_copies

SHORT = {"teacher_steps": 12, "student_steps": 8}


def ablated(**changes: object) -> ExperimentConfig:
    """Return two moons with inherited blocks, a pool, all terms, and an ablation."""
    pool = {"pool": {"share": 0.5, "size": 200}, "inherit": "blocks"}
    return moons(training=SHORT | {"ablations": True}, distillation=pool, **changes)


def same_weights(first: Path, second: Path) -> bool:
    found, expected = load_file(first), load_file(second)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_it_is_the_student_of_a_run_without_terms_and_pool(tmp_path: Path) -> None:
    config = ablated()
    run = nfkd.run(config, tmp_path / "run").path
    plain = config.replace(distillation=only("nll") | {"pool": {"share": 0.0}}, training={"ablations": False})
    alone = nfkd.run(plain, tmp_path / "plain").path
    assert same_weights(run / "ablation.safetensors", alone / "student.safetensors")
    assert same_weights(run / "baseline.safetensors", alone / "baseline.safetensors")
    assert not same_weights(run / "ablation.safetensors", run / "student.safetensors")
    assert not same_weights(run / "ablation.safetensors", run / "baseline.safetensors")


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_student_and_ablation_begin_with_the_same_weights(share: float, tmp_path: Path) -> None:
    """With a tiny rate the final weights are the first ones; those of the baseline are random."""
    steps = {"learning_rate": 1e-12, "student_steps": 1, "teacher_learning_rate": 1e-2}
    config = ablated().replace(distillation={"pool": {"share": share}}, training=steps)
    run = nfkd.run(config, tmp_path / "run").path
    student, baseline, ablation = (
        load_file(run / f"{stage}.safetensors") for stage in ("student", "baseline", "ablation")
    )
    for name, value in student.items():
        torch.testing.assert_close(ablation[name], value, rtol=0, atol=1e-9)
    assert any(not torch.equal(baseline[name], value) for name, value in student.items())


def test_without_terms_and_pool_student_and_ablation_are_equal(tmp_path: Path) -> None:
    config = ablated().replace(distillation=only("nll") | {"pool": {"share": 0.0}})
    warnings = {warning.path: warning.message for warning in describe(config).warnings}
    assert warnings["training.ablations"].endswith("student and ablation will be equal")
    run = nfkd.run(config, tmp_path / "run").path
    assert same_weights(run / "ablation.safetensors", run / "student.safetensors")


def test_its_figures_and_the_gain_over_it_are_in_the_run(tmp_path: Path) -> None:
    run = nfkd.run(ablated(seeds={"count": 2}), tmp_path / "run").path
    record = open_run(run)
    tests = {(found.seed, found.stage): found.test for found in record.summary}
    assert [stage for seed, stage in tests if seed == 2] == ["student", "baseline", "ablation"]
    gains = [tests[seed, "ablation"] - tests[seed, "student"] for seed in (1, 2)]
    (interval,) = json.loads((run / "verdict.json").read_text())["ablations"]
    assert interval["difference"] == pytest.approx(sum(gains) / 2)
    verb = "gains" if interval["difference"] >= 0 else "loses"
    assert interval["words"].startswith(f"Against its ablation in test likelihood: the student {verb} ")
    assert record.verdict is not None
    assert f"{interval['words']}." in record.verdict.sentences()
    export_csv(record, tmp_path / "csv")
    rows = list(csv.DictReader((tmp_path / "csv" / "verdict.csv").read_text().splitlines()))
    assert [row["against"] for row in rows] == ["baseline"] * (len(rows) - 1) + ["ablation"]
    assert float(rows[-1]["gain"]) == pytest.approx(sum(gains) / 2)
    with h5py.File(run / "seed-1" / "run.h5") as file:
        assert file.attrs["format"] == 3
        assert np.asarray(file["summary/ablation/test"]).tolist() == [tests[1, "ablation"]]
        assert np.asarray(file["ablation/curves/train/nll/step"]).shape == (SHORT["student_steps"],)


def test_a_run_without_baseline_still_compares_with_it(tmp_path: Path) -> None:
    verdict = nfkd.run(ablated().replace(training={"baseline": False}), tmp_path / "run").verdict
    assert verdict is not None
    assert [interval.seeds for interval in verdict.ablations] == [[1]]
    assert verdict.sentences()[0] == "No baseline was trained: nothing to judge."


def test_a_student_that_inherits_nothing_has_no_ablation() -> None:
    (problem,) = describe(ablated().replace(distillation={"inherit": "none"})).problems
    assert problem.path == "training.ablations"
    assert problem.message.startswith("the student inherits nothing, so the ablation is its baseline")


def test_a_killed_ablation_is_resumed_exactly(tmp_path: Path) -> None:
    config = ablated()
    whole, killed = run_with_copies(config, tmp_path, [KillPoint(1, "ablation", 5), KillPoint(1, "baseline")])
    for run in killed:
        recover(run)
        nfkd.run(config, run, resume=True)
        assert_same(run, whole, config)
