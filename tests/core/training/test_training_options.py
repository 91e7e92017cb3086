"""AdamW, averaging, bf16 and micro-batches in whole runs: resumed, described, refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.evaluation.likelihood import example_nll, noisy
from nfkd.flows.architectures import build_flow
from nfkd.flows.precision import networks_in
from nfkd.planning.describe import describe
from nfkd.runs.recovery import recover
from nfkd.training.checkpoint import load_checkpoint
from tests.core.tiny import digits, moons
from tests.core.training.stage import train
from tests.core.training.test_whole_runs import KILLER, assert_same, stopped_at

EACH: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "average": {"ema_decay": 0.95},
    "bf16": {"precision": "bf16"},
    "micro-batches": {"accumulate": 3},
}
ALL: dict[str, Any] = {key: value for options in EACH.values() for key, value in options.items()}
OPTIONS = EACH | {"all": ALL}
MAF = {"kind": "maf", "steps": 2, "hidden": 8}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_stopped_run_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    config = (digits if name == "all" else moons)(training=OPTIONS[name])
    stopped_at(tmp_path / "stopped", config, 1)
    checkpoint = load_checkpoint(tmp_path / "stopped")
    assert checkpoint is not None
    assert (checkpoint.position.stage, bool(checkpoint.tensors)) == ("student", True)
    assert bool(checkpoint.group("average")) == ("ema_decay" in OPTIONS[name])
    nfkd.run(config, tmp_path / "stopped", resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole", config)


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    config, killed = moons(training=ALL), tmp_path / "killed"
    arguments = [sys.executable, "-c", KILLER, config.to_toml(), str(killed), "1", "student", "12"]
    done = subprocess.run(arguments, check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    recover(killed)
    nfkd.run(config, killed, resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(killed, tmp_path / "whole", config)


def test_a_run_from_before_these_options_is_gone_on_with(tmp_path: Path) -> None:
    config, run = moons(), tmp_path / "old"
    stopped_at(run, config, 3)
    text = (run / "experiment.toml").read_text()
    newer = {"weight_decay", "ema_decay", "precision", "accumulate"}
    lines = [line for line in text.splitlines() if line.partition(" ")[0] not in newer]
    assert len(lines) == len(text.splitlines()) - len(newer)
    (run / "experiment.toml").write_text("\n".join(lines) + "\n")
    nfkd.run(nfkd.open_run(run).config, run, resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(run, tmp_path / "whole", config)


def test_micro_batches_train_as_the_whole_batch_up_to_rounding() -> None:
    # In double precision: just after ActNorm's initialisation some gradients are zero but for rounding, and Adam
    # divides each gradient by its own size, so that in single precision the rounding itself would become a step.
    runs = (train(digits(training={"accumulate": count}), 8, torch.float64) for count in (1, 5))
    (_, whole), (_, parts) = runs
    for theirs, ours in zip(whole, parts, strict=True):
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-7)


def test_a_run_in_micro_batches_is_that_of_whole_batches_up_to_rounding(tmp_path: Path) -> None:
    curves = {count: nfkd.run(moons(training={"accumulate": count}), tmp_path / str(count)).curves for count in (1, 5)}
    for stage, ours in curves[5].items():
        theirs = curves[1][stage]
        assert ours.keys() == theirs.keys()
        for name in ours:
            # Adam makes steps of one size from gradients of any, rounding's too: what they are later is not compared.
            some = slice(1) if name == "gradient_norm" else slice(None)
            found, expected = ours[name].values[some], theirs[name].values[some]
            np.testing.assert_allclose(found, expected, rtol=1e-3, err_msg=f"{stage} {name}")


def test_norms_begin_from_the_whole_batch_in_however_many_pieces() -> None:
    """With a learning rate of next to nothing the weights after a step are the first ones."""
    still = {"learning_rate": 1e-12, "warmup_steps": 0}
    whole, parts = (train(digits(training=still | {"accumulate": count}), 1)[0].flow.state_dict() for count in (1, 4))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-9)


def test_bf16_trains_and_every_figure_is_float32s(tmp_path: Path) -> None:
    config = digits(training={"precision": "bf16"})
    record, plain = nfkd.run(config, tmp_path / "bf16"), nfkd.run(digits(), tmp_path / "float32")
    ours, theirs = (run.curves["student"]["train/total"].values for run in (record, plain))
    assert not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=2e-2)
    dataset, student = load_dataset(config.data), record.load_student().scaled
    summary = next(summary for summary in record.summary if summary.stage == "student")
    assert summary.test == pytest.approx(example_nll(student, dataset, dataset.test).mean(), rel=1e-7)
    with networks_in("bf16"):
        rounded = example_nll(student, dataset, dataset.test).mean()
    assert summary.test != pytest.approx(rounded, rel=1e-7)
    x = noisy(dataset, dataset.test).x
    with torch.no_grad():
        torch.testing.assert_close(student.decode(student.encode(x)), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("student", [MAF, MAF | {"kind": "iaf"}, {"kind": "nsf", "steps": 1, "hidden": 8}])
def test_every_kind_of_vector_flow_trains_with_all_of_them(student: dict[str, Any], tmp_path: Path) -> None:
    record = nfkd.run(moons(student=student, training=ALL), tmp_path / "run")
    assert record.row.state == "finished"
    assert all(np.isfinite(summary.test) for summary in record.summary)


def problems(config: ExperimentConfig) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config).problems}


def warnings(config: ExperimentConfig) -> list[str]:
    return [warning.message for warning in describe(config).warnings if warning.path.startswith("training.")]


def test_a_device_without_bf16_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        msg = "\"convolution\" not implemented for 'BFloat16'\nC++ frames"
        raise RuntimeError(msg)

    assert problems(digits(training={"precision": "bf16"})) == {}
    monkeypatch.setattr("nfkd.planning.devices.functional.conv2d", fail)
    assert problems(digits()) == {}
    message = problems(digits(training={"precision": "bf16"}))["training.precision"]
    assert "cpu cannot compute in bf16" in message
    assert "not implemented for 'BFloat16'" in message
    assert message.endswith("choose float32")
    assert "\n" not in message


def test_a_processor_that_emulates_bf16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, said in (({"avx512_bf16": True}, False), ({"amx_bf16": True}, False), ({"avx2": True}, True)):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda able=able: able)
        assert any("bf16" in words for words in warnings(digits(training={"precision": "bf16"}))) == said
        assert not any("bf16" in words for words in warnings(digits()))


def test_more_pieces_than_examples_are_refused() -> None:
    message = problems(moons(training={"batch_size": 16, "accumulate": 17}))["training.accumulate"]
    assert message == "a batch of 16 examples cannot make 17 micro-batches"
    assert problems(moons(training={"batch_size": 16, "accumulate": 16})) == {}


def test_pieces_that_are_not_the_whole_batch_are_told() -> None:
    few = {"skd": {"batch_size": 2}}
    assert any(
        "SKD draws 2 samples" in words for words in warnings(moons(distillation=few, training={"accumulate": 4}))
    )
    norms = moons(student=MAF | {"batch_norm": True})
    assert not any("batch norms" in words for words in warnings(norms))
    assert any(words.startswith("the student's batch norms") for words in warnings(norms.replace(training=ALL)))


def saved_bytes(config: ExperimentConfig, count: int) -> int:
    """Return what autograd really keeps of a teacher's pass over so many examples, in the config's precision."""
    flow = build_flow(config.teacher, (1, 8, 8))
    kept: dict[int, tuple[torch.Tensor, int]] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor, tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with networks_in(config.training.precision), hooks:
        flow.log_prob(torch.rand(count, 1, 8, 8))
    return sum(size for _, size in kept.values())


def wide(**training: Any) -> ExperimentConfig:
    return digits(teacher={"steps": 6, "hidden": 64}, training={"batch_size": 120} | training)


def memory(config: ExperimentConfig) -> int:
    teacher = describe(config).teacher
    assert teacher is not None
    return teacher.memory


def test_the_estimate_follows_averaging_and_micro_batches() -> None:
    described = describe(wide()).teacher
    assert described is not None
    assert memory(wide(ema_decay=0.9)) - described.memory == 4 * described.parameters
    assert memory(wide(accumulate=4)) == memory(wide(batch_size=30))
    assert memory(wide(accumulate=7)) == memory(wide(batch_size=18))  # the largest piece


def test_the_estimate_follows_what_autograd_keeps_in_bf16() -> None:
    described = describe(wide()).teacher
    assert described is not None
    weights = 20 * described.parameters
    estimated = (memory(wide(precision="bf16")) - weights) / (described.memory - weights)
    assert estimated == pytest.approx(saved_bytes(wide(precision="bf16"), 120) / saved_bytes(wide(), 120), abs=0.05)
    assert estimated < 0.75


def test_the_estimate_never_falls_below_the_first_batchs_pass() -> None:
    memory = []
    for count in (1, 8, 64, 512):
        described = describe(digits(teacher={"hidden": 64}, training={"batch_size": 512, "accumulate": count})).teacher
        assert described is not None
        memory.append(described.memory)
    assert memory[0] > memory[1] >= memory[2] == memory[3]
