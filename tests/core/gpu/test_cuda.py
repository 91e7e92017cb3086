"""Tests on a CUDA device: the same numbers as on the CPU, and a clear error when its memory is full.

They need only this repository, torch and the engine's packages: ``make test-gpu PYTHON=python3``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ConfigError, DistillationConfig, ExperimentConfig
from nfkd.protocol import events
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

SHORT = ["training.teacher_steps=20", "training.student_steps=10", "monitor.evaluate_every=5"]


def digits(device: str, *overrides: str) -> ExperimentConfig:
    return ExperimentConfig.load("digits", [*SHORT, f"compute.device={device}", *overrides])


def test_digits_on_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    curves = {device: nfkd.run(digits(device), tmp_path / device).curves for device in ("cpu", "cuda")}
    for stage in ("teacher", "student", "baseline"):
        cuda, cpu = (curves[device][stage]["train/nll"].values for device in ("cuda", "cpu"))
        np.testing.assert_allclose(cuda[:5], cpu[:5], rtol=1e-3)  # rounding differences grow with the steps
        np.testing.assert_allclose(cuda, cpu, rtol=5e-2)


def test_log_prob_of_the_same_weights_is_the_same(tmp_path: Path) -> None:
    record = nfkd.run(digits("cuda"), tmp_path / "run")
    flow = record.load_student().scaled
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = flow.log_prob(x)
        torch.testing.assert_close(flow.cuda().log_prob(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-2)


def test_every_term_on_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    weights = [f"distillation.{name}.weight=0.1" for name in DistillationConfig().terms()]
    curves = {
        device: nfkd.run(digits(device, *weights), tmp_path / device).curves["student"] for device in ("cpu", "cuda")
    }
    for name in DistillationConfig().terms():
        cuda, cpu = (curves[device][f"train/{name}"].values for device in ("cuda", "cpu"))
        np.testing.assert_allclose(cuda[:3], cpu[:3], rtol=5e-2, err_msg=name)  # the teachers differ by rounding


def test_running_out_of_memory_is_a_clear_error(tmp_path: Path) -> None:
    config = digits("cuda", "training.batch_size=1024")
    run = prepare(config, tmp_path / "run")
    hog: list[torch.Tensor] = []
    seen: list[events.RunEvent] = []

    def take_all(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.StageStarted) and not hog:  # after the estimate, which would refuse the run
            torch.cuda.empty_cache()
            free = torch.cuda.mem_get_info()[0]
            hog.append(torch.empty(max(0, free - 2**24), dtype=torch.uint8, device="cuda"))

    assert execute_run(run, config, take_all, Control()) == "failed"
    hog.clear()
    [failed] = [event for event in seen if isinstance(event, events.RunFailed)]
    assert failed.error.title == "Out of memory"
    assert failed.error.action


def test_a_run_whose_estimate_exceeds_the_memory_is_refused_before_it_starts(tmp_path: Path) -> None:
    hog = torch.empty(max(0, torch.cuda.mem_get_info()[0] - 2**24), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(ConfigError, match=r"teacher\.hidden: training the teacher takes about"):
            prepare(digits("cuda", "training.batch_size=1024"), tmp_path / "run")
    finally:
        del hog
        torch.cuda.empty_cache()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_agree_with_one(tmp_path: Path) -> None:
    curves = {
        count: nfkd.run(digits("cuda", f"compute.devices={count}"), tmp_path / str(count)).curves for count in (1, 2)
    }
    for stage in ("teacher", "student", "baseline"):
        two, one = (curves[count][stage]["train/nll"].values for count in (2, 1))
        np.testing.assert_allclose(two[:5], one[:5], rtol=1e-3)  # rounding differences grow with the steps
        np.testing.assert_allclose(two, one, rtol=5e-2)
