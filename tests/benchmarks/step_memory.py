"""Peak memory of the activations of a training step, counted: ``python -m tests.benchmarks.step_memory``.

It is the most bytes of tensors that are alive at once in the forward and the backward pass, without weights, their
gradients and the batch. Buffers inside an operation are not included.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nfkd.config import GlowConfig, TrainingConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.training.step import passes_of
from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.timing import Figure

SHAPE = (3, 32, 32)
KEEP, RECOMPUTE = TrainingConfig(), TrainingConfig(activations="recompute")
GOALS = {"kept activations": 0.3, "8 steps": 1.05}
"""The highest wanted ratio of a step of 32 steps with recomputed activations to each of these."""


class _Allocations(TorchDispatchMode):
    """Records when the storages that operations return are made and freed."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._numbers = {_address(tensor): -1 for tensor in known}
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._changes: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor) and _address(value) not in self._numbers:
                self._add(value)
        return out

    def _add(self, value: Tensor) -> None:
        storage, address, number = value.untyped_storage(), _address(value), len(self._changes)
        size = storage.nbytes()
        self._numbers[address] = number
        self._changes.append((number, size))

        def freed(_: object) -> None:
            del self._numbers[address], self._references[number]
            self._changes.append((number, -size))

        self._references[number] = weakref.ref(storage, freed)

    def peak(self, without: Iterable[Tensor]) -> int:
        """Return the most bytes that were alive at once, apart from those of some tensors that are alive now."""
        left_out: Collection[int | None] = {self._numbers.get(_address(tensor)) for tensor in without}
        alive = peak = 0
        for number, change in self._changes:
            alive += 0 if number in left_out else change
            peak = max(peak, alive)
        return peak


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # not the address of the bytes, which an empty storage lacks


def peak_activations(flow: Flow, x: Tensor, training: TrainingConfig, loss: Callable[[Flow, Tensor], Tensor]) -> int:
    """Return the peak of the activations of a step, in bytes."""
    flow.zero_grad(set_to_none=True)
    with _Allocations([x, *flow.parameters(), *flow.buffers()]) as allocations, passes_of(training):
        loss(flow, x).backward()
    return allocations.peak([parameter.grad for parameter in flow.parameters() if parameter.grad is not None])


def likelihood(flow: Flow, x: Tensor) -> Tensor:
    """Return the loss of maximum likelihood."""
    return -flow.log_prob(x).mean()


def layer_by_layer(flow: Flow, x: Tensor) -> Tensor:
    """Return the likelihood and a squared distance of the output of each step from constants, as ILKD has it."""
    made = flow(x, trace=True)
    states = [state for name, (state, _) in made.trace.items() if "step" in name]
    return -made.log_prob.mean() + torch.stack([(state - 0.1).square().mean() for state in states]).mean()


def glow_peak(
    steps: int, training: TrainingConfig, loss: Callable[[Flow, Tensor], Tensor] = likelihood, width: int = 128
) -> int:
    """Return the peak of the activations of a step of Glow with three levels on four images, in bytes."""
    generator = torch.Generator().manual_seed(0)
    flow = build_flow(GlowConfig(levels=3, steps=steps, hidden=width), SHAPE, generator=generator)
    x = torch.rand(4, *SHAPE, generator=generator)
    flow.initialize(x)
    return peak_activations(flow, x, training, loss)


def ratios() -> dict[str, float]:
    """Return the ratio to each of `GOALS`; counted, so it is the same on every machine."""
    recomputed = glow_peak(32, RECOMPUTE)
    return {
        "kept activations": recomputed / glow_peak(32, KEEP),
        "8 steps": recomputed / glow_peak(8, RECOMPUTE),
    }


def _counted() -> dict[str, Figure]:
    return {rival: Figure.of([ratio]) for rival, ratio in ratios().items()}


CASES = (Case("peak activations of a step of Glow 32×3, width 128, recomputed", GOALS, _counted),)


def main() -> None:
    """Print the peaks for several numbers of steps, and the ratios beside their goals."""
    print("| loss | steps | kept | recomputed | ratio |\n|---|---:|---:|---:|---:|")
    for loss in (likelihood, layer_by_layer):
        for steps in (8, 16, 32):
            kept, recomputed = (glow_peak(steps, training, loss) / 2**20 for training in (KEEP, RECOMPUTE))
            name = loss.__name__.replace("_", " ")
            print(f"| {name} | {steps} | {kept:.1f} MiB | {recomputed:.2f} MiB | {recomputed / kept:.3f} |", flush=True)
    for name, ratio in ratios().items():
        print(f"32 steps recomputed ÷ {name}: {ratio:.3f}, goal {GOALS[name]}")


if __name__ == "__main__":
    main()
