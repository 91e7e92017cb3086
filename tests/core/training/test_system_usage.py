"""Curves about the machine: their values, and that they change nothing else of a run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
import torch

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol.records import SYSTEM
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from nfkd.training.system_usage import SystemUsage
from tests.core.tiny import moons
from tests.core.training.runs import TrainedRun, assert_same, stop_run

SAVED = Path(__file__).parents[1] / "runs" / "saved" / "interrupted.zip"
CURVES = {f"{SYSTEM}{name}" for name in ("cpu", "memory", "steps_per_second")}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step be measured."""
    monkeypatch.setattr("nfkd.training.system_usage._INTERVAL", 0.0)


def fake_process(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace psutil's process by one whose times and memory are set."""
    process = SimpleNamespace(user=2.0, system=1.0, rss=0)
    process.cpu_times = lambda: SimpleNamespace(user=process.user, system=process.system)
    process.memory_info = lambda: SimpleNamespace(rss=process.rss)
    monkeypatch.setattr("nfkd.training.system_usage.psutil.Process", lambda: process)
    return process


def test_cpu_and_speed_are_means_since_the_last_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    process = fake_process(monkeypatch)
    usage = SystemUsage(torch.device("cpu"), step=100, elapsed=10.0)
    process.user, process.system, process.rss = 3.2, 1.4, 3 << 20
    assert usage.measure(110, 10.9) == {}, "at most once a second"
    first = usage.measure(120, 12.0)
    assert first == {
        "system/cpu": pytest.approx(100 * (1.2 + 0.4) / 2.0),
        "system/memory": 3.0,
        "system/steps_per_second": 10.0,
    }
    assert usage.measure(130, 12.5) == {}
    second = usage.measure(125, 14.0)
    assert (second["system/cpu"], second["system/steps_per_second"]) == (0.0, 2.5)


@pytest.mark.parametrize("error", [ModuleNotFoundError("pynvml"), RuntimeError("no driver")])
def test_a_gpu_whose_use_is_unknown_has_its_memory_alone(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_device: Any) -> int:
        raise error

    fake_process(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (6 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    usage = SystemUsage(torch.device("cuda", 0), step=0, elapsed=0.0)
    assert usage.measure(1, 1.0).keys() == {*CURVES, "system/gpu_memory"}
    monkeypatch.setattr(torch.cuda, "utilization", lambda _device: 73)
    other = SystemUsage(torch.device("cuda", 0), step=0, elapsed=0.0).measure(1, 1.0)
    assert (other["system/gpu"], other["system/gpu_memory"]) == (73.0, 2048.0)


@pytest.mark.usefixtures("measured")
def test_measuring_every_step_leaves_weights_and_other_curves_as_they_are(
    trained: Callable[[ExperimentConfig], TrainedRun], tmp_path: Path
) -> None:
    record = nfkd.run(moons(), tmp_path / "run")
    assert_same(record.path, trained(moons()).record.path, moons())
    curves = record.curves["student"]
    assert {name for name in curves if name.startswith(SYSTEM)} == CURVES
    assert curves["system/memory"].steps.tolist() == list(range(1, 21))
    here = psutil.Process().memory_info().rss / 2**20
    np.testing.assert_allclose(curves["system/memory"].values, here, rtol=0.5)
    speed, times = curves["system/steps_per_second"].values, curves["system/steps_per_second"].times
    assert np.median(speed[1:] * np.diff(times)) == pytest.approx(1.0, rel=0.1), "one step between two points"
    assert np.all(curves["system/cpu"].values >= 0)
    with h5py.File(record.path / "run.h5") as file:
        stored = file["student/curves/system/cpu/value"]
        np.testing.assert_array_equal(stored[...], curves["system/cpu"].values)  # type: ignore[index]
        assert stored.attrs["units"] == b"% of a core"


@pytest.mark.usefixtures("measured")
def test_a_resumed_run_goes_on_with_its_system_curves(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop_run(run, moons(), "student", 8)
    assert execute_run(run, moons(), lambda _event: None, Control(), resume=True) == "finished"
    curve = nfkd.open_run(run).curves["student"]["system/cpu"]
    assert curve.steps.tolist() == list(range(1, 21))


@pytest.mark.usefixtures("measured")
def test_a_run_of_an_older_version_is_resumed_without_them(tmp_path: Path) -> None:
    run = tmp_path / "old"
    with zipfile.ZipFile(SAVED) as archive:
        archive.extractall(run)
    config = nfkd.open_run(run).config
    assert execute_run(run, config, lambda _event: None, Control(), resume=True) == "finished"
    curves = nfkd.open_run(run).curves["student"]
    assert len(curves["train/total"].steps) == config.training.student_steps
    assert not [name for name in curves if name.startswith(SYSTEM)]
