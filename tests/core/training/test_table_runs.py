"""Runs on tables with context and weight columns: results, samples, and what commands show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.engine.explore import Explorer
from nfkd.evaluation.likelihood import bootstrap_half_width, noisy
from nfkd.protocol.events import Event, SeedStarted
from nfkd.protocol.inspection import Origin, ReadLayers
from nfkd.protocol.requests import Interpolate, Sample
from nfkd.runs.log import read_log
from tests.core.tiny import moons

ROWS = 400


def rich(path: Path) -> str:
    """Write a table like that of a particle detector: targets, three context columns, and weights, some negative."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(ROWS, 3))
    targets = np.stack([2 * given[:, 0], 100 + 5 * given[:, 1] - given[:, 2]], axis=1) + rng.normal(size=(ROWS, 2))
    weights = np.where(rng.random(ROWS) < 0.2, -0.3, 1.1)
    names = "RichDLLk,RichDLLp,P,Eta,nTracks,sWeight"
    np.savetxt(path, np.hstack([targets, given, weights[:, None]]), "%.9g", ",", header=names, comments="")
    return str(path)


def experiment(folder: Path, **data: object) -> ExperimentConfig:
    columns = {"columns": ["RichDLLk", "RichDLLp"], "context": ["P", "Eta", "nTracks"], "weight": "sWeight"}
    table = {"kind": "table", "path": rich(folder / "rich.csv")} | columns | data
    return ExperimentConfig.from_dict(moons().model_dump(mode="json") | {"data": table})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nfkd.runs.reader.RunRecord:  # type: ignore[name-defined]
    folder = tmp_path_factory.mktemp("rich")
    return nfkd.run(experiment(folder), folder / "run")


def test_results_are_weighted_and_in_the_units_of_the_file(run) -> None:
    dataset = load_dataset(run.config.data)
    assert dataset.context_features == 3
    raw = np.loadtxt(run.config.data.path, delimiter=",", skiprows=1)
    order = np.random.default_rng(0).permutation(ROWS)
    test, train = raw[order[60:120]], raw[order[120:]]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scaled = torch.from_numpy(((test - mean) / deviation).astype(np.float32))
    weights = test[:, 5] / test[:, 5].mean()
    for summary, load in zip(run.summary, (run.load_teacher, run.load_student, run.load_baseline), strict=True):
        with torch.no_grad():
            log_prob = load().scaled.log_prob(scaled[:, :2], scaled[:, 2:5]).double().numpy()
        original = -(log_prob - np.log(deviation[:2]).sum())  # dx' = dx/deviation
        assert summary.unit == "nats"
        assert summary.test == pytest.approx(np.mean(weights * original), rel=1e-4)
        assert summary.test_error == pytest.approx(bootstrap_half_width(weights * original), rel=1e-3)


def test_a_loaded_flow_works_in_the_units_of_the_file(run) -> None:
    """Use rows and context from the file: their weighted NLL is the result, and samples resemble them."""
    raw = np.loadtxt(run.config.data.path, delimiter=",", skiprows=1)
    test = raw[np.random.default_rng(0).permutation(ROWS)[60:120]]
    rows, given, weights = torch.from_numpy(test[:, :2]), torch.from_numpy(test[:, 2:5]), test[:, 5] / test[:, 5].mean()
    for summary, load in zip(run.summary, (run.load_teacher, run.load_student, run.load_baseline), strict=True):
        flow = load()
        assert flow.unit == summary.unit == "nats"
        assert np.mean(weights * flow.nll(rows, given).numpy()) == pytest.approx(summary.test, rel=1e-6)
        with torch.no_grad():
            single = -flow.log_prob(rows.float(), given.float()).double().numpy()
        assert np.mean(weights * single) == pytest.approx(summary.test, rel=1e-4)
        few = torch.from_numpy(raw[:, 2:5])
        drawn = flow.sample(ROWS, generator=torch.Generator().manual_seed(0), context=few).double().numpy()
        np.testing.assert_allclose(drawn.mean(axis=0), raw[:, :2].mean(axis=0), atol=raw[:, :2].std(axis=0).max())
        torch.testing.assert_close(flow.decode(flow.encode(rows, given), given).double(), rows, rtol=1e-5, atol=1e-4)


def test_samples_are_drawn_for_the_context_of_the_rows(run) -> None:
    explorer, path, seed = Explorer(), str(run.path), run.config.seeds.first
    drawn = explorer.answer(Sample(run=path, seed=seed, count=100, temperature=1.0))
    assert {role: samples.shape for role, samples in drawn.samples.items()} == dict.fromkeys(
        ("teacher", "student", "baseline"), (100, 2)
    )
    assert not drawn.densities  # a density plot would need one fixed context
    dataset = load_dataset(run.config.data)
    examples = noisy(dataset, dataset.validation)
    raw = np.loadtxt(run.config.data.path, delimiter=",", skiprows=1)
    rows = raw[np.random.default_rng(0).permutation(ROWS)[:60], :2]
    np.testing.assert_allclose(drawn.real, rows, rtol=1e-5, atol=1e-5)
    walked = explorer.answer(
        Interpolate(
            run=path, seed=seed, first=Origin("validation", 1), second=Origin("validation", 2), mode="linear", steps=3
        )
    )
    for walk in walked.paths.values():
        np.testing.assert_allclose(walk[[0, -1]], rows[[1, 2]], atol=1e-3)
    traced = explorer.answer(ReadLayers(run=path, seed=seed, origin=Origin("validation", 0))).flows["student"]
    with torch.no_grad():
        one = examples.take([0])
        assert traced.log_prob == pytest.approx(run.load_student().scaled.log_prob(one.x, one.context).item(), rel=1e-5)


def test_scaled_units_are_named_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = experiment(tmp_path, scaling="quantile", context=[], weight="", columns=["RichDLLk", "RichDLLp", "P"])
    seen: list[Event] = []
    record = nfkd.run(config, tmp_path / "runs" / "one", on_event=seen.append)
    assert {summary.unit for summary in record.summary} == {"nats (scaled)"}
    names = ["RichDLLk", "RichDLLp", "P"]  # of pictures, which are in the units of the file
    assert [event.columns for event in seen if isinstance(event, SeedStarted)] == [names]
    student, results = record.load_student(), {summary.stage: summary.test for summary in record.summary}
    raw = np.loadtxt(tmp_path / "rich.csv", delimiter=",", skiprows=1)
    test = torch.from_numpy(raw[np.random.default_rng(0).permutation(ROWS)[60:120], :3])
    assert student.unit == "nats (scaled)"
    assert -student.log_prob(test).mean().item() == pytest.approx(results["student"], rel=1e-5)
    drawn = student.sample(200).double().numpy()
    assert (drawn >= raw[:, :3].min(axis=0) - 1e-4).all()
    assert (drawn <= raw[:, :3].max(axis=0) + 1e-4).all()
    assert main(["show", str(tmp_path / "runs" / "one")]) == 0
    assert "test nats (scaled)" in capsys.readouterr().out
    assert main(["list", str(tmp_path / "runs")]) == 0
    assert "nats (scaled)" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "runs" / "one"), "--csv", "--figures", "--out", str(tmp_path / "out")]) == 0
    text = "".join(path.read_text() for path in sorted((tmp_path / "out").rglob("*.csv")))
    assert "test (nats (scaled))" in text


def test_the_log_says_how_a_table_was_read_and_what_is_not_used(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{x:.4f};{y:.4f};label".replace(".", ",") for x, y in rng.normal(size=(200, 2))]
    (tmp_path / "t.csv").write_text("\n".join(["x;y;kind", *rows]))
    table = {"kind": "table", "path": str(tmp_path / "t.csv")}
    record = nfkd.run(ExperimentConfig.from_dict(moons().model_dump(mode="json") | {"data": table}), tmp_path / "run")
    log = [line.text for line in read_log(record.path)]
    assert any("separated by ;, decimal comma" in line for line in log)
    assert any(line.startswith("data.columns: not used: kind (has 'label' in row 1") for line in log)
