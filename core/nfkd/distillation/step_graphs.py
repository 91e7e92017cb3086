"""CUDA graphs of training steps: loss and gradient are recorded once and replayed with other inputs.

A replay launches thousands of kernels by one call, where Python would launch each. The inputs are copied into the
tensors that were recorded. All random numbers of a step are among its inputs, so that a replay needs no generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nfkd.distillation.balance import Weight, total_norm, trained_parameters
from nfkd.distillation.loss import Loss
from nfkd.distillation.passes import StepInputs
from nfkd.flows.flow import Flow

_MOST_GRAPHS = 4
_WARM_UP = 3  # as torch's documentation does
_TOLERANCE = 1e-2  # relative, of the gradient: kernels may be others than in the first steps

Gradient = Callable[[StepInputs, Mapping[str, Weight]], Loss]
"""Sets the gradients of a flow's parameters, and returns the loss."""


class Recorder(Protocol):
    """Records a computation."""

    def record(self, compute: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        """Return what replays a computation, and the tensors that a replay changes."""
        ...


class CudaRecorder:
    """Records a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).

    Parameters
    ----------
    device
        The CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def record(self, compute: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        """Return what replays a computation, and the tensors that a replay changes."""
        with torch.cuda.device(self._device):
            side, current = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    compute()
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the device meanwhile, such as one that draws samples for the studio.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                results = compute()
        return graph.replay, results


@dataclass(frozen=True)
class _Graph:
    """A recorded step.

    Attributes
    ----------
    replay
        Computes the step anew from `inputs` and `weights`.
    inputs, weights
        The tensors that were recorded.
    terms, total, norm, gradients
        What a replay changes: the loss, and the gradient of each parameter in `parameters`.
    """

    replay: Callable[[], None]
    inputs: list[Tensor]
    weights: dict[str, Tensor]
    terms: dict[str, Tensor]
    total: Tensor
    norm: Tensor
    parameters: list[Tensor]
    gradients: list[Tensor]

    def run(self, inputs: StepInputs, weights: Mapping[str, Weight]) -> Loss:
        """Compute loss and gradients of a step with inputs of the same shapes."""
        for target, source in zip(self.inputs, inputs.tensors(), strict=True):
            target.copy_(source, non_blocking=True)
        for name, weight in weights.items():
            _fill(self.weights[name], weight)
        self.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        terms = {name: value.clone() for name, value in self.terms.items()}  # the next replay overwrites them
        return Loss(self.total.clone(), terms, weights, self.norm.clone())


class StepGraphs:
    """The recorded steps of a stage, one for each combination of input shapes.

    Parameters
    ----------
    flow
        The flow in training.
    recorder
        Records them.
    log
        Receives a line where recording fails; steps are then computed as usual.
    """

    def __init__(self, flow: Flow, recorder: Recorder, log: Callable[[str], None]) -> None:
        self._flow, self._recorder, self._log = flow, recorder, log
        self._graphs: dict[Any, _Graph] = {}
        self._usable = True

    def run(self, gradient: Gradient, inputs: StepInputs, weights: Mapping[str, Weight]) -> Loss:
        """Return the loss of a step and set the gradients: by a replay where that is possible."""
        if not self._usable:
            return gradient(inputs, weights)
        key = tuple(tuple(tensor.shape) for tensor in inputs.tensors())
        if key not in self._graphs:
            if len(self._graphs) == _MOST_GRAPHS:
                return gradient(inputs, weights)
            try:
                self._graphs[key] = self._record(gradient, inputs, weights)
            except Exception as error:  # noqa: BLE001 - whatever the driver does not support: the run goes on without
                self.give_up(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
                return gradient(inputs, weights)
            if not self._agrees(gradient, inputs, weights, self._graphs[key]):
                self.give_up("a replay gave another gradient")
                return gradient(inputs, weights)
        return self._graphs[key].run(inputs, weights)

    def give_up(self, reason: str) -> None:
        """Compute all further steps as usual; the first reason is logged."""
        if not self._usable:
            return
        self._usable = False
        self._graphs.clear()
        self._log(f"compute.cuda_graphs: steps cannot be recorded and are computed as usual ({reason})")

    def _record(self, gradient: Gradient, inputs: StepInputs, weights: Mapping[str, Weight]) -> _Graph:
        own = inputs.map(lambda tensor: tensor.clone())
        like = inputs.batch.x
        scalars = {name: torch.zeros((), dtype=like.dtype, device=like.device) for name in weights}
        for name, weight in weights.items():
            _fill(scalars[name], weight)
        parameters = trained_parameters(self._flow)
        names: list[str] = []

        def compute() -> list[Tensor]:
            loss = gradient(own, scalars)
            names[:] = loss.terms
            found = [parameter.grad for parameter in parameters if parameter.grad is not None]
            return [loss.total, loss.gradient_norm, *loss.terms.values(), *found]

        with _Unchanged(self._flow):
            replay, (total, norm, *rest) = self._recorder.record(compute)
        used = [parameter for parameter in parameters if parameter.grad is not None]
        terms, gradients = dict(zip(names, rest, strict=False)), rest[len(names) :]
        return _Graph(replay, own.tensors(), scalars, terms, total, norm, used, gradients)

    def _agrees(self, gradient: Gradient, inputs: StepInputs, weights: Mapping[str, Weight], graph: _Graph) -> bool:
        """Compare a replay with the usual computation; waits for the device, once for each graph."""
        with _Unchanged(self._flow):
            graph.run(inputs, weights)
            replayed = [gradient.clone() for gradient in graph.gradients]
            usual = gradient(inputs, weights)
            differences = [
                replay - parameter.grad
                for replay, parameter in zip(replayed, graph.parameters, strict=True)
                if parameter.grad is not None
            ]
        return len(differences) == len(replayed) and bool(total_norm(differences) <= _TOLERANCE * usual.gradient_norm)


class _Unchanged:
    """Restores the running means of a flow, which every pass in training changes."""

    def __init__(self, flow: Flow) -> None:
        self._buffers = [buffer for buffer in flow.buffers() if buffer.is_floating_point()]

    def __enter__(self) -> None:
        self._before = [buffer.clone() for buffer in self._buffers]

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for buffer, before in zip(self._buffers, self._before, strict=True):
                buffer.copy_(before)


def _fill(target: Tensor, weight: Weight) -> None:
    if isinstance(weight, Tensor):
        target.copy_(weight)
    else:
        target.fill_(weight)
