"""One step of a stage: a batch, its loss and gradient, and the optimizer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nfkd.config import TrainingConfig
from nfkd.data import Dataset
from nfkd.distillation.distiller import Distiller, Loss
from nfkd.flows.autoregressive import BatchNorm
from nfkd.flows.compiler import optimizer_step
from nfkd.flows.flow import Flow
from nfkd.flows.precision import networks_in
from nfkd.training.curve_values import step_values
from nfkd.training.diagnosis import divergence
from nfkd.training.state import StageState


def make_step(
    state: StageState, loss: Distiller, dataset: Dataset, training: TrainingConfig, rate: float
) -> tuple[Loss, dict[str, float]]:
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
        Precision, micro-batches and the limit of the gradient's norm.
    rate
        The learning rate.

    Returns
    -------
    tuple[Loss, dict[str, float]]
        The loss, and its values for the curves.

    Raises
    ------
    DivergedError
        When the loss is not finite; the weights are those from before the step.
    """
    generators, flow = state.generators, state.flow
    index = state.batches.next().numpy()
    real = dataset.training_batch(index, generators.dequantization, generators.augmentation).to(device_of(flow))
    batch = loss.mix(real, generators)
    if not flow.initialized:
        first = real if loss.uses_data else batch
        flow.initialize(first.x, first.context)
        loss.ranks.share_state(flow)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    with networks_in(training.precision):
        found = loss.backward(flow, batch, generators, state.step, training.accumulate)
    loss.ranks.average(_running_moments(flow))
    values = step_values(found, dataset)
    if not all(math.isfinite(value) for value in values.values()):
        with networks_in(training.precision):
            raise divergence(state.stage, state.step + 1, flow, batch, values, loss.sampled)
    limit = training.gradient_clip or math.inf
    torch.nn.utils.clip_grads_with_norm_(flow.parameters(), limit, found.gradient_norm)
    optimizer_step(state.optimizer)
    state.count_step()
    return found, values


def _running_moments(flow: Flow) -> list[Tensor]:
    """Return the running means and variances of batch norms, which each process updates from its part of a batch."""
    norms = (layer for layer in flow.layers if isinstance(layer, BatchNorm))
    return [buffer for layer in norms for buffer in layer.buffers() if buffer.is_floating_point()]


def device_of(flow: Flow) -> torch.device:
    """Return the device of a flow's weights."""
    return next(flow.parameters()).device
