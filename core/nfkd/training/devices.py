"""The device and the threads that a config asks for."""

from __future__ import annotations

import os

import psutil
import torch

from nfkd.config import ComputeConfig, Fault


def resolve_device(config: ComputeConfig) -> torch.device:
    """Return the device: CUDA, then MPS, then the processor where the config says *auto*."""
    if config.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return torch.device(config.device, 0) if config.device == "cuda" else torch.device(config.device)


def device_faults(config: ComputeConfig) -> list[Fault]:
    """Return a fault when the device that is asked for is not there."""
    missing = (config.device == "cuda" and not torch.cuda.is_available()) or (
        config.device == "mps" and not torch.backends.mps.is_available()
    )
    if not missing:
        return []
    return [Fault("compute.device", f"this machine has no usable {config.device}: choose auto or cpu")]


def device_name(device: torch.device) -> str:
    """Return the device in a person's words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def memory_available(device: torch.device) -> int:
    """Return the free memory in bytes that a training on this device may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def thread_count(config: ComputeConfig) -> int:
    """Return the number of threads: one core is left to the studio unless the config names a number."""
    return config.threads or max(1, (os.cpu_count() or 2) - 1)
