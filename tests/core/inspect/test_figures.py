"""Figures of examples, likelihoods and tables, against SciPy and the flows themselves."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist

import nfkd
from nfkd.config import TwoMoonsConfig
from nfkd.config.toml import toml_text
from nfkd.data import Batch
from nfkd.evaluation.likelihood import noisy
from nfkd.evaluation.quality import c2st
from nfkd.inspect import OpenedRun, Origin, column_tests, likelihood, nearest, sample, table
from nfkd.inspect.origin import draw_samples
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run


def scaled_train(opened: OpenedRun) -> np.ndarray:
    values = np.asarray(opened.dataset.train.values[:], float)
    return (values + 0.5) / opened.dataset.levels if opened.dataset.levels else values


def test_the_nearest_training_examples_are_those_of_a_full_search(
    points: OpenedRun, images: OpenedRun, columns: OpenedRun
) -> None:
    for opened in (points, images, columns):
        train = scaled_train(opened).reshape(len(opened.dataset.train), -1)
        example = noisy(opened.dataset, opened.dataset.validation).x[7].double().numpy().reshape(1, -1)
        distances = cdist(example, train)[0]
        indices, found = nearest(opened, Origin("validation", 7), count=5)
        np.testing.assert_allclose(found, np.sort(distances)[:5], rtol=1e-5)
        np.testing.assert_allclose(distances[indices], found, rtol=1e-5)
        details = sample(opened, Origin("validation", 7))
        assert details.nearest_index == indices[0]
        assert details.distance == pytest.approx(found[0])


def test_an_example_that_is_not_finite_has_no_nearest_one(points: OpenedRun) -> None:
    broken = Origin("scaled", values=np.array([np.nan, 0.0]))
    details = sample(points, broken)
    assert details.nearest_index == -1
    assert np.isnan(details.distance)
    assert all(np.isnan(figures.log_prob) for figures in details.flows.values())
    with pytest.raises(RunError, match="not finite"):
        nearest(points, broken)


def test_an_example_has_its_log_p_percentile_and_counterparts(points: OpenedRun, images: OpenedRun) -> None:
    for opened in (points, images):
        details = sample(opened, Origin("sample", 9, role="student", temperature=0.8, noise_seed=5))
        student = opened.flows["student"]
        x = student.sample(64, 0.8, torch.Generator().manual_seed(5))[9:10]
        np.testing.assert_allclose(details.example, opened.dataset.to_picture(x)[0], atol=1e-6)
        assert details.reference == "student"
        noise = student.noise_of(x)
        norm = np.linalg.norm(torch.cat([part.flatten() for part in noise]).detach())
        drawn = student.draw_noise(64, torch.Generator().manual_seed(5))
        expected_norm = 0.8 * np.linalg.norm(torch.cat([part[9].flatten() for part in drawn]))
        assert details.flows["student"].latent_norm == pytest.approx(norm, rel=1e-4)
        assert norm == pytest.approx(expected_norm, rel=1e-2)
        for role, figures in details.flows.items():
            flow = opened.flows[role]
            test = noisy(opened.dataset, opened.dataset.test.take(opened.data.subset("test").indices[:1000]))
            with torch.no_grad():
                value, tested = float(flow.log_prob(x)), flow.log_prob(test.x).numpy()
            assert figures.log_prob == pytest.approx(value, rel=1e-5)
            assert figures.percentile == pytest.approx(stats.percentileofscore(tested, value, "strict"), abs=1e-6)
            assert figures.tested == len(tested)
            with torch.no_grad():
                expected = opened.dataset.to_picture(flow.synthesize(noise))[0]
            np.testing.assert_allclose(figures.counterpart, expected, atol=1e-4)


def test_likelihoods_are_those_of_the_flows_and_in_order(images: OpenedRun) -> None:
    report = likelihood(images, count=40)
    assert report.sets == ["train", "test"]
    indices = images.data.subset("test").indices[:40]
    assert len(set(indices.tolist())) == len(indices)
    np.testing.assert_array_equal(report.test_indices, indices)
    for role, sets in report.log_prob.items():
        flow = images.flows[role]
        batch = noisy(images.dataset, images.dataset.test.take(indices))
        with torch.no_grad():
            np.testing.assert_allclose(sets["test"], flow.log_prob(batch.x), rtol=1e-5)
            nll = images.dataset.nll(torch.from_numpy(sets["test"])).numpy()
        np.testing.assert_allclose(report.nll_offset - report.nll_scale * sets["test"], nll, rtol=1e-6)
        order = np.argsort(sets["test"])
        np.testing.assert_array_equal(report.extremes[role].least, indices[order[:8]])
        np.testing.assert_array_equal(report.extremes[role].most, indices[order[::-1][:8]])
        np.testing.assert_allclose(report.extremes[role].most_examples[0], batch.x[order[-1]].clamp(0, 1), atol=1e-6)
    assert report.unit == "bits/dim"


def test_quantiles_of_latents_are_numpys_at_scipys_levels(points: OpenedRun) -> None:
    report = likelihood(points)
    test = points.data.subset("test").batch
    levels = stats.norm.cdf(report.quantiles)
    np.testing.assert_allclose(levels, np.arange(1, 200) / 200)
    for role, quantiles in report.latents.items():
        latents = points.flows[role].encode(test.x).flat().detach().numpy()
        np.testing.assert_allclose(quantiles, np.quantile(latents, levels), rtol=1e-4, atol=1e-5)


def test_training_examples_are_those_that_a_flow_has_seen(points: OpenedRun) -> None:
    config = points.data.config.replace(training={"student_examples": 25})
    data = replace(points.data, config=config, _subsets={})
    report = likelihood(replace(points, data=data, _log_prob=WeakKeyDictionary()))
    assert {role: len(sets["train"]) for role, sets in report.log_prob.items()} == {
        "teacher": len(points.dataset.train), "student": 25, "baseline": 25,
    }  # fmt: skip
    seen = points.dataset.with_training_examples(25).train.values[:]
    with torch.no_grad():
        expected = points.flows["student"].log_prob(torch.from_numpy(np.array(seen)))
    np.testing.assert_allclose(np.sort(report.log_prob["student"]["train"]), np.sort(expected), rtol=1e-5)


def test_a_flow_whose_latents_are_not_finite_has_no_quantiles(points: OpenedRun) -> None:
    broken = copy.deepcopy(points.flows["student"])
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(torch.nan)
    report = likelihood(replace(points, flows={"student": broken}))
    assert np.isnan(report.latents["student"]).all()
    assert np.isnan(report.log_prob["student"]["test"]).all()
    assert not len(report.extremes["student"].most)
    rows = table(replace(points, flows={"student": broken}), count=20)
    assert rows.dropped["student"].tolist() == [20, 20]
    assert np.isnan(rows.ks["student"]).all()


def test_a_second_data_set_is_scaled_as_the_runs(points: OpenedRun, images: OpenedRun, columns: OpenedRun) -> None:
    text = toml_text(TwoMoonsConfig(count=400, noise=0.3))
    report = likelihood(points, second=text)
    assert len(report.sets) == 3
    name = report.sets[2]
    assert name not in ("train", "test")
    means = {each: report.log_prob["teacher"][each].mean() for each in report.sets}
    assert means[name] < means["test"], "noisier points are less likely"
    same = likelihood(columns, second=toml_text(columns.data.config.data))
    indices = columns.data.subset("test").indices
    again = same.log_prob["student"][same.sets[2]]  # all test rows in their order
    np.testing.assert_allclose(again[indices], same.log_prob["student"]["test"], rtol=1e-4)
    for opened in (images, columns):
        with pytest.raises(RunError, match="does not fit"):
            likelihood(opened, second=text)


def test_tables_are_in_the_units_of_the_file_with_scipys_test(columns: OpenedRun, images: OpenedRun) -> None:
    reply = table(columns, count=200, noise_seed=4)
    assert reply.columns == ["mass", "width", "angle"]
    config = columns.data.config.data
    values = np.loadtxt(config.path, delimiter=",", skiprows=1)  # type: ignore[union-attr]
    for row in reply.data:
        assert np.abs(values - row).max(axis=1).min() < 1e-3 * np.abs(row).max()
    record = open_run(columns.run)
    expected = record.load_student().sample(200, generator=torch.Generator().manual_seed(4))
    np.testing.assert_allclose(reply.samples["student"], expected, rtol=1e-4, atol=1e-6)
    for role, rows in reply.samples.items():
        for column in range(3):
            result: Any = stats.ks_2samp(reply.data[:, column], rows[:, column], method="asymp")
            assert reply.ks[role][column] == pytest.approx(result.statistic)
            assert reply.ks_p[role][column] == pytest.approx(result.pvalue)
    tests = column_tests(columns, [2], count=200, noise_seed=4)
    assert tests.c2st["student"][0] == pytest.approx(c2st(reply.data[:, 2], reply.samples["student"][:, 2]))
    with pytest.raises(RunError, match="no table"):
        table(images)
    with pytest.raises(RunError, match="no such column"):
        column_tests(columns, [3])
    with pytest.raises(RunError, match="too large"):
        column_tests(columns, range(9))


def test_single_samples_that_are_not_finite_leave_the_c2st_of_the_others(
    columns: OpenedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw_samples

    def damaged(*args: Any) -> Batch:
        batch = drawn(*args)
        batch.x[3, 0] = torch.inf
        return batch

    monkeypatch.setattr("nfkd.inspect.table_rows.draw_samples", damaged)
    rows, tests = table(columns, count=200), column_tests(columns, [0], count=200)
    for role, samples in rows.samples.items():
        kept = samples[np.isfinite(samples[:, 0]), 0]
        assert len(kept) == 199
        assert tests.c2st[role][0] == pytest.approx(c2st(rows.data[:, 0], kept))


def test_a_run_without_weights_and_a_missing_run_are_refused(tmp_path: object) -> None:
    with pytest.raises(RunError):
        nfkd.inspect.layers(f"{tmp_path}/nothing", Origin("test", 0))
