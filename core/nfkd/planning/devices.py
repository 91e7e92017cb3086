"""The device, precision and threads that a config selects."""

from __future__ import annotations

import os

import psutil
import torch
from torch.nn import functional

from nfkd.config import ComputeConfig, ConfigProblem, TrainingConfig

_TF32_SINCE = (8, 0)
"""Compute capability of Ampere."""


def resolve_device(config: ComputeConfig) -> torch.device:
    """Return the device; *auto* prefers CUDA, then MPS, then the CPU."""
    if config.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return torch.device(config.device, 0) if config.device == "cuda" else torch.device(config.device)


def device_problems(config: ComputeConfig) -> list[ConfigProblem]:
    """Return a problem if the device is not available, or not as often as configured."""
    if message := _missing(config.device):
        return [ConfigProblem("compute.device", message)]
    kind, here = resolve_device(config).type, int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    if config.devices > 1 and ":" in config.device:
        message = f"{config.device} is one GPU, but compute.devices is {config.devices:,}: choose cuda, or one device"
        return [ConfigProblem("compute.device", message)]
    if here == 1:
        return []
    if kind == "mps":
        message = "several processes cannot share a GPU of this kind: set it to 1, or compute.device to cpu"
        return [ConfigProblem("compute.devices", message)]
    if kind == "cuda" and here > torch.cuda.device_count():
        message = f"this machine has {torch.cuda.device_count()} usable GPUs, not {here}: set it to as many, or to 1"
        return [ConfigProblem("compute.devices", message)]
    return []


def _missing(device: str) -> str:
    """Return why this machine cannot use a device; empty if it can."""
    kind, _, number = device.partition(":")
    usable = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if kind in usable and not usable[kind]():
        return f"this machine has no usable {kind}: choose auto or cpu"
    count = torch.cuda.device_count() if number else 0
    if number and int(number) >= count:
        known = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"this machine has no {device}: its usable GPUs are {known}"
    return ""


def precision_problems(training: TrainingConfig, device: torch.device | None) -> list[ConfigProblem]:
    """Return a problem if the device cannot train in the given precision; tries a forward and a backward pass."""
    if training.precision == "float32" or device is None:
        return []
    if training.precision == "tf32":
        usable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _TF32_SINCE
        message = f"{device} has no TF32, which NVIDIA GPUs since Ampere have: choose float32"
        return [] if usable else [ConfigProblem("training.precision", message)]
    try:
        x, weight = (torch.ones(1, 2, 4, 4, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
        functional.conv2d(x, weight[..., :3, :3], padding=1).sum().backward()
        functional.linear(x, weight[0, 0]).sum().backward()
    except (RuntimeError, TypeError):
        return [ConfigProblem("training.precision", f"{device} cannot compute in bf16: choose float32")]
    return []


def precision_warnings(training: TrainingConfig, device: torch.device | None) -> list[ConfigProblem]:
    """Return a warning if the device emulates bf16 in float32."""
    if training.precision != "bf16" or device is None or _has_bf16(device):
        return []
    message = f"{device} emulates bf16: it saves memory but is not faster"
    return [ConfigProblem("training.precision", message)]


def reads_together(config: ComputeConfig, device: torch.device) -> bool:
    """Return whether the values of several training steps are read together; see `nfkd.training.stepper`."""
    return config.devices == 1 and (config.check_every > 1 or (not config.check_every and device.type == "cuda"))


def graph_warnings(config: ComputeConfig, training: TrainingConfig, device: torch.device | None) -> list[ConfigProblem]:
    """Return a warning if steps cannot be recorded as CUDA graphs."""
    if not config.cuda_graphs or device is None:
        return []
    if device.type != "cuda" or not reads_together(config, device):
        message = "it needs one CUDA device, and values that are not read at every step: steps are computed as usual"
    elif training.activations == "recompute":
        message = "a step with recomputed activations waits for the GPU and cannot be recorded: it is computed as usual"
    else:
        return []
    return [ConfigProblem("compute.cuda_graphs", message)]


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is ARM's
    return True


def device_name(device: torch.device) -> str:
    """Return the device's name, such as that of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def memory_available(device: torch.device) -> int:
    """Return the free memory of the device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def thread_count(config: ComputeConfig) -> int:
    """Return the threads of each process; by default all cores except one, for the studio, are shared between them."""
    return config.threads or max(1, ((os.cpu_count() or 2) - 1) // config.devices)
