"""Evaluations of small trained runs: values against the flows themselves, other data, and input that is refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

import nfkd
from nfkd.cli import main
from nfkd.config import ConfigError, DigitsConfig, GlowConfig
from nfkd.config.datasets import parse_data
from nfkd.data import load_dataset
from nfkd.evaluation.distances import frechet_distance, sliced_wasserstein
from nfkd.evaluation.evaluate_flow import FlowEvaluator
from nfkd.evaluation.evaluate_run import evaluate_run, evaluated_gap
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Material
from nfkd.evaluation.evaluated_metrics import EVALUATED, GROUPS, choose_metrics
from nfkd.evaluation.features import LatentFeatures
from nfkd.evaluation.sample_metrics import draw_samples
from nfkd.flows.architectures import build_flow
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import EVALUATION, EvaluatedMetric, read_evaluations
from nfkd.runs.log import read_log
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_state, write_row
from tests.core.tiny import digits, moons

Shell = pytest.CaptureFixture[str]
FAST = ["likelihood", "mmd", "pit", "inverse", "layer_mse", "parameters"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "moons"
    nfkd.run(moons(seeds={"count": 2}), path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "moons"))


def find(values: Iterable[EvaluatedMetric], metric: str, stage: str = "student", seed: int = 1) -> EvaluatedMetric:
    return next(each for each in values if (each.metric, each.stage, each.seed) == (metric, stage, seed))


def test_every_flow_has_its_metrics_with_intervals_and_references(run: Path) -> None:
    shares: list[float] = []
    found = evaluate_run(run, FAST, on_progress=lambda share, _: shares.append(share))
    values = found.evaluation.values
    flows = [(each.stage, each.seed) for each in values if each.metric == "likelihood"]
    assert flows == [("teacher", 1), ("student", 1), ("baseline", 1), ("student", 2), ("baseline", 2)]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for each in values:
        assert each.low <= each.value <= each.high
        assert each.count == (1 if each.metric == "parameters" else 60)
        assert math.isnan(each.reference) == (each.metric == "parameters")
    assert not any(each.stage == "teacher" and each.metric.startswith("layer") for each in values)
    assert found.evaluation.data == "test"
    assert [each.metric for each in read_evaluations(run)[0].values] == [each.metric for each in values]


def test_fidelity_per_second_is_of_the_speed_in_the_same_table(run: Path) -> None:
    found = evaluate_run(run, ["fidelity_per_second", "log_p_correlation", "decode_per_second"]).evaluation.values
    values = {value.metric: value.value for value in found if value.stage == "student"}
    r, speed = values["log_p_correlation"], values["decode_per_second"]
    assert values["fidelity_per_second"] == pytest.approx(max(0.0, r) ** 2 * speed, rel=1e-12)


def test_the_likelihood_is_that_of_the_run(run: Path) -> None:
    values = evaluate_run(run, ["likelihood"]).evaluation.values
    for summary in open_run(run).summary:
        found = find(values, "likelihood", summary.stage, summary.seed)
        assert found.value == pytest.approx(summary.test, rel=1e-5)
        assert found.value - found.reference == pytest.approx(summary.train_test_gap, abs=1e-4)
        assert found.unit == summary.unit


def test_a_flow_that_is_compared_with_its_own_kind_of_samples_is_no_further_than_training_data(run: Path) -> None:
    own = open_run(run).load_teacher()
    rng = torch.Generator().manual_seed(3)
    samples = own.sample(400, generator=rng).numpy()
    file = run.parent / "teacher.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["a", "b"], *samples.tolist()])
    values = evaluate_run(run, ["mmd", "precision"], data=str(file)).evaluation.values
    for metric in ("mmd", "precision"):
        found = find(values, metric, "teacher")
        assert found.low <= found.reference <= found.high


def test_other_data_is_scaled_as_the_runs(run: Path) -> None:
    rows = np.random.default_rng(1).normal(0.3, 0.4, size=(100, 2))
    file = run.parent / "other.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["a", "b"], *rows.tolist()])
    found = evaluate_run(run, ["likelihood"], data=str(file)).evaluation
    other = load_dataset(parse_data(str(file)))
    test = other.units.to_data(torch.from_numpy(other.test.values[:]))
    expected = open_run(run).load_student().nll(test.float())
    assert found.data == str(file)
    value = find(found.values, "likelihood")
    assert (value.value, value.count) == (pytest.approx(float(expected.mean()), rel=1e-4), len(test))
    assert [each.data for each in read_evaluations(run)] == [str(file)]


@pytest.mark.parametrize("data", ["validation", "pinwheel", "nsf_moons", "own.toml", "experiment.toml"])
def test_kinds_presets_files_and_splits_are_data(run: Path, data: str) -> None:
    if data == "own.toml":
        data = str(run.parent / data)
        Path(data).write_text('kind = "rings"\ncount = 300\n')
    elif data == "experiment.toml":
        data = str(run / data)
    found = evaluate_run(run, ["likelihood"], data=data).evaluation
    assert found.data == data
    if data.endswith("experiment.toml"):
        own = evaluate_run(run, ["likelihood"]).evaluation
        assert find(found.values, "likelihood").value == pytest.approx(find(own.values, "likelihood").value)


def test_more_samples_than_test_examples(run: Path) -> None:
    values = evaluate_run(run, ["mmd", "same_noise", "pit"], samples=150).evaluation.values
    assert find(values, "same_noise").count == 150
    assert find(values, "pit").count == 60


def test_all_metrics_of_images(tmp_path: Path) -> None:
    path = tmp_path / "digits"
    nfkd.run(digits(training={"teacher_steps": 4, "student_steps": 4}), path)
    left_out = ("fid", "jacobi_iterations")  # need a file; need autoregressive flows
    timed = ("_ms", "_second")  # these take seconds
    names = [name for name in EVALUATED if name not in left_out and not name.endswith(timed)]
    found = evaluate_run(path, names)
    student = {each.metric for each in found.evaluation.values if each.stage == "student"}
    assert set(names) <= student
    assert any(name.startswith("layer_mse.level1.") for name in student)
    started = open_run(path).seeds[1].started
    assert started.features is not None
    assert found.evaluation.features == started.features.sha256 == read_evaluations(path)[0].features


def test_jacobi_iteration_of_flows_that_sample_token_by_token(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "maf"
    nfkd.run(moons(teacher={"kind": "maf", "steps": 2, "hidden": 8}), path)
    logged = [line.text for line in read_log(path)]
    assert sum("Seed 1: teacher: Jacobi iteration at tolerance 0.001" in message for message in logged) == 1
    assert not any("student: Jacobi" in message for message in logged)
    found = evaluate_run(path, ["jacobi"])
    assert {(each.metric, each.stage) for each in found.evaluation.values} == {
        (name, "teacher") for name in ("jacobi_ms", "jacobi_per_second", "jacobi_iterations")
    }
    iterations = find(found.evaluation.values, "jacobi_iterations", "teacher")
    assert 2 <= iterations.value <= 4  # two blocks of two features
    assert evaluate_run(run, ["jacobi", "parameters"]).notes == []
    with pytest.raises(RunError, match="jacobi_ms cannot be computed: Its samples take one pass"):
        evaluate_run(run, ["jacobi_ms"])


def test_the_gap_is_the_share_of_the_way_from_baseline_to_teacher() -> None:
    def value(stage: Role, number: float) -> EvaluatedMetric:
        return EvaluatedMetric(
            metric="sw", stage=stage, seed=1, value=number, low=0.0, high=0.1, count=9, reference=0.0
        )

    values = [value("teacher", 1.0), value("student", 1.5), value("baseline", 3.0)]
    gap = evaluated_gap(values, "sw")
    assert gap is not None
    assert gap.closed == pytest.approx(0.75)
    assert evaluated_gap(values, "pit") is None


# --- refused ----------------------------------------------------------------------------------------------------------


def test_names_and_groups_are_chosen_and_the_nearest_is_suggested() -> None:
    assert choose_metrics([]) == list(EVALUATED)
    assert choose_metrics(["cost", " pit"]) == ["pit", *GROUPS["cost"]]
    with pytest.raises(ConfigError, match="no metric precison; do you mean precision"):
        choose_metrics(["sw", "precison"])
    with pytest.raises(ConfigError, match=r"no metric \\x1bzzz; the groups are likelihood"):
        choose_metrics(["\x1bzzz"])


def test_an_unfinished_run_is_refused(run: Path) -> None:
    row = read_state(run).row
    write_row(run, replace(row, state="stopped"))
    with pytest.raises(RunError, match="is stopped, and metrics are added to finished runs"):
        evaluate_run(run, FAST)
    assert not (run / EVALUATION).exists()


def test_a_run_without_its_teacher_has_no_fidelity(run: Path) -> None:
    (run / "seed-1" / "teacher.safetensors").unlink()
    with pytest.raises(RunError, match=r"log_p_correlation cannot be computed.*no weights of its teacher"):
        evaluate_run(run, ["log_p_correlation"])
    with pytest.raises(RunError, match=r"fd cannot be computed.*no images.*no weights of a teacher"):
        evaluate_run(run, ["fd"])
    found = evaluate_run(run, ["likelihood", "fidelity"])
    assert {each.metric for each in found.evaluation.values} == {"likelihood"}
    assert len(found.notes) <= 2 * 2, "one for each flow and reason"
    assert any("same_noise" in note and "of the student were left out" in note for note in found.notes)


@pytest.mark.parametrize("samples", [-1, 7])
def test_too_few_samples_are_refused(run: Path, samples: int) -> None:
    with pytest.raises(ConfigError, match=f"--samples: {samples} samples are too few: give at least 8"):
        evaluate_run(run, FAST, samples=samples)


def test_too_few_examples_for_a_named_metric(run: Path) -> None:
    with pytest.raises(RunError, match=r"c2st cannot be computed: 20 examples and samples are compared, .* 40"):
        evaluate_run(run, ["c2st"], samples=20)
    assert "c2st" not in {each.metric for each in evaluate_run(run, ["mmd"], samples=20).evaluation.values}


def test_so_many_samples_that_the_memory_is_too_small(run: Path) -> None:
    with pytest.raises(ConfigError, match="GiB are free: give fewer"):
        evaluate_run(run, ["mmd"], samples=10_000_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [("digits", "does not fit.*1×8×8.*one of two moons 2"), ("nothing", "no data set 'nothing'"), ("x.csv", "x.csv")],
)
def test_data_that_does_not_fit_or_exist(run: Path, data: str, message: str) -> None:
    with pytest.raises((RunError, ConfigError), match=message):
        evaluate_run(run, ["likelihood"], data=data)


def test_a_metric_of_the_wrong_kind_of_data() -> None:
    config = moons().student
    dataset = load_dataset(moons().data)
    flow = EvaluatedFlow("student", 1, build_flow(config, (300,)), None, None, [])
    evaluator = FlowEvaluator(Material(dataset, dataset, 60, torch.device("cpu")), None)
    assert "has 300 values, and the Jacobian is computed for at most 256" in evaluator.why_not("log_det", flow)


def test_a_cancelled_evaluation_keeps_the_flows_that_are_complete(run: Path) -> None:
    done: list[str] = []
    with pytest.raises(RunError, match="cancelled"):
        evaluate_run(
            run,
            ["likelihood"],
            on_progress=lambda _, text: done.append(text),
            cancelled=lambda: any(text.startswith("student") for text in done),
        )
    assert {each.stage for each in read_evaluations(run)[0].values} == {"teacher"}


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_adds_columns_to_list_compare_and_show(run: Path, capsys: Shell) -> None:
    other = Path(shutil.copytree(run, run.parent / "second"))
    options = ["--metrics", "mmd,decode_ms,fidelity_per_second", "--format", "json"]
    assert main(["evaluate", str(run), str(other), *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["run"] for row in rows} == {"moons", "second"}
    metrics = [row["metric"] for row in rows if row["run"] == "moons"]
    assert len([metric for metric, _ in groupby(metrics)]) == len(set(metrics)) == 3, "flows of a metric are together"
    student = next(row for row in rows if (row["flow"], row["metric"], row["seed"]) == ("student", "mmd", 2))
    assert student["N"] == 60
    assert student["low"] <= student["value"] <= student["high"]
    columns = "name,student_mmd,student_decode_ms,fidelity_per_second"
    options = ["--where", "student_decode_ms > 0", "--sort", "fidelity_per_second", "--columns", columns]
    assert main(["list", str(run.parent), *options, "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[0]["fidelity_per_second"] <= listed[1]["fidelity_per_second"]
    values = [row["value"] for row in rows if (row["run"], row["flow"], row["metric"]) == ("moons", "student", "mmd")]
    assert next(row for row in listed if row["name"] == "moons")["student_mmd"] == pytest.approx(np.mean(values))
    assert main(["compare", str(run), str(other)]) == 0
    compared = capsys.readouterr().out
    assert "MMD, evaluated" in compared
    assert "fidelity per second, evaluated, samples/s" in compared
    assert main(["show", str(run)]) == 0
    assert "evaluated on test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "likelyhood"], "--metrics: there is no metric likelyhood; do you mean likelihood?"),
        (["--device", "mps"], "--device: this machine has no usable mps"),
        (["--device", "gpu"], "--device: must be 'auto', 'cpu', 'cuda' or 'mps', or a numbered GPU"),
    ],
)
def test_options_that_are_refused(run: Path, capsys: Shell, options: list[str], message: str) -> None:
    assert main(["evaluate", str(run), *options]) == 2
    assert message in capsys.readouterr().err


def test_runs_of_different_data_are_not_evaluated_on_one_data_set(run: Path, capsys: Shell) -> None:
    other = run.parent / "more"
    nfkd.run(moons(data={"count": 500}), other)
    assert main(["evaluate", str(run), str(other), "--data", "pinwheel"]) == 2
    assert "--data: moons has data.count = 400, more has 500" in capsys.readouterr().err
    assert main(["evaluate", str(run), str(other), "--metrics", "parameters"]) == 0


def test_a_damaged_evaluation_is_reported_and_the_run_is_still_listed(run: Path, capsys: Shell) -> None:
    (run / EVALUATION).write_text("{")
    assert main(["show", str(run)]) == 2
    assert "evaluation.json is damaged" in capsys.readouterr().err
    assert main(["list", str(run.parent), "--columns", "name,student.hidden", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "moons"


@pytest.mark.parametrize(("rows", "effect"), [([3], "leave them out"), ([3, 50, 99], "have no value")])
def test_a_few_samples_that_are_not_finite_are_left_out_with_their_classes(
    rows: list[int], effect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(DigitsConfig(class_labels=True))
    material = Material(dataset, dataset, 200, torch.device("cpu"))
    config, shape, context_features = GlowConfig(levels=1, steps=1, hidden=4), (1, 8, 8), dataset.context_features
    student, teacher = (
        build_flow(
            config, shape, context_features=context_features, generator=torch.Generator().manual_seed(seed)
        ).eval()
        for seed in (1, 2)
    )
    sample = student.sample

    def broken(count: int, **named: Any) -> torch.Tensor:
        return sample(count, **named).index_fill(0, torch.tensor(rows), math.nan)

    monkeypatch.setattr(student, "sample", broken)
    evaluator = FlowEvaluator(material, None)
    evaluated = EvaluatedFlow("student", 1, student, teacher, teacher, [])
    found = evaluator.measure("samples", ["sw", "fd"], evaluated) | evaluator.measure(
        "fidelity", ["same_noise"], evaluated
    )
    kept, context = np.delete(np.arange(200), rows), material.test.contexts(200)
    assert context is not None
    monkeypatch.setattr(student, "sample", sample)
    samples, same = (draw_samples(each, material, seed=1)[kept] for each in (student, teacher))
    features = LatentFeatures(teacher)
    real, drawn = (x.flatten(1).double().numpy() for x in (material.test.x, samples))
    expected = {
        "sw": sliced_wasserstein(real, drawn, np.random.default_rng(0)),
        "fd": frechet_distance(features(material.test.x, context), features(samples, context[kept])),
        "same_noise": float((samples.double() - same.double()).abs().mean()),
    }
    for name, value in expected.items():
        wanted = value if effect == "leave them out" else math.nan
        assert found[name].estimate.value == pytest.approx(wanted, rel=1e-6, nan_ok=True), name
    verb = "is" if len(rows) == 1 else "are"
    note = f"{len(rows)} of 200 samples of the student in seed 1 {verb} not finite: the metrics of samples {effect}"
    assert evaluator.notes == [note]
