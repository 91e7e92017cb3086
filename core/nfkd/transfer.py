"""Copies of tensors from the CPU to another device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor on a device, without waiting for the device.

    A copy from the CPU to CUDA goes through pinned memory: the device makes it when its earlier work is done, and torch
    keeps the memory until then.

    Parameters
    ----------
    tensor
        Any tensor.
    device
        Where it is needed.
    dtype
        Of the result; by default that of the tensor. It is converted before it is copied.
    """
    tensor = tensor.to(dtype=dtype or tensor.dtype)
    if tensor.device == device or tensor.device.type != "cpu":
        return tensor.to(device)
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=device.type != "mps")
