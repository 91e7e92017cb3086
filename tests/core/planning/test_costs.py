"""The estimated cost of a step's terms, their warnings, and a run with examples that are not finite."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ConfigProblem, DistillationConfig, ExperimentConfig, GlowConfig
from nfkd.config.flows import FlowConfig, Glow1DConfig, IAFConfig, MAFConfig, NSFConfig
from nfkd.data import Batch, DataSplit, load_dataset
from nfkd.distillation.matching import match_layers
from nfkd.distillation.needs import combine_needs
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import make_passes, sample_inputs
from nfkd.flows.architectures import build_flow
from nfkd.flows.cost import FlowCost
from nfkd.flows.flow import Flow
from nfkd.planning.costs import kept_examples, pass_cost, slow_terms
from nfkd.planning.describe import describe
from nfkd.planning.micro_batches import accumulation_problems, accumulation_warnings, stage_cost
from nfkd.protocol.roles import USUAL
from nfkd.runs.log import read_log
from nfkd.training.generators import named_generator
from tests.core.distillation.steps import config, generator, generators
from tests.core.tiny import moons

OFF: dict[str, Any] = {name: {"weight": 0.0} for name in OBJECTIVES}


def warnings(experiment: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(experiment).warnings}


def slow(student: FlowConfig, *terms: str) -> dict[str, str]:
    """Return the warnings of slow terms for flows over twelve features, by term."""
    teacher = build_flow(Glow1DConfig(steps=3, hidden=8), (12,), device="meta")
    experiment = moons(distillation=OFF | {name: {"weight": 1.0} for name in terms})
    found = slow_terms(experiment, pass_cost(build_flow(student, (12,), device="meta")), pass_cost(teacher))
    return {problem.path.split(".")[1]: problem.message for problem in found}


@pytest.mark.parametrize(
    ("student", "expected", "fast"),
    [
        (MAFConfig(steps=2, hidden=8), {"skd", "reverse_kl", "noisy_reverse"}, {"lkd", "density"}),
        (NSFConfig(steps=2, hidden=8, bins=4, transform="autoregressive"), {"skd"}, {"lkd"}),
        (IAFConfig(steps=2, hidden=8), {"nll", "lkd", "density", "reverse_kl"}, set()),
    ],
)
def test_a_term_that_an_autoregressive_flow_slows_down_gets_a_warning(student, expected, fast) -> None:
    for name in expected | fast:
        found = slow(student, name)
        assert list(found) == ([name] if name in expected else [])
        assert all("feature by feature, 12 one after another" in message for message in found.values())


def test_each_of_several_slow_terms_gets_a_warning() -> None:
    maf, iaf = MAFConfig(steps=2, hidden=8), IAFConfig(steps=2, hidden=8)
    both = slow(maf, "nll", "skd", "reverse_kl")  # these share their samples
    assert both.keys() == {"skd", "reverse_kl"}
    assert "times as long, with Reverse KL, as with all features at once" in both["skd"]
    assert slow(maf, "nll", "skd", "noisy_reverse", "forward_kl").keys() == {"skd", "noisy_reverse"}
    assert slow(iaf, "nll", "lkd", "ilkd").keys() == {"nll", "lkd", "ilkd"}


def test_describe_warns_of_slow_terms_only_with_autoregressive_flows(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    np.savetxt(table, np.random.default_rng(0).normal(size=(200, 12)), delimiter=",")
    data, student = {"kind": "table", "path": str(table)}, {"kind": "maf", "steps": 2, "hidden": 4}
    slow = warnings(moons(data=data, distillation=OFF | {"skd": {"weight": 1.0}}, student=student))
    assert "feature by feature" in slow["distillation.skd.weight"]
    fast = warnings(moons(distillation={name: {"weight": 1.0} for name in OBJECTIVES}))
    assert not [path for path in fast if path.endswith(".weight")]


@pytest.mark.parametrize("terms", [("nll",), ("nll", "lkd")])
def test_a_schedule_that_convex_weights_cancel_gets_a_warning(terms: tuple[str, ...]) -> None:
    moving = {"weight": 1.0, "schedule": "linear", "schedule_end": 0.2}
    weights: dict[str, Any] = OFF | dict.fromkeys(terms, moving)
    assert "convex weights" in warnings(moons(distillation=weights))["distillation.nll.schedule"]
    free = warnings(moons(distillation=weights | {"normalize_weights": False}))
    assert "distillation.nll.schedule" not in free
    beside = warnings(moons(distillation=weights | {"ilkd": {"weight": 1.0}}))
    assert "distillation.nll.schedule" not in beside


def test_a_run_leaves_out_an_example_that_is_never_finite_and_logs_it(tmp_path: Path, monkeypatch) -> None:
    experiment = moons(training={"teacher_steps": 9, "student_steps": 9})
    dataset = load_dataset(experiment.data)
    count = len(dataset.train)
    orders = [torch.randperm(count, generator=named_generator(1, role, "order")).tolist() for role in USUAL[:2]]
    bad = next(index for index in range(count) if all(32 <= order.index(index) < 256 for order in orders))
    values = dataset.train.values[:].copy()
    values[bad] = np.nan
    damaged = replace(dataset, train=DataSplit(values))
    monkeypatch.setattr("nfkd.training.experiment.load_dataset", lambda _: damaged)
    record = nfkd.run(experiment, tmp_path / "run")
    assert record.row.state == "finished"
    for role in ("teacher", "student", "baseline"):
        curve = record.curves[role]["masked"]
        expected = orders[0 if role == "teacher" else 1].index(bad) // 32 + 1
        assert curve.steps[curve.values > 0][0] == expected  # the step whose batch holds it
        assert np.isfinite(record.curves[role]["train/total"].values).all()
    log = "\n".join(line.text for line in read_log(tmp_path / "run") if line.level == "warning")
    assert log.count("student: LKD: 1 example of step") == log.count("baseline: NLL: 1 example of step") == 1
    assert "SKD" not in log


def memory(terms: dict[str, Any], training: dict[str, Any] | None = None, every: int = 0) -> tuple[FlowCost, int]:
    """Return the cost of the student and the bytes of its training."""
    flow = {"kind": "glow1d", "steps": 2, "hidden": 8}
    settings: dict[str, Any] = {"training": training or {}, "monitor": {"shares_every": every}}
    settings |= {"student": flow, "teacher": flow}
    experiment = moons(distillation={name: OFF[name] for name in ("lkd", "ilkd", "skd")} | terms, **settings)
    return stage_cost(experiment, "student", load_dataset(experiment.data))


def test_the_samples_of_the_terms_count_in_the_memory() -> None:
    terms: dict[str, Any] = {
        name: {name: {"weight": 1.0, "batch_size": 64}} for name in ("skd", "forward_kl", "reverse_kl")
    }
    plain = memory({})[1]
    added = {name: memory(term)[1] - plain for name, term in terms.items()}
    assert added["skd"] == added["forward_kl"] > 0
    assert added["reverse_kl"] == 3 * added["skd"]  # samples, and a pass of each flow over them
    assert memory(terms["skd"] | terms["reverse_kl"])[1] - plain == added["reverse_kl"]  # the samples are shared


def test_a_term_that_compares_examples_is_refused_in_micro_batches() -> None:
    def problems(weight: float, count: int) -> list[ConfigProblem]:
        terms = {"relational": {"weight": weight}}
        return accumulation_problems(moons(distillation=terms, training={"accumulate": count}))

    assert problems(0.0, 2) == problems(0.1, 1) == []
    [problem] = problems(0.1, 2)
    assert problem.path == "distillation.relational.weight"
    assert "compares the examples of a batch with each other" in problem.message


def test_the_memory_depends_on_micro_batches_and_kept_gradients() -> None:
    samples = {"forward_kl": {"weight": 1.0, "batch_size": 64}}
    halved = {"batch_size": 64, "accumulate": 2}
    cost, split = memory(samples, halved)
    assert split == memory({"forward_kl": {"weight": 1.0, "batch_size": 32}}, {"batch_size": 32})[1]
    kept_gradients = 2 * 4 * cost.parameters
    assert memory(samples, halved, every=10)[1] == split + kept_gradients
    plain = memory(samples)[1]
    assert memory(samples, every=10)[1] == plain
    assert memory(samples | {"balance": "gradient_norm"})[1] == plain + kept_gradients


def test_the_term_with_the_fewest_samples_limits_the_micro_batches() -> None:
    terms = {"forward_kl": {"weight": 0.1, "batch_size": 2}, "skd": {"batch_size": 3}}
    [warning] = accumulation_warnings(moons(distillation=terms, training={"accumulate": 4}), {})
    assert warning.path == "training.accumulate"
    assert warning.message.startswith("Forward KL draws 2 samples a step")


def kept_bytes(settings: DistillationConfig, student: Flow, teacher: Flow, batch: Batch) -> int:
    """Return the bytes that autograd keeps for the backward pass of a step."""
    kept: dict[int, tuple[int, int]] = {}

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor, storage = tensor, tensor.untyped_storage()
            kept[id(self)] = storage._cdata, storage.nbytes()

        def __del__(self) -> None:
            kept.pop(id(self), None)

    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    objectives = [OBJECTIVES[name](term, pairs=pairs) for name, term in settings.active_terms().items()]
    needs = combine_needs(objective.needs() for objective in objectives)
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda saved: saved.tensor):
        passes = make_passes(needs, student, teacher, sample_inputs(needs, student, teacher, batch, generators()))
        loss = torch.stack([objective(passes) for objective in objectives]).sum()
        del passes
        gc.collect()
        size = sum(dict(kept.values()).values())
    assert loss.requires_grad
    return size


@pytest.fixture(scope="module")
def step() -> tuple[Flow, Flow, Batch]:
    """A student, its teacher and a batch."""
    student, teacher = (
        build_flow(GlowConfig(levels=2, steps=steps, hidden=32), (1, 8, 8), generator=generator()) for steps in (2, 1)
    )
    batch = Batch(torch.rand(32, 1, 8, 8, generator=generator()))
    student.initialize(batch.x)
    teacher.initialize(batch.x)
    return student, teacher.eval().requires_grad_(requires_grad=False), batch


@pytest.fixture(scope="module")
def likelihood_bytes(step: tuple[Flow, Flow, Batch]) -> int:
    """Return what autograd keeps for the likelihood alone; older objects are hidden from the garbage collector."""
    gc.collect()
    gc.freeze()
    return kept_bytes(config({"nll": 1}), *step)


@pytest.mark.parametrize("name", ["lkd", "density", "skd", "forward_kl", "jacobian", "score", "noisy_reverse"])
def test_the_kept_examples_of_a_term_are_those_of_autograd(name: str, step, likelihood_bytes: int) -> None:
    samples = {"batch_size": 32} if name in {"skd", "forward_kl"} else {}
    settings = config({"nll": 1, name: 1}, {name: samples})
    measured = kept_bytes(settings, *step) / likelihood_bytes - 1
    assert kept_examples(settings, 32)[0] / 32 == pytest.approx(measured, rel=0.3, abs=0.05)
