"""What needs a CUDA device: the same numbers as on the processor, and a clear word when its memory is full.

Needs only this repository, torch and what the engine imports: ``make test-gpu PYTHON=python3``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.runs.errors import RunError
from nfkd.training.control import Control
from nfkd.training.job import perform

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

SHORT = ["training.teacher_steps=20", "training.student_steps=10", "monitor.evaluate_every=5"]


def digits(device: str, *overrides: str) -> ExperimentConfig:
    return ExperimentConfig.load("digits", [*SHORT, f"compute.device={device}", *overrides])


def test_digits_on_cuda_agrees_with_the_processor(tmp_path: Path) -> None:
    curves = {device: nfkd.run(digits(device), tmp_path / device).curves for device in ("cpu", "cuda")}
    for stage in ("teacher", "student", "baseline"):
        ours, theirs = (curves[device][stage]["train/nll"].values for device in ("cuda", "cpu"))
        np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-3)  # later steps drift apart, as they must
        np.testing.assert_allclose(ours, theirs, rtol=5e-2)


def test_log_prob_of_the_same_weights_is_the_same(tmp_path: Path) -> None:
    record = nfkd.run(digits("cuda"), tmp_path / "run")
    flow = record.load_student()
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = flow.log_prob(x)
        torch.testing.assert_close(flow.cuda().log_prob(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-2)


def test_memory_that_runs_out_is_a_clear_error(tmp_path: Path) -> None:
    from nfkd.protocol.events import RunFailed
    from nfkd.training.api import prepare

    config = digits("cuda", "training.batch_size=1024")
    run = prepare(config, tmp_path / "run")
    hog = torch.empty(max(0, torch.cuda.mem_get_info()[0] - 2**26), dtype=torch.uint8, device="cuda")
    seen: list[object] = []
    assert perform(run, config, seen.append, Control()) == "failed"
    del hog
    [failed] = [event for event in seen if isinstance(event, RunFailed)]
    assert failed.error.title in {"Out of memory", "The experiment was refused"}
    with pytest.raises(RunError):
        nfkd.run(config, tmp_path / "run")
