"""Problems, warnings and estimates of an experiment before it runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import normflows as nf
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.precision import networks_in
from nfkd.planning.describe import describe
from nfkd.planning.plans import stage_costs
from tests.core.tiny import digits, moons

MAF = {"kind": "maf", "steps": 2, "hidden": 8, "batch_norm": True}


def problems(config: ExperimentConfig) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config).problems}


def warnings(config: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(config).warnings}


def training_warnings(config: ExperimentConfig) -> list[str]:
    return [warning.message for warning in describe(config).warnings if warning.path.startswith("training.")]


# --- problems ---------------------------------------------------------------------------------------------------------


def test_all_problems_are_reported_together_before_anything_is_written(tmp_path: Path) -> None:
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


def test_problems_of_data_and_of_flows_are_reported_together() -> None:
    found = problems(digits(data={"test_fraction": 0.001}, student={"levels": 6}))
    assert {"data.test_fraction", "student.levels"} <= found.keys()


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"student": {"levels": 1}}, "student.levels", "same number of levels"),
        ({"teacher": {"levels": 4}, "student": {"levels": 4}}, "teacher.levels", "cannot squeeze"),
    ],
)
def test_a_problem_names_its_field(changes: dict[str, Any], path: str, message: str) -> None:
    assert message in problems(digits(**changes))[path]


def test_a_flow_that_needs_more_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfkd.planning.describe.memory_available", lambda _: 1024)
    found = problems(moons(assistants=[{"kind": "glow1d", "steps": 3, "hidden": 6}]))
    assert found.keys() == {"teacher.hidden", "student.hidden", "assistants.0.hidden"}
    assert "training assistant 1 takes about 0.0 GiB and 0.0 GiB are free" in found["assistants.0.hidden"]


def test_more_micro_batches_than_examples_are_refused() -> None:
    message = problems(moons(training={"batch_size": 16, "accumulate": 17}))["training.accumulate"]
    assert message == "a batch of 16 examples cannot make 17 micro-batches"
    assert problems(moons(training={"batch_size": 16, "accumulate": 16})) == {}


def test_recomputed_activations_refuse_terms_with_second_derivatives() -> None:
    recompute = moons(training={"activations": "recompute"})
    assert problems(recompute) == {}
    refused = recompute.replace(distillation={"score": {"weight": 1.0}})
    assert problems(refused)["training.activations"].startswith("Score differentiates derivatives")
    assert problems(refused.replace(training={"activations": "keep"})) == {}
    jacobian = recompute.replace(distillation={"jacobian": {"weight": 1.0}})
    assert problems(jacobian)["training.activations"].startswith("Jacobian differentiates derivatives")


def test_a_device_without_bf16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        msg = "\"convolution\" not implemented for 'BFloat16'\nC++ frames"
        raise RuntimeError(msg)

    assert problems(digits(training={"precision": "bf16"})) == {}
    monkeypatch.setattr("nfkd.planning.devices.functional", SimpleNamespace(conv2d=fail))
    assert problems(digits()) == {}
    message = problems(digits(training={"precision": "bf16"}))["training.precision"]
    assert message == "cpu cannot compute in bf16: choose float32"


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_speed_as_the_metric_gives_a_warning() -> None:
    assert "by chance" in warnings(moons(seeds={"metric": "samples_per_second"}))["seeds.metric"]
    assert "seeds.metric" not in warnings(moons())


def test_the_distance_to_the_teacher_needs_the_same_latents() -> None:
    metric = {"metric": "same_noise"}
    assert "seeds.metric" not in problems(digits(seeds=metric))
    terms = {"distillation": {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}}
    message = problems(digits(seeds=metric, student={"levels": 1}, **terms))["seeds.metric"]
    assert "latents of different shapes: choose another metric" in message


def test_fd_local_needs_class_labels_or_the_latents_of_the_teacher() -> None:
    for config in (digits, moons):
        assert "seeds.metric" not in problems(config(seeds={"metric": "fd"}))
    torch.manual_seed(0)
    planar = nf.NormalizingFlow(nf.distributions.DiagGaussian(2), [nf.flows.Planar((2,))])
    terms = {"lkd": {"weight": 0}, "ilkd": {"weight": 0}}
    description = describe(moons(seeds={"metric": "fd"}, distillation=terms), teacher=nfkd.wrap_teacher(planar))
    (problem,) = description.problems
    assert problem.path == "seeds.metric"
    start = "FD-local needs class labels or the teacher's latents: two moons has no images, and the teacher has none: "
    assert problem.message.startswith(start)
    assert problem.message.endswith(": choose another metric")


def test_a_missing_baseline_gives_a_warning_and_one_seed_then_does_not() -> None:
    found = warnings(moons(training={"baseline": False}))
    assert "whether the teacher helped" in found["training.baseline"]
    assert "seeds.count" not in found
    assert "training.baseline" not in warnings(moons())


def test_a_processor_that_emulates_bf16_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, warned in (({"avx512_bf16": True}, False), ({"amx_bf16": True}, False), ({"avx2": True}, True)):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda capabilities=capabilities: capabilities)
        found = training_warnings(digits(training={"precision": "bf16"}))
        assert any("bf16" in message for message in found) == warned
        assert not any("bf16" in message for message in training_warnings(digits()))


def test_micro_batches_that_change_the_training_give_a_warning() -> None:
    few = moons(distillation={"skd": {"batch_size": 2}}, training={"accumulate": 4})
    assert any("SKD draws 2 samples" in message for message in training_warnings(few))
    norms = moons(student=MAF)
    assert not any("batch norms" in message for message in training_warnings(norms))
    split = training_warnings(norms.replace(training={"accumulate": 3}))
    assert any(message.startswith("the student's batch norms") for message in split)


# --- the estimate of memory -------------------------------------------------------------------------------------------


def saved_bytes(config: ExperimentConfig, count: int) -> int:
    """Return how many bytes autograd saves in a teacher's pass over `count` examples, in the config's precision."""
    flow = build_flow(config.teacher, (1, 8, 8))
    saved: dict[int, tuple[torch.Tensor, int]] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor, tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with networks_in(config.training.precision), hooks:
        flow.log_prob(torch.rand(count, 1, 8, 8))
    return sum(size for _, size in saved.values())


def wide(**training: Any) -> ExperimentConfig:
    return digits(teacher={"steps": 3, "hidden": 64}, training={"batch_size": 120} | training)


def teacher_size(config: ExperimentConfig) -> tuple[int, int]:
    """Return a teacher's memory in bytes and its number of parameters."""
    teacher = describe(config).teacher
    assert teacher is not None
    return teacher.memory, teacher.parameters


def test_the_estimate_includes_averaging_and_micro_batches() -> None:
    memory, parameters = teacher_size(wide())
    assert teacher_size(wide(ema_decay=0.9))[0] - memory == 4 * parameters
    assert teacher_size(wide(accumulate=4)) == teacher_size(wide(batch_size=30))
    assert teacher_size(wide(accumulate=7)) == teacher_size(wide(batch_size=18))  # the largest micro-batch


def test_the_estimate_in_bf16_is_what_autograd_saves() -> None:
    memory, parameters = teacher_size(wide())
    weights = 20 * parameters
    estimated = (teacher_size(wide(precision="bf16"))[0] - weights) / (memory - weights)
    assert estimated == pytest.approx(saved_bytes(wide(precision="bf16"), 120) / saved_bytes(wide(), 120), abs=0.05)
    assert estimated < 0.75


def test_the_estimate_with_recomputed_activations_takes_less_memory_and_more_time() -> None:
    kept = wide().replace(teacher={"steps": 12})
    recomputed = kept.replace(training={"activations": "recompute"})
    expected, found = describe(kept), describe(recomputed)
    assert expected.teacher is not None
    assert found.teacher is not None
    weights = 20 * expected.teacher.parameters
    assert found.teacher.memory - weights < 0.5 * (expected.teacher.memory - weights)
    costs = stage_costs(kept, expected)["baseline"], stage_costs(recomputed, found)["baseline"]
    assert costs[1] / costs[0] == pytest.approx(4 / 3)


def test_the_estimate_is_never_below_the_pass_of_the_first_batch() -> None:
    memory = [
        teacher_size(digits(teacher={"hidden": 64}, training={"batch_size": 512, "accumulate": count}))[0]
        for count in (1, 8, 64, 512)
    ]
    assert memory[0] > memory[1] >= memory[2] == memory[3]


# --- descriptions after a change --------------------------------------------------------------------------------------


def test_a_description_does_not_depend_on_the_ones_before() -> None:
    wide, narrow = digits(student={"hidden": 6}), digits(student={"hidden": 5})
    first, other, again = describe(wide), describe(narrow), describe(wide)
    assert msgspec.to_builtins([first.teacher, first.student, first.pairs]) == msgspec.to_builtins(
        [again.teacher, again.student, again.pairs]
    )
    assert first.student is not None
    assert other.student is not None
    assert first.student.parameters > other.student.parameters
    alone = build_flow(wide.student, (1, 8, 8), device="meta")
    assert msgspec.to_builtins(first.student.layers) == msgspec.to_builtins(alone.layer_info())


def test_a_student_that_is_not_smaller_is_remarked_unless_it_samples_in_fewer_passes() -> None:
    config = ExperimentConfig.load("tarflow_jet")
    sizes = [flow.parameters for flow in (describe(config).student, describe(config).teacher) if flow is not None]
    assert sizes[0] > sizes[1]
    assert not any("not smaller" in warning.message for warning in describe(config).warnings)
    same = config.replace(student=config.teacher.model_dump())
    assert any("is not smaller than its teacher" in warning.message for warning in describe(same).warnings)
