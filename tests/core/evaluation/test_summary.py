"""Figures of a stage: distances of samples, noise limits, the train-test gap and the distance to the teacher."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import GlowConfig, TwoMoonsConfig
from nfkd.config.flows import Glow1DConfig
from nfkd.data import Dataset, DataSplit, load_dataset
from nfkd.evaluation.distances import mmd, precision_recall, sliced_wasserstein
from nfkd.evaluation.likelihood import example_nll
from nfkd.evaluation.reference import Reference, sample_measures
from nfkd.evaluation.summary import Trained, no_same_noise, summarise
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.protocol.events import StageSummary

RNG = np.random.default_rng(3)


def moons(**changes: Any) -> Dataset:
    return dataclasses.replace(load_dataset(TwoMoonsConfig(count=400)), **changes)


def flow(seed: int, steps: int = 2) -> Flow:
    """Return a flow whose weights are all perturbed."""
    generator = torch.Generator().manual_seed(seed)
    built = build_flow(Glow1DConfig(steps=steps, hidden=4), (2,), generator=generator)
    built.initialize(torch.randn(64, 2, generator=generator))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return built.eval()


def figures(evaluated: Flow, dataset: Dataset, teacher: Flow | None = None) -> StageSummary:
    generator = torch.Generator().manual_seed(11)
    return summarise(
        Trained(evaluated, steps=1, best_step=1, seconds=1.0),
        Reference.of(dataset),
        dataset.train,
        stage="student",
        seed=1,
        multiply_adds=1,
        generator=generator,
        teacher=teacher,
    )


def test_samples_are_compared_with_as_many_test_examples() -> None:
    dataset, evaluated = moons(), flow(1)
    found = figures(evaluated, dataset)
    real = dataset.test.values[:].astype(np.float64)
    samples = evaluated.sample(len(real), generator=torch.Generator().manual_seed(11)).double().numpy()
    assert found.sw == pytest.approx(sliced_wasserstein(real, samples, np.random.default_rng(0)))
    assert found.mmd == pytest.approx(mmd(real, samples))
    assert (found.precision, found.recall) == precision_recall(real, samples)


def test_the_train_test_gap_is_a_difference_of_means_over_equally_many_examples() -> None:
    dataset, evaluated = moons(), flow(1)
    few = dataclasses.replace(dataset, train=dataset.train.take(slice(20)))
    expected = example_nll(evaluated, dataset, dataset.test).mean() - example_nll(evaluated, few, few.train).mean()
    assert figures(evaluated, few).train_test_gap == pytest.approx(expected)
    same = dataclasses.replace(dataset, train=dataset.test)
    assert figures(evaluated, same).train_test_gap == 0.0


def test_the_train_test_gap_of_weighted_data_is_a_weighted_mean() -> None:
    dataset, evaluated = moons(), flow(1)
    weights = np.array([3.0, 1.0, 2.0, 2.0, 4.0, 1.0, 1.0, 1.0], np.float32)
    train = dataclasses.replace(dataset.train.take(slice(8)), weights=weights)
    plain = example_nll(evaluated, dataset, dataset.train.take(slice(8)))
    expected = example_nll(evaluated, dataset, dataset.test).mean() - np.average(plain, weights=weights)
    assert figures(evaluated, dataclasses.replace(dataset, train=train)).train_test_gap == pytest.approx(expected)


def test_the_distance_to_the_teacher_is_that_of_samples_from_the_same_noise() -> None:
    dataset, student, teacher = moons(), flow(1), flow(2, steps=3)
    noise = student.draw_noise(len(dataset.test), torch.Generator().manual_seed(11))
    with torch.no_grad():
        expected = (student.synthesize(noise) - teacher.synthesize(noise)).abs().mean()
    assert figures(student, dataset, teacher).same_noise == pytest.approx(float(expected), rel=1e-5)
    assert figures(student, dataset, student).same_noise == 0.0
    assert math.isnan(figures(student, dataset).same_noise)


def test_flows_with_other_latents_share_no_noise() -> None:
    one, two = (build_flow(GlowConfig(levels=levels, steps=1, hidden=4), (1, 8, 8)) for levels in (1, 2))
    assert "different shapes" in no_same_noise(one, two)
    assert no_same_noise(one, one) == ""
    two.unsupported["synthesis"] = "it has no inverse"
    assert no_same_noise(two, two) == "the teacher cannot sample: it has no inverse"


def test_a_flow_that_cannot_sample_has_no_figures_of_samples() -> None:
    evaluated = flow(1)
    evaluated.unsupported["synthesis"] = "it has no inverse"
    found = figures(evaluated, moons(), flow(2))
    assert all(math.isnan(getattr(found, name)) for name in ("c2st", "sw", "mmd", "precision", "recall", "same_noise"))
    assert math.isfinite(found.train_test_gap)


@pytest.mark.parametrize(("rows", "known"), [([0], True), ([7, 90], False)], ids=["one of 150", "more than 1 %"])
def test_a_few_samples_that_are_not_finite_are_left_out(
    rows: list[int], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, evaluated, teacher = load_dataset(TwoMoonsConfig(count=1000)), flow(1), flow(2)
    real = dataset.test.values[:].astype(np.float64)
    samples, same = (
        each.sample(len(real), generator=torch.Generator().manual_seed(11)).double().numpy()
        for each in (evaluated, teacher)
    )
    sample = evaluated.sample
    monkeypatch.setattr(
        evaluated, "sample", lambda count, **named: sample(count, **named).index_fill(0, torch.tensor(rows), math.nan)
    )
    found = figures(evaluated, dataset, teacher)
    kept = np.delete(samples, rows, 0)
    assert found.not_finite == len(rows)
    expected = [
        sliced_wasserstein(real, kept, np.random.default_rng(0)),
        mmd(real, kept),
        *precision_recall(real, kept),
        np.abs(kept - np.delete(same, rows, 0)).mean(),
    ]
    if not known:
        expected = [math.nan] * len(expected)
    assert [found.sw, found.mmd, found.precision, found.recall, found.same_noise] == pytest.approx(
        expected, rel=1e-6, nan_ok=True
    )
    assert math.isfinite(found.c2st) == known


def test_unusable_or_few_samples_have_no_measures() -> None:
    real = RNG.normal(size=(20, 2))
    broken = np.where(np.arange(20)[:, None] == 7, np.inf, real)
    assert all(map(math.isnan, sample_measures(real, broken).values()))
    assert all(map(math.isnan, sample_measures(real, real[:7]).values()))


def test_the_floors_of_one_distribution_are_those_of_a_perfect_model() -> None:
    values = RNG.normal(size=(6000, 3)).astype(np.float32)
    train, validation, test = map(DataSplit, np.split(values, [3500, 3600]))
    reference = Reference.of(Dataset("normal", train, validation, test))
    assert len(reference.train) == len(reference.test) == 2000
    floors = reference.floors
    assert floors["sw"] < 0.05
    assert abs(floors["mmd"]) < 2e-3
    assert floors["precision"] > 0.9
    assert floors["recall"] > 0.9
    assert reference.measure(torch.from_numpy(values[:2000] + 1))["sw"] > 10 * floors["sw"]


def test_the_reference_is_the_same_in_every_run_and_takes_the_smaller_split() -> None:
    dataset = moons(train=moons().train.take(slice(12)))
    first, second = Reference.of(dataset), Reference.of(dataset)
    assert torch.equal(first.test.x, second.test.x)
    assert len(first.train) == 12
    test = dataset.test.values[:12].astype(np.float64)
    assert first.floors["mmd"] == pytest.approx(mmd(test, dataset.train.values[:].astype(np.float64)))
