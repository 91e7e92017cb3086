"""Whole runs: what they leave, that they repeat, and that a broken one goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import DistillationConfig, ExperimentConfig
from nfkd.console import print_summary
from nfkd.data import load_dataset
from nfkd.distillation.schedules import weights_at
from nfkd.evaluation.likelihood import noisy
from nfkd.planning.describe import describe
from nfkd.protocol import events
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.export import export_csv
from nfkd.runs.figures import export_figures
from nfkd.runs.lock import run_lock
from nfkd.runs.reader import RunRecord, open_run
from nfkd.runs.recovery import recover
from nfkd.training.control import Control
from nfkd.training.job import perform
from tests.core.tiny import digits, moons
from tests.torture.compare import differences

Maker = Callable[..., ExperimentConfig]


def every_term(**changes: Any) -> ExperimentConfig:
    """Return digits with all terms of the loss, some on schedules, their weights balanced."""
    terms: dict[str, Any] = {name: {"weight": 0.1} for name in DistillationConfig().terms()}
    terms["lkd"] |= {"schedule": "cosine", "schedule_end": 0.5}
    terms["score"] |= {"schedule": "warmup", "schedule_span": 0.5}
    balance = {"balance": "gradient_norm", "balance_every": 3}
    return digits(distillation=terms | balance, monitor={"shares_every": 4}, **changes)


def without_baseline(**changes: Any) -> ExperimentConfig:
    """Return two moons, and nothing to judge the student by."""
    return moons(training={"baseline": False}, **changes)


def helped(**changes: Any) -> ExperimentConfig:
    """Return two moons with two assistants."""
    assistants = [{"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}]
    return moons(assistants=assistants, training={"assistant_steps": 20}, **changes)


def assert_same(first: Path, second: Path, config: ExperimentConfig) -> None:
    """Two runs of an experiment are the same, time aside: every dataset, and every weight, bit for bit."""
    assert open_run(first).config == config
    assert differences(first, second) == {}


@pytest.mark.parametrize("make", [moons, digits])
def test_a_run_leaves_what_was_promised(make: Maker, tmp_path: Path) -> None:
    config = make()
    seen: list[events.RunEvent] = []
    record = nfkd.run(config, tmp_path / "run", on_event=seen.append)
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
    shape = load_dataset(config.data).event_shape
    shapes = {stage: samples.shape for stage, samples in record.samples.items()}
    assert shapes == dict.fromkeys(("teacher", "student", "baseline"), (8, *shape))
    assert record.verdict is not None
    assert record.verdict.verdict == "inconclusive"  # one seed


@pytest.mark.parametrize("make", [moons, digits])
def test_the_total_is_the_weighted_sum_of_the_terms(make: Maker, tmp_path: Path) -> None:
    config = make(monitor={"shares_every": 5})
    curves = nfkd.run(config, tmp_path / "run").curves["student"]
    weights = weights_at(config.distillation, 0, 1)
    in_nats = {} if make is digits else {"nll": 2}  # the likelihood of vectors is shown in nats, not a dimension's
    for name, weight in weights.items():
        expected = weight * curves[f"train/{name}"].values / in_nats.get(name, 1)
        np.testing.assert_allclose(curves[f"weighted/{name}"].values, expected, rtol=1e-6)
    total = np.sum([curves[f"weighted/{name}"].values for name in weights], axis=0)
    np.testing.assert_allclose(curves["train/total"].values, total, rtol=1e-5)
    assert curves["share/lkd"].steps.tolist() == [1, 6, 11, 16]
    shares = np.sum([curves[f"share/{name}"].values for name in weights], axis=0)
    np.testing.assert_allclose(shares, 1, rtol=1e-6)


def test_student_and_baseline_begin_as_the_same_flow_on_the_same_batches(tmp_path: Path) -> None:
    weights = {"nll": {"weight": 1.0}, "lkd": {"weight": 0.0}, "ilkd": {"weight": 0.0}, "skd": {"weight": 0.0}}
    curves = nfkd.run(digits(distillation=weights), tmp_path / "run").curves
    for name in ("train/nll", "validation/nll", "gradient_norm"):
        np.testing.assert_array_equal(curves["student"][name].values, curves["baseline"][name].values)


@pytest.mark.parametrize("make", [moons, digits])
def test_the_best_is_chosen_on_validation_and_reported_on_test(make: Maker, tmp_path: Path) -> None:
    config = make(training={"learning_rate": 0.05, "schedule": "constant"})
    record = nfkd.run(config, tmp_path / "run")
    dataset = load_dataset(config.data)
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


def test_patience_ends_the_teacher_alone(tmp_path: Path) -> None:
    # A learning rate that improves nothing: every evaluation after the first is one without improvement.
    stuck = {"learning_rate": 1e-12, "teacher_steps": 200, "student_steps": 60, "early_stop": 2}
    record = nfkd.run(moons(training=stuck), tmp_path / "run")
    steps = {summary.stage: summary.steps for summary in record.summary}
    assert steps["teacher"] < 200
    assert steps["student"] == steps["baseline"] == 60


@pytest.mark.parametrize("make", [moons, digits, every_term])
def test_a_run_repeats_bit_for_bit(make: Maker, tmp_path: Path) -> None:
    config = make()
    for name in ("one", "two"):
        nfkd.run(config, tmp_path / name)
    assert_same(tmp_path / "one", tmp_path / "two", config)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first = nfkd.run(moons(), tmp_path / "one")
    second = nfkd.run(moons(seeds={"first": 2}), tmp_path / "two")
    assert first.curves_of(1)["teacher"]["train/nll"].values[0] != second.curves_of(2)["teacher"]["train/nll"].values[0]


@pytest.mark.parametrize("retrain", [False, True])
def test_seeds_make_a_group_with_a_verdict(retrain: bool, tmp_path: Path) -> None:
    config = moons(seeds={"count": 3, "first": 4, "retrain_teacher": retrain})
    record = nfkd.run(config, tmp_path / "group")
    teachers = [summary.seed for summary in record.summary if summary.stage == "teacher"]
    assert teachers == ([4, 5, 6] if retrain else [4])
    assert (tmp_path / "group" / "seed-6" / "student.safetensors").is_file()
    assert record.load_teacher(6) is not None
    verdict = record.verdict
    assert verdict is not None
    assert verdict.seeds == [4, 5, 6]
    tests = {(summary.stage, summary.seed): summary.test for summary in record.summary}
    expected = [tests["baseline", seed] - tests["student", seed] for seed in (4, 5, 6)]
    assert verdict.differences == pytest.approx(expected)
    assert ("a teacher for each seed" if retrain else "one teacher for all seeds") in verdict.summary
    assert [other.metric for other in verdict.others] == ["C2ST", "speed of sampling"]
    assert "Without a verdict, C2ST" in shown(record)
    export_csv(record, tmp_path / "csv")
    rows = (tmp_path / "csv" / "verdict.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["test likelihood", "C2ST", "speed of sampling"]
    assert [bool(row.split(",")[-1]) for row in rows[1:]] == [True, False, False]


def shown(record: RunRecord) -> str:
    """Return what ``nfkd show`` prints of a run."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_summary(record.snapshot())
    return out.getvalue()


def test_the_primary_metric_decides_the_verdict_and_not_which_weights_are_kept(tmp_path: Path) -> None:
    plain = nfkd.run(moons(), tmp_path / "plain")
    record = nfkd.run(moons(seeds={"metric": "c2st"}), tmp_path / "run")
    assert record.verdict is not None
    assert record.verdict.metric == "C2ST"
    assert [other.metric for other in record.verdict.others] == ["test likelihood", "speed of sampling"]
    figures = {summary.stage: summary.c2st for summary in record.summary}
    assert record.verdict.difference == pytest.approx(figures["baseline"] - figures["student"])
    recorded = {
        name for name in differences(plain.path, record.path) if name.startswith("run.h5") or ".safetensors" in name
    }
    weights = {f"{stage}.safetensors:metadata/config" for stage in ("teacher", "student", "baseline")}
    assert recorded == {"run.h5:/"} | weights  # all of them are the text of the experiment
    assert [summary.best_step for summary in record.summary] == [summary.best_step for summary in plain.summary]


def test_speed_as_the_primary_metric_is_warned_of() -> None:
    said = {
        warning.path: warning.message for warning in describe(moons(seeds={"metric": "samples_per_second"})).warnings
    }
    assert "by chance" in said["seeds.metric"]
    assert "seeds.metric" not in {warning.path for warning in describe(moons()).warnings}


Undisturbed = Callable[[ExperimentConfig], Path]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Return a function that gives a run of an experiment that nothing disturbed; each is made once."""
    runs: dict[str, Path] = {}

    def run_of(config: ExperimentConfig) -> Path:
        text = config.to_toml()
        if text not in runs:
            runs[text] = nfkd.run(config, tmp_path_factory.mktemp("undisturbed") / "run").path
        return runs[text]

    return run_of


KILLER = """
import os, signal, sys
import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol import events
config, directory, seed, stage, step = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
points = {}
def watch(event):
    if isinstance(event, events.StageFinished) and step < 0 and (event.seed, event.stage) == (seed, stage):
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(event, events.CurvePoints) and "train/total" in event.curves:
        at = event.curves["train/total"].steps[-1]
        if (event.seed, event.stage) == (seed, stage) and 0 <= step <= at:
            os.kill(os.getpid(), signal.SIGKILL)
nfkd.run(ExperimentConfig.from_toml(config), directory, on_event=watch)
"""


@pytest.mark.parametrize(
    ("make", "seeds", "seed", "stage", "step"),
    [
        (moons, 1, 1, "teacher", 1),  # before the first checkpoint
        (moons, 1, 1, "teacher", -1),  # between two stages
        (moons, 1, 1, "student", 3),  # in a stage, before its first checkpoint
        (digits, 1, 1, "student", 12),
        (moons, 1, 1, "baseline", -1),
        (moons, 2, 2, "student", 10),
        (every_term, 1, 1, "student", 13),
        (helped, 2, 1, "assistant-2", -1),
        (helped, 2, 2, "student", 10),
        (without_baseline, 2, 1, "student", -1),  # between the last stage of a seed and the next seed
    ],
)
def test_a_killed_run_is_recovered_and_goes_on_as_if_nothing_had_been(
    make: Maker, seeds: int, seed: int, stage: str, step: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    config = make(seeds={"count": seeds})
    killed = tmp_path / "killed"
    arguments = [sys.executable, "-c", KILLER, config.to_toml(), str(killed), str(seed), stage, str(step)]
    done = subprocess.run(arguments, check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert open_run(killed).row.state == "interrupted"
    recover(killed)
    nfkd.run(config, killed, resume=True)
    assert_same(killed, undisturbed(config), config)
    row = open_run(killed).row
    assert (row.state, row.seeds_done, row.progress) == ("finished", seeds, 1.0)


def stopped_at(directory: Path, config: ExperimentConfig, step: int, *, resume: bool = False) -> list[events.RunEvent]:
    """Run in this thread until the student's curve reaches a step, then ask for a stop."""
    from nfkd.training.api import prepare

    control, seen = Control(), []
    run = directory if resume else prepare(config, directory)

    def watch(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.Progress) and event.stage == "student" and event.step >= step:
            control.stop("run")

    assert perform(run, config, watch, control, resume=resume) == "stopped"
    return seen


def test_a_stopped_run_keeps_its_weights_and_can_go_on(tmp_path: Path) -> None:
    config = digits(training={"student_steps": 40})
    seen = stopped_at(tmp_path / "stopped", config, 1)
    assert isinstance(seen[-1], events.RunFinished)
    assert seen[-1].state == "stopped"
    record = open_run(tmp_path / "stopped")
    assert record.row.state == "stopped"
    assert record.load_student().scaled.initialized
    stopped_at(tmp_path / "stopped", config, 25, resume=True)
    nfkd.run(config, tmp_path / "stopped", resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole", config)


def test_resume_by_another_experiment_is_refused(tmp_path: Path) -> None:
    nfkd.run(moons(), tmp_path / "run")
    with pytest.raises(nfkd.ConfigError, match="another experiment") as refused:
        nfkd.run(moons(training={"batch_size": 16}), tmp_path / "run", resume=True)
    [problem] = refused.value.problems
    assert problem.path == "training.batch_size"
    folder = tmp_path / "run"
    assert f"nfkd run {folder / 'experiment.toml'} --out {folder} --resume" in problem.message


def test_a_loss_that_is_not_finite_names_stage_step_and_layer_and_keeps_the_weights(tmp_path: Path) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    config = moons(training=wild | {"teacher_steps": 2000}, teacher={"steps": 12, "hidden": 64})
    seen: list[events.RunEvent] = []
    with pytest.raises(RunError, match=r"The teacher diverged at step \d+") as failed:
        nfkd.run(config, tmp_path / "run", on_event=seen.append)
    assert "step" in failed.value.cause or "gradient" in failed.value.cause
    assert isinstance(seen[-1], events.RunFailed)
    record: RunRecord = open_run(tmp_path / "run")
    assert record.row.state == "failed"
    assert record.error is not None
    values = [value for value in record.load_teacher().scaled.state_dict().values() if value.is_floating_point()]
    assert all(torch.isfinite(value).all() for value in values)


def test_a_file_that_is_lost_while_it_is_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "images.h5"
    with h5py.File(file, "w") as content:
        content["images"] = np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8)

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted):
            file.unlink()

    config = digits(data={"kind": "image_stack", "path": str(file)})
    with pytest.raises(RunError, match="The data cannot be read any more") as failed:
        nfkd.run(config, tmp_path / "run", on_event=watch)
    assert str(file) in failed.value.cause
    assert "resume" in failed.value.action
    assert open_run(tmp_path / "run").row.state == "failed"


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    nfkd.run(moons(), tmp_path / "run")
    with run_lock(tmp_path / "run"), pytest.raises(RunError, match="The run is in use"):
        nfkd.run(moons(), tmp_path / "run", resume=True)
    assert open_run(tmp_path / "run").row.state == "finished"


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is not empty"):
        nfkd.run(moons(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_problems_of_meaning_are_told_all_at_once_before_anything_is_made(tmp_path: Path) -> None:
    config = moons(
        teacher={"kind": "glow", "levels": 2, "steps": 1, "hidden": 4},
        student={"kind": "glow1d", "steps": 1, "hidden": 4096},
        compute={"device": "cuda"},
        data={"validation_fraction": 0.15},
    )
    with pytest.raises(nfkd.ConfigError) as refused:
        nfkd.run(config, tmp_path / "run")
    paths = {problem.path for problem in refused.value.problems}
    assert "teacher.kind" in paths
    assert torch.cuda.is_available() or "compute.device" in paths
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"student": {"levels": 1}}, "student.levels", "same number of levels"),
        ({"teacher": {"levels": 4}, "student": {"levels": 4}}, "teacher.levels", "cannot squeeze"),
        ({"teacher": {"hidden": 2048, "steps": 64}, "training": {"batch_size": 65536}}, "teacher.hidden", "GiB"),
    ],
)
def test_each_problem_of_meaning_has_its_field(changes: dict, path: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(nfkd.ConfigError) as refused:
        nfkd.run(digits(**changes), tmp_path / "run")
    assert any(problem.path == path and words in problem.message for problem in refused.value.problems)


def test_a_baseline_makes_as_many_steps_as_a_student_that_was_ended_early(tmp_path: Path) -> None:
    from nfkd.training.api import prepare

    config = moons(training={"student_steps": 500})
    control = Control()

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.Progress) and event.stage == "student" and 3 <= event.step < 400:
            control.stop("stage")

    assert perform(prepare(config, tmp_path / "run"), config, watch, control) == "finished"
    steps = {summary.stage: summary.steps for summary in open_run(tmp_path / "run").summary}
    assert steps["student"] == steps["baseline"] < 500


def test_a_wish_to_end_a_stage_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    from nfkd.training.api import prepare

    config, control = moons(), Control()

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageFinished) and event.stage == "teacher":
            control.stop("stage")

    assert perform(prepare(config, tmp_path / "run"), config, watch, control) == "finished"
    assert [summary.steps for summary in open_run(tmp_path / "run").summary] == [30, 20, 20]


def test_torn_checkpoints_do_not_begin_the_run_afresh(tmp_path: Path) -> None:
    config = moons()
    nfkd.run(config, tmp_path / "run")
    before = (tmp_path / "run" / "run.h5").read_bytes()
    for path in (tmp_path / "run").glob("checkpoint*"):
        path.write_bytes(b"torn")
    with pytest.raises(RunError, match="checkpoints cannot be read"):
        nfkd.run(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "run.h5").read_bytes() == before


def test_problems_of_data_and_of_flows_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(nfkd.ConfigError) as refused:
        nfkd.run(digits(data={"test_fraction": 0.001}, student={"levels": 6}), tmp_path / "run")
    assert {"data.test_fraction", "student.levels"} <= {problem.path for problem in refused.value.problems}


def test_validation_while_training_takes_no_more_examples_than_asked_for(tmp_path: Path) -> None:
    record = nfkd.run(moons(monitor={"validation_examples": 10}), tmp_path / "run")
    dataset = load_dataset(record.config.data)
    few, student = noisy(dataset, dataset.validation.take(slice(10))), record.load_student().scaled
    with torch.no_grad():
        expected = -student.log_prob(few.x).double().mean().item()
        everything = -student.log_prob(noisy(dataset, dataset.validation).x).double().mean().item()
    assert record.curves["student"]["validation/nll"].values.min() == pytest.approx(expected, rel=1e-5)
    [summary] = [summary for summary in record.summary if summary.stage == "student"]
    assert summary.validation == pytest.approx(everything, rel=1e-5)


def test_without_a_baseline_nothing_is_judged_and_nothing_is_left_empty(tmp_path: Path) -> None:
    seen: list[events.RunEvent] = []
    record = nfkd.run(without_baseline(seeds={"count": 3}), tmp_path / "run", on_event=seen.append)
    assert [(summary.seed, summary.stage) for summary in record.summary] == [
        (1, "teacher"), (1, "student"), (2, "student"), (3, "student"),
    ]  # fmt: skip
    verdict = record.verdict
    assert verdict is not None
    assert (verdict.verdict, verdict.seeds, verdict.others) == ("inconclusive", [], [])
    assert verdict.summary == "No baseline was trained: nothing to judge."
    assert (record.row.verdict, record.row.baseline_test) == ("", None)
    assert verdict.summary in shown(record)
    assert shown(record).count("baseline") == 1  # in these words alone
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


def test_the_student_is_the_same_with_and_without_a_baseline(tmp_path: Path) -> None:
    alone = nfkd.run(without_baseline(), tmp_path / "alone")
    both = nfkd.run(moons(), tmp_path / "both")
    for name, value in alone.load_student().scaled.state_dict().items():
        torch.testing.assert_close(both.load_student().scaled.state_dict()[name], value, rtol=0, atol=0)


def test_a_missing_baseline_is_warned_of_and_the_number_of_seeds_is_not() -> None:
    said = {warning.path: warning.message for warning in describe(without_baseline()).warnings}
    assert "whether the teacher helped" in said["training.baseline"]
    assert "seeds.count" not in said
    assert "training.baseline" not in {warning.path for warning in describe(moons()).warnings}
