"""Devices of a config: numbered GPUs, those that a machine lacks, and precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nfkd.config import ComputeConfig, TrainingConfig
from nfkd.flows.isolation import plain_torch
from nfkd.flows.precision import networks_in
from nfkd.planning.devices import (
    device_problems,
    graph_warnings,
    memory_available,
    precision_problems,
    precision_warnings,
    reads_together,
    resolve_device,
)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch report two GPUs; nothing may be computed on them."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)


@pytest.mark.usefixtures("two_gpus")
def test_a_numbered_gpu_is_the_device() -> None:
    assert resolve_device(ComputeConfig(device="cuda:1")) == torch.device("cuda", 1)
    assert resolve_device(ComputeConfig(device="cuda")) == torch.device("cuda", 0)
    assert device_problems(ComputeConfig(device="cuda:1")) == []


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ComputeConfig(device="cuda:2"), "this machine has no cuda:2: its usable GPUs are cuda:0 to cuda:1"),
        (
            ComputeConfig(device="cuda:1", devices=2),
            "cuda:1 is one GPU, but compute.devices is 2: choose cuda, or one device",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_named(config: ComputeConfig, message: str) -> None:
    assert [(each.path, each.message) for each in device_problems(config)] == [("compute.device", message)]


def test_without_cuda_every_gpu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    [problem] = device_problems(ComputeConfig(device="cuda:1"))
    assert problem.message == "this machine has no usable cuda: choose auto or cpu"


def test_the_free_memory_is_that_of_the_numbered_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1000 + device.index, 9000))
    assert memory_available(torch.device("cuda", 1)) == 1001


@pytest.mark.parametrize(("capability", "count"), [((7, 5), 1), ((8, 0), 0), ((9, 0), 0)])
def test_tf32_needs_ampere(capability: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    training = TrainingConfig(precision="tf32")
    assert len(precision_problems(training, torch.device("cuda", 0))) == count
    assert len(precision_problems(training, torch.device("cpu"))) == 1
    assert precision_warnings(training, torch.device("cpu")) == []


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({}, "cpu", False),
        ({}, "cuda", True),
        ({"check_every": 1}, "cuda", False),
        ({"check_every": 2}, "cpu", True),
        ({"devices": 2}, "cuda", False),
        ({"devices": 2, "check_every": 2}, "cpu", False),
    ],
)
def test_where_values_are_read_together(settings: dict[str, Any], kind: str, expected: bool) -> None:
    assert reads_together(ComputeConfig(**settings), torch.device(kind)) is expected


def test_cuda_graphs_elsewhere_give_a_warning() -> None:
    cuda, cpu, kept = torch.device("cuda", 0), torch.device("cpu"), TrainingConfig()
    recomputed = TrainingConfig(activations="recompute")
    assert graph_warnings(ComputeConfig(cuda_graphs=True), kept, cuda) == []
    assert graph_warnings(ComputeConfig(cuda_graphs=False), recomputed, cpu) == []
    for config, training, device in [
        (ComputeConfig(cuda_graphs=True), kept, cpu),
        (ComputeConfig(cuda_graphs=True, devices=2), kept, cuda),
        (ComputeConfig(cuda_graphs=True, check_every=1), kept, cuda),
        (ComputeConfig(cuda_graphs=True), recomputed, cuda),
    ]:
        [warning] = graph_warnings(config, training, device)
        assert warning.path == "compute.cuda_graphs"
        assert "computed as usual" in warning.message
    assert "recomputed activations" in warning.message


def allowed() -> tuple[bool, bool]:
    return bool(torch.backends.cuda.matmul.allow_tf32), bool(torch.backends.cudnn.allow_tf32)


def test_tf32_is_off_except_in_a_step_that_allows_it_and_the_callers_setting_returns() -> None:
    before = allowed()
    with plain_torch():
        assert allowed() == (False, False)
        with networks_in("tf32"):
            assert allowed() == (True, True)
            with plain_torch():  # a request of another thread does not change the step
                assert allowed() == (True, True)
        assert allowed() == (False, False)
        with networks_in("float32"):
            assert allowed() == (False, False)
    assert allowed() == before
