"""Peak memory of a computation without gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(function: Callable[[], object], device: torch.device) -> int:
    """Return the bytes that a computation has in use at its peak, without the tensors that existed before.

    On CUDA they are those of PyTorch's allocator. Elsewhere, where no allocator reports a peak, they are the bytes of
    all tensors that are alive at once, counted after every operation; buffers inside an operation are not included.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with torch.no_grad(), _LiveBytes() as live:
        function()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations return for as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler; see `nfkd.flows.compiler`

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_address(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        for value in tree_leaves(out):
            if isinstance(value, Tensor) and _address(value) not in given:
                storage = value.untyped_storage()
                self._live[_address(value)] = StorageWeakRef(storage), storage.nbytes()
        self._live = {address: entry for address, entry in self._live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return out


def _address(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()
