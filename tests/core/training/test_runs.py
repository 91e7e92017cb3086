"""Whole runs: their curves, results, weights and verdict."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.schedules import weights_at
from nfkd.console import print_summary
from nfkd.data import load_dataset
from nfkd.evaluation.likelihood import noisy
from nfkd.evaluation.metrics import METRICS
from nfkd.protocol import events
from nfkd.protocol.view import RunView
from nfkd.runs.export import export_csv
from nfkd.runs.figures import export_figures
from nfkd.runs.reader import RunRecord
from tests.core.tiny import digits, moons
from tests.core.training.runs import Maker, TrainedRun, only, without_baseline
from tests.torture.compare import differences

Trained = Callable[[ExperimentConfig], TrainedRun]
FEW = {"teacher_steps": 4, "student_steps": 4}
NAMES = {metric.name for metric in METRICS.values()}


def shown(record: RunRecord) -> str:
    """Return what ``nfkd show`` prints about a run."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_summary(record.snapshot())
    return out.getvalue()


# --- one run of vectors and one of images -----------------------------------------------------------------------------


@pytest.fixture(params=[moons, digits])
def make(request: pytest.FixtureRequest) -> Maker:
    return request.param


def test_a_run_has_measures_of_samples_and_their_noise_floor(make: Maker, trained: Trained) -> None:
    record, _ = trained(make())
    dataset, started = load_dataset(record.config.data), record.seeds[1].started
    measures = {"sw", "mmd", "precision", "recall"}
    assert set(started.floors) == measures
    assert started.compared == len(dataset.test)
    assert (started.features is not None) == dataset.is_image == (not started.latents)
    every = {*measures, "fd", "fd_floor"}
    for summary in record.summary:
        finite = {name for name in {*every, "same_noise"} if math.isfinite(getattr(summary, name))}
        assert finite == every | (set() if summary.stage == "teacher" else {"same_noise"})
    assert len({summary.fd_floor for summary in record.summary}) == 1
    for floor in (started.floors["sw"], record.summary[0].fd_floor):
        assert f"{floor:.4f}" in shown(record)
    assert ("FD-local compares features of a classifier" in shown(record)) == dataset.is_image
    assert ("FD-local compares the teacher's final latents" in shown(record)) != dataset.is_image


@pytest.fixture
def run(make: Maker, trained: Trained) -> TrainedRun:
    """A run whose learning rate is so high that the best step is not always the last."""
    return trained(make(training={"learning_rate": 0.05, "schedule": "constant"}, monitor={"shares_every": 5}))


def test_a_run_has_all_curves_pictures_and_a_verdict(run: TrainedRun) -> None:
    record, seen = run
    assert isinstance(seen[-1], events.RunFinished)
    assert [summary.stage for summary in record.summary] == ["teacher", "student", "baseline"]
    assert record.row.state == "finished"
    curves = record.curves
    assert curves["teacher"]["train/nll"].steps.tolist() == list(range(1, 31))
    for stage in ("student", "baseline"):
        assert curves[stage]["validation/nll"].steps.tolist() == [5, 10, 15, 20]
    further = {f"{kind}/{name}" for kind in ("weighted", "share") for name in ("nll", "lkd", "ilkd", "skd")}
    assert set(curves["student"]) - set(curves["baseline"]) == {"train/lkd", "train/ilkd", "train/skd"} | further
    assert not any(curve["masked"].values.any() for curve in curves.values())
    assert record.matching.steps.tolist() == [1, 10, 20]
    shape = load_dataset(record.config.data).event_shape
    shapes = {stage: samples.shape for stage, samples in record.samples.items()}
    assert shapes == dict.fromkeys(("teacher", "student", "baseline"), (8, *shape))
    assert record.verdict is not None
    assert record.verdict.verdict == "inconclusive"  # one seed


def test_the_total_is_the_weighted_sum_of_the_terms(make: Maker, run: TrainedRun) -> None:
    curves = run.record.curves["student"]
    weights = weights_at(run.record.config.distillation, 0, 1)
    in_nats = {} if make is digits else {"nll": 2}  # the likelihood of vectors is shown in nats, not nats a dimension
    for name, weight in weights.items():
        expected = weight * curves[f"train/{name}"].values / in_nats.get(name, 1)
        np.testing.assert_allclose(curves[f"weighted/{name}"].values, expected, rtol=1e-6)
    total = np.sum([curves[f"weighted/{name}"].values for name in weights], axis=0)
    np.testing.assert_allclose(curves["train/total"].values, total, rtol=1e-5)
    assert curves["share/lkd"].steps.tolist() == [1, 6, 11, 16]
    shares = np.sum([curves[f"share/{name}"].values for name in weights], axis=0)
    np.testing.assert_allclose(shares, 1, rtol=1e-6)


def test_the_best_step_is_chosen_on_validation_and_reported_on_test(run: TrainedRun) -> None:
    record = run.record
    dataset = load_dataset(record.config.data)
    for summary, load in zip(
        record.summary, (record.load_teacher, record.load_student, record.load_baseline), strict=True
    ):
        validation = record.curves[summary.stage]["validation/nll"]
        assert summary.best_step == validation.steps[validation.values.argmin()]
        assert summary.validation == pytest.approx(validation.values.min(), rel=1e-5)
        with torch.no_grad():
            log_prob = load().scaled.log_prob(noisy(dataset, dataset.test).x).double().mean().item()
        dims = 64 * np.log(2)
        expected = -log_prob / dims + np.log2(17) if dataset.is_image else -log_prob
        assert summary.test == pytest.approx(expected, rel=1e-5)
        assert summary.test != pytest.approx(summary.validation, rel=1e-9)


# --- stages -----------------------------------------------------------------------------------------------------------


def test_student_and_baseline_start_with_the_same_weights_and_batches(tmp_path: Path) -> None:
    config = digits(distillation=only("nll"), training={"teacher_steps": 1, "student_steps": 6})
    curves = nfkd.run(config, tmp_path / "run").curves
    for name in ("train/nll", "validation/nll", "gradient_norm"):
        np.testing.assert_array_equal(curves["student"][name].values, curves["baseline"][name].values)


def test_early_stopping_applies_to_the_teacher_only(tmp_path: Path) -> None:
    # With this learning rate no evaluation after the first one improves.
    stuck = {"learning_rate": 1e-12, "teacher_steps": 200, "student_steps": 20, "early_stop": 2}
    record = nfkd.run(moons(training=stuck), tmp_path / "run")
    steps = {summary.stage: summary.steps for summary in record.summary}
    assert steps == {"teacher": 15, "student": 20, "baseline": 20}


def test_validation_during_training_uses_the_configured_number_of_examples(tmp_path: Path) -> None:
    record = nfkd.run(moons(monitor={"validation_examples": 10}, training=FEW), tmp_path / "run")
    dataset = load_dataset(record.config.data)
    few, student = noisy(dataset, dataset.validation.take(slice(10))), record.load_student().scaled
    with torch.no_grad():
        expected = -student.log_prob(few.x).double().mean().item()
        everything = -student.log_prob(noisy(dataset, dataset.validation).x).double().mean().item()
    assert record.curves["student"]["validation/nll"].values.min() == pytest.approx(expected, rel=1e-5)
    [summary] = [summary for summary in record.summary if summary.stage == "student"]
    assert summary.validation == pytest.approx(everything, rel=1e-5)


# --- seeds and the verdict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retrain", [False, True])
def test_seeds_make_a_group_with_a_verdict(retrain: bool, tmp_path: Path) -> None:
    config = moons(seeds={"count": 3, "first": 4, "retrain_teacher": retrain}, training=FEW)
    record = nfkd.run(config, tmp_path / "group")
    teachers = [summary.seed for summary in record.summary if summary.stage == "teacher"]
    assert teachers == ([4, 5, 6] if retrain else [4])
    first_losses = {record.curves_of(seed)["teacher"]["train/nll"].values[0] for seed in teachers}
    assert len(first_losses) == len(teachers)
    assert (tmp_path / "group" / "seed-6" / "student.safetensors").is_file()
    assert record.load_teacher(6) is not None
    verdict = record.verdict
    assert verdict is not None
    assert verdict.seeds == [4, 5, 6]
    tests = {(summary.stage, summary.seed): summary.test for summary in record.summary}
    expected = [tests["baseline", seed] - tests["student", seed] for seed in (4, 5, 6)]
    assert verdict.differences == pytest.approx(expected)
    assert record.row.digest == config.digest()
    assert record.row.seconds == pytest.approx(sum(summary.seconds for summary in record.summary))
    assert record.row.gap_closed == (None if math.isnan(verdict.gap_closed) else pytest.approx(verdict.gap_closed))
    assert ("a teacher for each seed" if retrain else "one teacher for all seeds") in verdict.summary
    others = [metric.name for name, metric in METRICS.items() if name != "likelihood"]
    assert [other.metric for other in verdict.others] == others
    assert verdict.advice
    started = record.seeds[4].started
    names = {metric.name: metric.figure for metric in METRICS.values()}
    assert verdict.compared == started.compared > 0
    found = {names[other.metric]: other.floor for other in verdict.others if not math.isnan(other.floor)}
    fd = {summary.seed: summary.fd_floor for summary in record.summary}
    assert len(set(fd.values())) == (3 if retrain else 1)
    assert found.pop("fd") == pytest.approx(sum(fd.values()) / 3)
    assert found == started.floors
    _, _, measures = shown(record).partition(
        f"{verdict.summary}\n{verdict.advice}\nOther measures, without a verdict:\n"
    )
    assert measures.startswith(("  C2ST: the student gains ", "  C2ST: the student loses "))
    export_csv(record, tmp_path / "csv")
    rows = (tmp_path / "csv" / "verdict.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["test likelihood", *others]
    assert [bool(row.split(",")[6]) for row in rows[1:]] == [True, *[False] * len(others)]
    floors = dict(row.split(",")[:2] for row in (tmp_path / "csv" / "floor.csv").read_text().splitlines()[1:])
    assert {name: float(value) for name, value in floors.items()} == pytest.approx(
        started.floors | {"fd": sum(fd.values()) / 3}
    )


def test_the_metric_changes_the_verdict_but_no_weights(trained: Trained, tmp_path: Path) -> None:
    plain = trained(moons()).record
    record = nfkd.run(moons(seeds={"metric": "c2st"}), tmp_path / "run")
    assert record.verdict is not None
    assert record.verdict.metric == "C2ST"
    assert {other.metric for other in record.verdict.others} == NAMES - {"C2ST"}
    c2st = {summary.stage: summary.c2st for summary in record.summary}
    assert record.verdict.difference == pytest.approx(c2st["baseline"] - c2st["student"])
    recorded = {
        name for name in differences(plain.path, record.path) if name.startswith("run.h5") or ".safetensors" in name
    }
    metadata = {f"{stage}.safetensors:metadata/config" for stage in ("teacher", "student", "baseline")}
    assert recorded == {"run.h5:/"} | metadata  # all of them contain the experiment as text
    assert [summary.best_step for summary in record.summary] == [summary.best_step for summary in plain.summary]


def test_without_a_baseline_there_is_no_verdict_and_no_empty_stage(tmp_path: Path) -> None:
    seen: list[events.RunEvent] = []
    record = nfkd.run(without_baseline(seeds={"count": 3}, training=FEW), tmp_path / "run", on_event=seen.append)
    assert [(summary.seed, summary.stage) for summary in record.summary] == [
        (1, "teacher"), (1, "student"), (2, "student"), (3, "student"),
    ]  # fmt: skip
    verdict = record.verdict
    assert verdict is not None
    assert (verdict.verdict, verdict.seeds, verdict.others) == ("inconclusive", [], [])
    assert verdict.summary == "No baseline was trained: nothing to judge."
    assert (record.row.verdict, record.row.baseline_test) == ("", None)
    assert verdict.summary in shown(record)
    assert shown(record).count("baseline") == 1  # only in this sentence
    assert not list((tmp_path / "run").rglob("baseline*"))
    fractions = [event.fraction for event in seen if isinstance(event, events.Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    view = RunView.from_snapshot(record.snapshot())
    assert view.roles() == ["teacher", "student"]
    assert {path.name for path in export_figures(record, tmp_path / "figures")} == {
        "curves.png", "samples.png", "interpolation.png", "matching.png",
    }  # fmt: skip
    names = {path.name for path in export_csv(record, tmp_path / "csv")}
    assert not any("baseline" in name or "verdict" in name for name in names)


def test_the_student_is_the_same_with_and_without_a_baseline(trained: Trained, tmp_path: Path) -> None:
    alone = nfkd.run(without_baseline(), tmp_path / "alone").load_student().scaled.state_dict()
    both = trained(moons()).record.load_student().scaled.state_dict()
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=0, atol=0)
