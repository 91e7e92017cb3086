"""The TarFlow presets for a GPU take two steps on the CPU, with their settings but narrow networks and few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.flows import TarFlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.cost import flow_cost
from nfkd.planning.describe import check
from tests.core.training.stage import train, weights_of

SHAPES = {"tarflow_cifar10": (3, 32, 32), "tarflow_imagenet64_paper": (3, 64, 64)}
SMALL = {"steps": 2, "hidden": 64, "depth": 1}
every_preset = pytest.mark.parametrize("name", SHAPES)


def narrow(name: str, shape: tuple[int, int, int], folder: Path) -> ExperimentConfig:
    """The preset with narrow flows, for random images of a shape."""
    preset, rng = ExperimentConfig.load(name), np.random.default_rng(0)
    path = folder / "images.npz"
    np.savez(path, images=rng.integers(0, 256, (60, *shape), dtype=np.uint8), labels=np.arange(60) % 10)
    names = ("class_labels", "label_dropping", "flip", "noise", "noise_scale")
    settings = {name: getattr(preset.data, name) for name in names}
    keys = {"key": "images", "labels_key": "labels", "validation_fraction": 0.2, "test_fraction": 0.2}
    data = {"kind": "image_stack", "path": str(path), **keys, **settings}
    few = {"teacher_steps": 2, "student_steps": 2, "batch_size": 8, "accumulate": 2, "baseline": False}
    monitor = {"sample_count": 2, "evaluate_every": 2, "pictures_every": 2, "interpolation_steps": 3}
    return preset.replace(data=data, training=few, teacher=SMALL, student=SMALL, monitor=monitor)


@every_preset
def test_the_sizes_of_a_preset_for_a_gpu_can_be_built(name: str) -> None:
    preset, shape = ExperimentConfig.load(name), SHAPES[name]
    costs = [flow_cost(flow, shape, 1, precision="bf16") for flow in (preset.teacher, preset.student)]
    assert isinstance(preset.teacher, TarFlowConfig)
    blocks, tokens, width = preset.teacher.steps, 256, 3 * preset.teacher.patch**2
    channels, layers = preset.teacher.hidden, preset.teacher.depth
    layer = 12 * channels**2 + 13 * channels
    ends = channels * (width + 1) + 2 * width * (channels + 1) + (tokens - 1) * channels
    assert costs[0].parameters == blocks * (layers * layer + ends)
    assert costs[0].parameters > 5 * costs[1].parameters
    micro = preset.training.batch_size // preset.training.accumulate
    assert flow_cost(preset.teacher, shape, micro, precision="bf16").training_memory < 141 * 10**9


@every_preset
def test_teacher_and_student_take_two_steps_on_images_of_full_size(name: str, tmp_path: Path) -> None:
    config = narrow(name, SHAPES[name], tmp_path)
    config = config.replace(training={"batch_size": 2, "accumulate": 1}, data={"class_labels": False})
    flow = build_flow(config.teacher, SHAPES[name], generator=torch.Generator().manual_seed(0))
    _, history = train(config, 2)
    first = weights_of(flow)
    assert len(history) == 2
    assert all(bool(value.isfinite().all()) for value in history[-1].values())
    assert any(not torch.equal(history[-1][name], first[name]) for name in first)


@every_preset
def test_a_preset_for_a_gpu_runs_on_small_images(name: str, tmp_path: Path) -> None:
    teacher = ExperimentConfig.load(name).teacher
    assert isinstance(teacher, TarFlowConfig)
    side = 4 * teacher.patch
    config = narrow(name, (3, side, side), tmp_path)
    assert [pair.student for pair in check(config).pairs] == ["step1", "step2"]
    record = nfkd.run(config, tmp_path / "run")
    assert {summary.stage for summary in record.summary} == {"teacher", "student"}
    assert all(np.isfinite(summary.test) for summary in record.summary)
