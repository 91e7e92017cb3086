"""Runs on data with a context and with weights, from the batches to the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ILKDConfig, LKDConfig, NLLConfig
from nfkd.data import Batch, DataSplit, load_dataset
from nfkd.distillation.objectives.ilkd import ILKD
from nfkd.distillation.objectives.lkd import LKD
from nfkd.distillation.objectives.nll import NLL
from nfkd.distillation.passes import StepPasses
from nfkd.engine.explore import Explorer
from nfkd.evaluation.interpolation import interpolate
from nfkd.evaluation.likelihood import example_nll, noisy
from nfkd.flows.flow import Latents, Pass
from nfkd.protocol import events
from nfkd.protocol.inspection import Origin, ReadLayers
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import Interpolate, Sample
from nfkd.runs.errors import RunError
from tests.core.tiny import digits

CONDITIONAL = {"data": {"class_labels": True}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nfkd.runs.reader.RunRecord:  # type: ignore[name-defined]
    return nfkd.run(digits(**CONDITIONAL), tmp_path_factory.mktemp("conditional") / "run")


def test_labels_reach_all_flows_and_their_results(run) -> None:
    dataset = load_dataset(run.config.data)
    assert dataset.context_features == 10
    assert [summary.stage for summary in run.summary] == ["teacher", "student", "baseline"]
    for summary, load in zip(run.summary, (run.load_teacher, run.load_student, run.load_baseline), strict=True):
        flow, test = load().scaled, noisy(dataset, dataset.test)
        assert flow.context_features == 10
        with torch.no_grad():
            log_prob = flow.log_prob(test.x, test.context).double().mean().item()
        assert summary.test == pytest.approx(-log_prob / (64 * np.log(2)) + np.log2(17), rel=1e-5)


def test_a_loaded_flow_takes_and_gives_levels(run) -> None:
    dataset = load_dataset(run.config.data)
    levels, labels = (torch.from_numpy(np.array(each)) for each in (dataset.test.values[:], dataset.test.context))
    results = {summary.stage: summary for summary in run.summary}
    flow = run.load_student()
    assert flow.unit == results["student"].unit == "bits/dim"
    assert flow.nll(levels, labels).mean().item() == pytest.approx(results["student"].test, rel=1e-9)
    with torch.no_grad():
        nats = -flow.log_prob(levels.double(), labels.long()).double().mean().item()
    assert nats / (64 * np.log(2)) == pytest.approx(results["student"].test, rel=1e-5)
    drawn = flow.sample(10, generator=torch.Generator().manual_seed(0), context=labels[:10])
    assert drawn.dtype == torch.uint8
    assert int(drawn.max()) <= 16
    assert abs(drawn.double().mean() - levels.double().mean()) < levels.double().std()
    back = flow.decode(flow.encode(levels[:10], labels[:10]), labels[:10])
    assert torch.equal(back.floor().to(levels.dtype), levels[:10])  # with the noise


def test_requests_use_the_context_of_the_examples(run) -> None:
    explorer, path, seed = Explorer(), str(run.path), run.config.seeds.first
    drawn = explorer.answer(Sample(run=path, seed=seed, count=300, temperature=0.7))
    assert {role: samples.shape for role, samples in drawn.samples.items()} == dict.fromkeys(
        ("teacher", "student", "baseline"), (300, 1, 8, 8)
    )
    dataset = load_dataset(run.config.data)
    examples = noisy(dataset, dataset.validation)
    walked = explorer.answer(
        Interpolate(
            run=path, seed=seed, first=Origin("validation", 3), second=Origin("validation", 8), mode="linear", steps=5
        )
    )
    for path_of in walked.paths.values():
        np.testing.assert_allclose(path_of[0], examples.x[3], atol=1e-4)
        np.testing.assert_allclose(path_of[-1], examples.x[8], atol=1e-4)
    traced = explorer.answer(ReadLayers(run=path, seed=seed, origin=Origin("validation", 4))).flows["student"]
    state = Origin("scaled", layer="level1.step1", values=np.zeros((4, 4, 4)))
    with pytest.raises(RunError, match="need a context"):
        explorer.answer(ReadLayers(path, seed=seed, origin=state))
    one = examples.take([4])
    with torch.no_grad():
        assert traced.log_prob == pytest.approx(run.load_student().scaled.log_prob(one.x, one.context).item(), rel=1e-5)


def test_an_interpolation_between_classes_interpolates_the_context(run) -> None:
    flow, dataset = run.load_student().scaled, load_dataset(run.config.data)
    ends = noisy(dataset, dataset.validation).take(slice(2))
    alpha = torch.tensor([0.0, 0.5, 1.0])
    path = interpolate(flow, ends.take([0]), ends.take([1]), alpha, "linear")[0]
    middle = (flow.encode(ends.x, ends.context).flat()).mean(0)
    sizes = [torch.Size(shape).numel() for shape in flow.latent_shapes]
    parts = [part.reshape(1, *shape) for part, shape in zip(middle.split(sizes), flow.latent_shapes, strict=True)]
    assert ends.context is not None
    with torch.no_grad():
        expected = flow.decode(Latents(tuple(parts), torch.zeros(1)), ends.context.mean(0, keepdim=True))[0]
    torch.testing.assert_close(path[1], expected, rtol=1e-4, atol=1e-4)


def test_weights_apply_to_each_example() -> None:
    weights = torch.tensor([0.5, 1.5])
    zero = torch.zeros(2)

    def made(z: list[list[float]], h: list[list[float]], log_prob: list[float]) -> Pass:
        return Pass(torch.tensor(log_prob), Latents((torch.tensor(z),), zero), {"a": (torch.tensor(h), zero)})

    passes = StepPasses(
        student=made([[1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [-3.0, -5.0]),
        teacher=made([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [3.0, 1.0]], [0.0, 0.0]),
        weights=weights,
    )

    def nats(log_prob: torch.Tensor) -> torch.Tensor:
        return -log_prob

    pairs = [LayerPair(student="a", teacher="a", summary="")]
    assert NLL(NLLConfig(), nll_loss=nats)(passes).item() == pytest.approx((0.5 * 3 + 1.5 * 5) / 2)
    assert LKD(LKDConfig(), nll_loss=nats)(passes).item() == pytest.approx((0.5 * 2 + 1.5 * 1) / 2)
    assert ILKD(ILKDConfig(), nll_loss=nats, pairs=pairs)(passes).item() == pytest.approx((0.5 * 0 + 1.5 * 2) / 2)


def test_the_nll_of_weighted_data_is_the_weighted_mean(run) -> None:
    dataset, flow = load_dataset(run.config.data), run.load_student().scaled
    plain = example_nll(flow, dataset, dataset.test)
    weights = np.random.default_rng(0).uniform(0, 2, len(plain)).astype(np.float32)
    weighted = example_nll(flow, dataset, DataSplit(dataset.test.values, dataset.test.context, weights))
    np.testing.assert_allclose(weighted.mean(), np.average(plain, weights=weights) * weights.mean(), rtol=1e-6)


def test_contexts_repeat_for_more_samples_than_examples() -> None:
    batch = Batch(torch.zeros(3, 2), torch.arange(6.0).reshape(3, 2))
    contexts = batch.contexts(7)
    assert contexts is not None
    torch.testing.assert_close(contexts[:, 0], torch.tensor([0.0, 2, 4, 0, 2, 4, 0]))
    assert Batch(torch.zeros(3, 2)).contexts(7) is None


def test_a_conditional_run_publishes_any_number_of_samples(tmp_path: Path) -> None:
    seen: list[events.RunEvent] = []
    few = {"teacher_steps": 1, "student_steps": 1, "baseline": False}
    nfkd.run(digits(**CONDITIONAL, training=few, monitor={"sample_count": 300}), tmp_path / "run", seen.append)
    drawn = [event for event in seen if isinstance(event, events.SamplesDrawn)]
    assert drawn
    assert all(event.samples.shape == (300, 1, 8, 8) for event in drawn)
