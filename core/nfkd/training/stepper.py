"""Makes the steps of a stage, and reads their values: each at once, or those of several steps together.

A GPU works through its queue while Python prepares further steps. Reading a number waits until the queue is empty, so a
`Stepper` reads the numbers of several steps together. It keeps a copy of the state before the first of them. If a
number is not finite, it goes back and repeats these steps one by one, where examples are left out and counted, or the
training ends, as on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nfkd.config import ComputeConfig, TrainingConfig
from nfkd.data import Dataset
from nfkd.distillation.balance import Weight
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.loss import Loss
from nfkd.distillation.step_graphs import CudaRecorder, StepGraphs
from nfkd.planning.devices import reads_together
from nfkd.training.curve_values import read_losses, read_scalars
from nfkd.training.optimizers import learning_rate
from nfkd.training.rewind import Rewind
from nfkd.training.state import StageState
from nfkd.training.step import StepResult, device_of, launch_step, make_step

_MOST_STEPS = 16
_SECONDS = 1.0
"""Most steps and seconds between two reads, where the config leaves it open."""


@dataclass(frozen=True)
class _Launched:
    """A step whose values were not read."""

    step: int
    rate: float
    elapsed: float
    loss: Loss


class Stepper:
    """Makes the steps of a stage.

    Parameters
    ----------
    state, loss, dataset, training
        As for `make_step`.
    compute
        Says how many steps are read together.
    steps
        The stage's budget, over which the learning rate falls.
    elapsed
        Returns the seconds that the stage has taken.
    report
        Receives each step that was read, and the seconds at which it was made.
    warn
        Receives why steps are not recorded as CUDA graphs, where the config asks for that.
    """

    def __init__(
        self,
        state: StageState,
        loss: Distiller,
        dataset: Dataset,
        training: TrainingConfig,
        compute: ComputeConfig,
        *,
        steps: int,
        elapsed: Callable[[], float],
        report: Callable[[StepResult, float], None],
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._state, self._loss, self._dataset, self._training = state, loss, dataset, training
        self._steps, self._elapsed, self._report = steps, elapsed, report
        automatic, device = not compute.check_every, device_of(state.flow)
        self._waits = loss.ranks.size > 1 or not reads_together(compute, device)
        if compute.cuda_graphs and device.type == "cuda" and not self._waits:
            loss.graphs = StepGraphs(state.flow, CudaRecorder(device), warn)
        self._most = _MOST_STEPS if automatic else compute.check_every
        self._adapts, self._together = automatic, 1 if automatic else self._most
        self._rewind = Rewind(state)
        self._launched: list[_Launched] = []
        self._began = 0.0

    def step(self) -> None:
        """Make a step.

        Raises
        ------
        DivergedError
            When a loss is not finite; the weights are those from before its step.
        """
        if self._waits or not self._state.step:
            self._make_step(self._elapsed)
            return
        if not self._launched:
            self._rewind.keep()
            self._began = time.perf_counter()
        rate = self._rate()
        loss = launch_step(self._state, self._loss, self._dataset, self._training, rate)
        self._launched.append(_Launched(self._state.step, rate, self._elapsed(), loss))
        if len(self._launched) >= self._together:
            self.settle()

    def settle(self) -> None:
        """Read the values of all steps so far; call it before anything else reads or saves the state.

        Raises
        ------
        DivergedError
            As `step`.
        """
        launched, self._launched = self._launched, []
        if not launched:
            return
        losses = read_losses([each.loss for each in launched])
        if all(loss.finite for loss in losses):
            self._read_norms()
            for each, loss in zip(launched, losses, strict=True):
                self._report(StepResult(each.step, each.rate, loss), each.elapsed)
        else:
            self._rewind.restore()
            for each in launched:
                self._make_step(lambda each=each: each.elapsed)
        if self._adapts:
            seconds = (time.perf_counter() - self._began) / len(launched)
            self._together = max(1, min(self._most, int(_SECONDS / max(seconds, _SECONDS / self._most))))

    def _make_step(self, elapsed: Callable[[], float]) -> None:
        """Make a step and read its values at once."""
        with self._loss.ranks.step():
            result = make_step(self._state, self._loss, self._dataset, self._training, self._rate())
        self._report(result, elapsed())

    def _rate(self) -> float:
        return learning_rate(self._training, self._state.step, self._steps)

    def _read_norms(self) -> None:
        norms: dict[str, Weight] = self._state.norms
        norms.update(dict(zip(norms, read_scalars(list(norms.values())), strict=True)))
