"""The memory of the tensors that a block makes."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LivingBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that its block makes: those that exist now, and the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self.now, self._known = 0, 0, set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for each in tree_leaves(outputs):
            if isinstance(each, Tensor) and each.untyped_storage().data_ptr() not in self._known:
                storage = each.untyped_storage()
                self._known.add(storage.data_ptr())
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, storage.data_ptr(), storage.nbytes())
        return outputs

    def _freed(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size
