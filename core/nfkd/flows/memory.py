"""Tensors that lie next to each other in memory, used as one without a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class ByAddress(Generic[Result]):
    """A function of tensors that is called again only when one has another address in memory.

    The result must hold the memory of the tensors, or be None. Otherwise a freed address could be used again and give
    a stale result. The tensors at an address have the same shape and dtype each time.
    """

    def __init__(self, function: Callable[[Sequence[Tensor]], Result]) -> None:
        self._function = function
        self._addresses: list[int] | None = None

    def __call__(self, tensors: Sequence[Tensor]) -> Result:
        """Return the result for tensors."""
        addresses = list(map(Tensor.data_ptr, tensors))
        if addresses != self._addresses:
            self._result, self._addresses = self._function(tensors), addresses
        return self._result


@torch.no_grad()
def lay_together(tensors: Sequence[Tensor]) -> None:
    """Move tensors of one dtype and device, so that they follow each other in memory.

    They stay the same objects, but views that were taken before, such as those of ``state_dict()``, do not follow them.
    `pickle` writes the memory of all with each of them: copy them before. `torch.save` and safetensors do not.
    """
    together = torch.cat([each.detach().flatten() for each in tensors])
    ends = accumulate((each.numel() for each in tensors), initial=0)
    for each, (start, end) in zip(tensors, pairwise(ends), strict=True):
        each.data = together[start:end].view(each.shape)


def joined(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return tensors that follow each other in memory as one, (n,); None for others."""
    end = tensors[0].storage_offset()
    for each in tensors:
        if each.storage_offset() != end or not each.is_contiguous():
            return None
        end += each.numel()
    if not _share_memory(tensors):
        return None
    first = tensors[0].detach()
    return first.as_strided((end - first.storage_offset(),), (1,))


def stacked(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return K contiguous tensors of the same shape at equal distances in memory as one, (K, …); None for others."""
    first = tensors[0].detach()
    starts = [each.storage_offset() for each in tensors]
    distances = {after - before for before, after in pairwise(starts)} or {first.numel()}
    if len(distances) > 1 or min(distances) < first.numel() or not _share_memory(tensors):
        return None
    if not all(each.is_contiguous() for each in tensors):
        return None
    return first.as_strided((len(tensors), *first.shape), (*distances, *first.stride()))


def zeros_alike(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return zeros of the same shapes and at the same distances in memory as these contiguous tensors."""
    memory = dict[int, list[int]]()
    for number, each in enumerate(tensors):
        memory.setdefault(each.untyped_storage().data_ptr(), []).append(number)
    found = list(tensors)
    for group in memory.values():
        start = min(tensors[number].storage_offset() for number in group)
        end = max(tensors[number].storage_offset() + tensors[number].numel() for number in group)
        zeros = tensors[group[0]].new_zeros(end - start)
        for number in group:
            place = tensors[number].storage_offset() - start
            found[number] = zeros[place : place + tensors[number].numel()].view(tensors[number].shape)
    return found


def _share_memory(tensors: Sequence[Tensor]) -> bool:
    return len({(each.untyped_storage().data_ptr(), each.dtype) for each in tensors}) == 1
