"""One step of a stage: a batch, its loss and gradient, and the optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nfkd.config import TrainingConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.loss import Loss
from nfkd.flows.activations import activations_in
from nfkd.flows.autoregressive import BatchNorm
from nfkd.flows.compiler import optimizer_step
from nfkd.flows.flow import Flow
from nfkd.flows.precision import networks_in
from nfkd.training.curve_values import LossValues, read_losses, step_values
from nfkd.training.diagnosis import divergence
from nfkd.training.state import StageState

_NORM_MARGIN = 1e-5
"""torch clips by limit/(norm + 1e-6), at most 1. Below this margin and a thousandth of the limit that is exactly 1."""


@dataclass(frozen=True)
class StepResult:
    """What a step has done.

    Attributes
    ----------
    step
        Its number, from 1.
    rate
        The learning rate.
    loss
        The loss.
    """

    step: int
    rate: float
    loss: LossValues


def make_step(
    state: StageState, loss: Distiller, dataset: Dataset, training: TrainingConfig, rate: float
) -> StepResult:
    """Make a step of the optimizer; the first one also initialises the flow from its batch.

    Parameters
    ----------
    state
        The stage; its step, weights and random numbers change.
    loss
        The loss to minimise.
    dataset
        Its training examples are used.
    training
        Precision, activations, micro-batches and the limit of the gradient's norm.
    rate
        The learning rate.

    Raises
    ------
    DivergedError
        When the loss is not finite; the weights are those from before the step.
    """
    found, batch = _find_gradient(state, loss, dataset, training, deferred=False)
    [read] = read_losses([found])
    values = step_values(read, dataset)
    if not all(math.isfinite(value) for value in values.values()):
        with passes_of(training):
            raise divergence(state.stage, state.step + 1, state.flow, batch, values, loss.sampled)
    _update(state, found, training, rate, read.gradient_norm)
    return StepResult(state.step, rate, read)


def launch_step(state: StageState, loss: Distiller, dataset: Dataset, training: TrainingConfig, rate: float) -> Loss:
    """Make a step without waiting for the device; the flow is initialised. Arguments as for `make_step`.

    Returns
    -------
    Loss
        Where one of its values is not finite, the new weights must not be used.
    """
    found, _ = _find_gradient(state, loss, dataset, training, deferred=True)
    _update(state, found, training, rate)
    return found


def _find_gradient(
    state: StageState, loss: Distiller, dataset: Dataset, training: TrainingConfig, *, deferred: bool
) -> tuple[Loss, Batch]:
    """Set the gradients of the flow in training to those of the next batch; return the loss and the batch."""
    generators, flow = state.generators, state.flow
    index = state.batches.next().numpy()
    real = dataset.training_batch(index, generators.dequantization, generators.augmentation).to(device_of(flow))
    batch = loss.mix(real, generators)
    if not flow.initialized:
        first = real if loss.uses_data else batch
        flow.initialize(first.x, first.context)
        loss.ranks.share_state(flow)
    with passes_of(training):
        found = loss.backward(flow, batch, generators, state.step, training.accumulate, deferred=deferred)
    loss.ranks.average(_running_moments(flow))
    return found, batch


def _update(state: StageState, found: Loss, training: TrainingConfig, rate: float, norm: float | None = None) -> None:
    """Clip the gradient and make a step of the optimizer; `norm` is that of the gradient where it was read."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    limit = training.gradient_clip or math.inf
    if norm is None or not norm + _NORM_MARGIN <= 0.999 * limit:
        torch.nn.utils.clip_grads_with_norm_(state.flow.parameters(), limit, found.gradient_norm)
    optimizer_step(state.optimizer)
    state.count_step()


@contextmanager
def passes_of(training: TrainingConfig) -> Iterator[None]:
    """Give the passes of flows in this thread the precision and the activations of training steps."""
    with networks_in(training.precision), activations_in(training.activations):
        yield


def _running_moments(flow: Flow) -> list[Tensor]:
    """Return the running means and variances of batch norms, which each process updates from its part of a batch."""
    norms = (layer for layer in flow.layers if isinstance(layer, BatchNorm))
    return [buffer for layer in norms for buffer in layer.buffers() if buffer.is_floating_point()]


def device_of(flow: Flow) -> torch.device:
    """Return the device of a flow's weights."""
    return next(flow.parameters()).device
