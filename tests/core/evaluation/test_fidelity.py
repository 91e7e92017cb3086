"""Fidelity to a teacher and cost: closed forms, SciPy, and how often an interval covers a correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from nfkd.config import TwoMoonsConfig
from nfkd.config.flows import Glow1DConfig
from nfkd.data import load_dataset
from nfkd.evaluation import throughput
from nfkd.evaluation.cost_metrics import cost_estimates
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Material, Measured
from nfkd.evaluation.evaluated_metrics import GROUPS
from nfkd.evaluation.fidelity import correlation, fidelity_per_second, measure_fidelity
from nfkd.evaluation.intervals import Estimate
from nfkd.evaluation.peak_memory import peak_memory
from nfkd.evaluation.sample_metrics import draw_samples
from nfkd.evaluation.throughput import timings
from nfkd.flows.architectures import build_flow
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair

CPU = torch.device("cpu")
CONFIG = Glow1DConfig(steps=2, hidden=4)
PAIRS = [
    LayerPair(student="step1", teacher="step1", summary="", weight=1.0),
    LayerPair(student="step2", teacher="step2", summary="", weight=3.0),
]


def material() -> Material:
    dataset = load_dataset(TwoMoonsConfig(count=400))
    return Material(dataset, dataset, 60, CPU)


def flow(seed: int) -> Flow:
    generator = torch.Generator().manual_seed(seed)
    built = build_flow(CONFIG, (2,), generator=generator)
    built.initialize(torch.randn(64, 2, generator=generator))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return built.eval().requires_grad_(requires_grad=False)


def student(own: Flow, source: Flow) -> EvaluatedFlow:
    return EvaluatedFlow("student", 1, own, source, source, PAIRS)


def speed() -> Estimate:
    return Estimate(1000, 900, 1100, 20)


def measured(own: Flow, source: Flow, names: Sequence[str], examples: Material) -> dict[str, Measured]:
    """Return the fidelity of a flow to its source."""
    evaluated = student(own, source)
    samples = partial(draw_samples, own, examples, evaluated.seed)
    return measure_fidelity(evaluated, source, names, examples, rate=speed, samples=samples)


def test_a_copy_of_the_teacher_has_full_fidelity() -> None:
    teacher, examples = flow(1), material()
    names = [name for name in GROUPS["fidelity"] if name != "fidelity_per_second"]
    found = {name: each.estimate.value for name, each in measured(teacher, teacher, names, examples).items()}
    assert found["layer_mse"] == found["layer_mse.step2"] == found["same_noise"] == found["log_p_difference"] == 0
    assert found["layer_cosine"] == pytest.approx(1)
    assert found["log_p_correlation"] == pytest.approx(1)


def test_layers_and_log_p_are_compared_by_example() -> None:
    own, teacher, examples = flow(1), flow(2), material()
    names = ["layer_mse", "layer_cosine", "log_p_difference", "log_p_correlation"]
    found = measured(own, teacher, names, examples)
    x = examples.test.x
    traces = [each.trace(x) for each in (own, teacher)]
    states = [[trace[name][0].double().numpy() for name in ("step1", "step2")] for trace in traces]
    squares = [np.square(a - b).mean(1) for a, b in zip(*states, strict=True)]
    assert found["layer_mse.step1"].estimate.value == pytest.approx(squares[0].mean(), rel=1e-5)
    weighted = (squares[0] + 3 * squares[1]) / 4
    assert found["layer_mse"].estimate.value == pytest.approx(weighted.mean(), rel=1e-5)
    half = found["layer_mse"].estimate.high - found["layer_mse"].estimate.value
    assert half == pytest.approx(stats.norm.ppf(0.975) * stats.sem(weighted), rel=1e-4)
    a, b = states[0][1], states[1][1]
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found["layer_cosine.step2"].estimate.value == pytest.approx(cosines.mean(), rel=1e-5)
    log_p = [each.log_prob(x).double().numpy() for each in (own, teacher)]
    assert found["log_p_difference"].estimate.value == pytest.approx((log_p[1] - log_p[0]).mean(), rel=1e-5)
    assert found["log_p_correlation"].estimate.value == pytest.approx(stats.pearsonr(*log_p)[0])
    assert found["log_p_correlation"].estimate.count == len(x)


def test_samples_of_the_same_noise_are_compared() -> None:
    own, teacher, examples = flow(1), flow(2), material()
    found = measured(own, teacher, ["same_noise"], examples)["same_noise"]
    noise = own.draw_noise(60, torch.Generator().manual_seed(20_261_102))
    expected = (own.synthesize(noise) - teacher.synthesize(noise)).abs().double().mean()
    assert found.estimate.value == pytest.approx(float(expected), rel=1e-5)
    apart = (examples.test.x - examples.train.x).abs().double().mean()
    assert found.reference == pytest.approx(float(apart))


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_interval_of_a_correlation_covers_it(rho: float) -> None:
    inside = 0
    for seed in range(200):
        first, noise = np.random.default_rng(seed).normal(size=(2, 80))
        found = correlation(first, rho * first + math.sqrt(1 - rho**2) * noise)
        inside += found.low <= rho <= found.high
    assert 0.91 <= inside / 200 <= 0.99


def test_a_constant_log_p_has_no_correlation() -> None:
    assert math.isnan(correlation(np.ones(20), np.arange(20.0)).value)


def test_fidelity_per_second_is_the_explained_share_times_the_speed() -> None:
    found = fidelity_per_second(Estimate(0.5, -0.1, 0.6, 99), Estimate(1000, 900, 1100, 20))
    assert (found.value, found.low, found.high) == (250, 0, pytest.approx(396))
    assert found.count == 99
    assert fidelity_per_second(Estimate(1, 1, 1, 9), Estimate(1000, 900, 1100, 20)).value == 1000


# --- cost -------------------------------------------------------------------------------------------------------------


def test_the_cost_of_a_flow() -> None:
    own, examples = flow(1), material()
    found = cost_estimates(own, examples, list(GROUPS["cost"]))
    assert list(found) == list(GROUPS["cost"])
    cost = flow_cost(CONFIG, (2,), 1)
    assert (found["parameters"].value, found["multiply_adds"].value) == (cost.parameters, cost.multiply_adds)
    weights = sum(4 * parameter.numel() for parameter in own.parameters()) / 2**20
    assert found["peak_memory"].value > weights + 256 * 2 * 4 / 2**20
    for name in ("encode_ms", "decode_ms"):
        assert found[name].low <= found[name].value <= found[name].high
        assert 0 < found[name].value <= found[name.replace("_ms", "_p95_ms")].value


def test_the_peak_counts_what_is_alive_at_once() -> None:
    x = torch.ones(1000)

    def chain() -> None:
        value = x
        for _ in range(5):
            value = value + 1  # the last sum and the new one

    def keep() -> None:
        kept = [x * factor for factor in range(5)]
        assert kept[0].view(10, 100).shape == (10, 100)  # a view takes no memory

    assert peak_memory(chain, CPU) == 2 * 4000
    assert peak_memory(keep, CPU) == 5 * 4000
    assert peak_memory(lambda: x.clone().add_(1), CPU) == 4000


def test_timings_end_after_their_number_or_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])

    def call() -> None:
        clock[0] += 0.5

    assert timings(call, CPU, 20).tolist() == [0.5] * 20
    assert len(timings(call, CPU, 200, limit=5.0)) == 9
    assert len(timings(call, CPU, 200, limit=0.1)) == 6
