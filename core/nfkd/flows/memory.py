"""Tensors that lie next to each other in memory, used as one without a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class ByAddress(Generic[Result]):
    """A function of tensors that is called again only when they have moved in memory.

    Its result must keep their memory in use, or say that they lie apart: another tensor could else get their address.
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
    """Move tensors of one dtype and device, so that they follow each other in memory; they stay the same objects."""
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
    """Return K tensors of the same shape that lie at equal distances in memory as one, (K, …); None for others."""
    first = tensors[0].detach()
    starts = [each.storage_offset() for each in tensors]
    distances = {after - before for before, after in pairwise(starts)} or {first.numel()}
    if len(distances) > 1 or min(distances) < 0 or not _share_memory(tensors):
        return None
    if any(each.stride() != first.stride() for each in tensors):
        return None
    return first.as_strided((len(tensors), *first.shape), (*distances, *first.stride()))


def zeros_alike(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return zeros that lie to each other in memory as these contiguous tensors do."""
    memory = dict[int, list[Tensor]]()
    for each in tensors:
        memory.setdefault(each.untyped_storage().data_ptr(), []).append(each)
    starts = {key: min(each.storage_offset() for each in group) for key, group in memory.items()}
    ends = {key: max(each.storage_offset() + each.numel() for each in group) for key, group in memory.items()}
    new = {key: group[0].new_zeros(ends[key] - starts[key]) for key, group in memory.items()}
    places = [(each, each.untyped_storage().data_ptr()) for each in tensors]
    return [new[key].as_strided(each.shape, each.stride(), each.storage_offset() - starts[key]) for each, key in places]


def _share_memory(tensors: Sequence[Tensor]) -> bool:
    return len({(each.untyped_storage().data_ptr(), each.dtype) for each in tensors}) == 1
