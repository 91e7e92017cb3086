"""Recorded steps: a replay sees nothing of the step that was recorded but its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nfkd.config.flows import MAFConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.distillation.distiller import Distiller, Likelihood
from nfkd.distillation.known_passes import KnownPasses, teacher_passes
from nfkd.distillation.step_graphs import CudaRecorder, StepGraphs
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generators
from tests.core.tiny import moons


class PythonRecorder:
    """Replays by calling the recorded function again; it then writes into the tensors of the recording.

    The function was made for the first step: whatever it has kept of that step besides tensors shows in the result, as
    it would with a CUDA graph.
    """

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, compute: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        self.recorded += 1
        results = [tensor.detach().clone() for tensor in compute()]

        def replay() -> None:
            self.replayed += 1
            for result, tensor in zip(results, compute(), strict=True):
                result.copy_(tensor.detach())

        return replay, results


class FailingRecorder:
    """Fails as a driver does that cannot record an operation."""

    def record(self, compute: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        compute()
        msg = "CUDA error: operation not permitted when stream is capturing\nmore lines"
        raise RuntimeError(msg)


class WrongRecorder(PythonRecorder):
    """Replays nothing."""

    def record(self, compute: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        results = super().record(compute)[1]

        def replay() -> None:
            for result in results:
                result.zero_()

        return replay, results


SETTINGS = config(
    {"nll": 1.0, "lkd": 0.5, "skd": 0.2, "jacobian": 0.1},
    {"lkd": {"schedule": "cosine", "schedule_end": 0.1}},
)


@pytest.fixture
def flows(make_flow: Callable[[int, int], Flow]) -> tuple[Flow, Flow]:
    return make_flow(1, 1), make_flow(2, 2)


def steps(loss: Distiller, flow: Flow, batches: list[Batch], micro_batches: int) -> list[list[Tensor]]:
    """Return loss and gradients of deferred steps."""
    drawn, found = generators(), []
    for number, batch in enumerate(batches):
        made = loss.backward(flow, batch, drawn, number, micro_batches, deferred=True)
        gradients = [value.grad.clone() for value in flow.parameters() if value.grad is not None]
        found.append([made.total.clone(), made.gradient_norm.clone(), *made.terms.values(), *gradients])
    return found


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_replays_are_the_usual_steps(flows: Any, digits: Dataset, micro_batches: int) -> None:
    student, teacher = flows
    inputs = [torch.rand(6, 1, 8, 8, dtype=torch.float64) for _ in range(4)]
    batches = [Batch(x) for x in inputs]
    expected, recorder = [], PythonRecorder()
    for recorded in (False, True):
        loss = distiller(SETTINGS, student, teacher, digits, steps=4)
        if recorded:
            loss.graphs = StepGraphs(student, recorder, pytest.fail)
        found = steps(loss, student, batches, micro_batches)
        expected = expected or found
        for first, second in zip(expected, found, strict=True):
            for one, other in zip(first, second, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert recorder.recorded == 1
    assert recorder.replayed == 1 + 4  # one to compare
    differing = [not torch.equal(*pair) for pair in zip(expected[0], expected[1], strict=True)]
    assert all(differing[:2])


@pytest.mark.parametrize("known", [False, True])
def test_rows_that_come_again_are_recorded_unless_their_passes_are_looked_up(
    known: bool, flows: Any, digits: Dataset
) -> None:
    student, teacher = flows
    rows = Batch(torch.rand(9, 1, 8, 8, dtype=torch.float64))
    batches = [replace(rows.take(index), train_rows=index) for index in torch.randperm(9).reshape(3, 3)]
    passes = KnownPasses(train=teacher_passes(teacher, rows, [])) if known else KnownPasses()
    settings, recorder, lines = config({"nll": 1.0, "lkd": 0.5}), PythonRecorder(), list[str]()
    expected = steps(distiller(settings, student, teacher, digits, steps=3), student, batches, 1)
    loss = distiller(settings, student, teacher, digits, steps=3, known=passes)
    loss.graphs = StepGraphs(student, recorder, lines.append)
    found = steps(loss, student, batches, 1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (recorder.recorded, len(lines)) == ((0, 1) if known else (1, 0))
    assert all("distillation.cache = 0" in line for line in lines)


def test_another_shape_is_recorded_apart_and_only_a_few_are() -> None:
    dataset = load_dataset(moons().data)
    flow = build_flow(moons().teacher, (2,), generator=torch.Generator().manual_seed(0))
    flow.initialize(torch.randn(9, 2))
    loss, recorder = Likelihood(dataset), PythonRecorder()
    loss.graphs = StepGraphs(flow, recorder, pytest.fail)
    for size in (3, 4, 3, 5, 6, 7, 8, 4):
        made = loss.backward(flow, Batch(torch.randn(size, 2)), generators(), deferred=True)
        assert torch.isfinite(made.total)
    assert recorder.recorded == 4


def test_running_means_are_updated_once_a_step() -> None:
    dataset, batches = load_dataset(moons().data), [Batch(torch.randn(16, 2)) for _ in range(3)]
    found: list[list[Tensor]] = []
    for recorder in (None, PythonRecorder()):
        flow_config = MAFConfig(steps=2, hidden=6, batch_norm=True)
        flow = build_flow(flow_config, (2,), generator=torch.Generator().manual_seed(0)).train()
        flow.initialize(batches[0].x)
        loss = Likelihood(dataset)
        loss.graphs = None if recorder is None else StepGraphs(flow, recorder, pytest.fail)
        steps(loss, flow, batches, 1)
        found.append([buffer.clone() for buffer in flow.buffers()])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [
        (FailingRecorder(), "RuntimeError: CUDA error: operation not permitted when stream is capturing"),
        (WrongRecorder(), "a replay gave another gradient"),
    ],
)
def test_where_recording_fails_a_line_says_so_and_steps_are_computed(recorder: Any, reason: str) -> None:
    dataset = load_dataset(moons().data)
    flow = build_flow(moons().teacher, (2,), generator=torch.Generator().manual_seed(0))
    flow.initialize(torch.randn(9, 2))
    batches, lines = [Batch(torch.randn(5, 2)) for _ in range(3)], list[str]()
    plain = steps(Likelihood(dataset), flow, batches, 1)
    loss = Likelihood(dataset)
    loss.graphs = StepGraphs(flow, recorder, lines.append)
    found = steps(loss, flow, batches, 1)
    assert lines == [f"compute.cuda_graphs: steps cannot be recorded and are computed as usual ({reason})"]
    assert all(torch.equal(*pair) for first in zip(plain, found, strict=True) for pair in zip(*first, strict=True))


def test_without_cuda_recording_fails_with_an_error_that_the_steps_survive() -> None:
    dataset = load_dataset(moons().data)
    flow = build_flow(moons().teacher, (2,), generator=torch.Generator().manual_seed(0))
    flow.initialize(torch.randn(9, 2))
    lines: list[str] = []
    loss = Likelihood(dataset)
    loss.graphs = StepGraphs(flow, CudaRecorder(torch.device("cuda", 0)), lines.append)
    if not torch.cuda.is_available():
        loss.backward(flow, Batch(torch.randn(5, 2)), generators(), deferred=True)
        assert len(lines) == 1
