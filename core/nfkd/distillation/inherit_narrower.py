"""Prune a trained coupling network to fewer hidden units, for a student that is narrower than its teacher.

Each layer keeps the units with the largest std(activation)·‖outgoing weights‖ on examples. What the removed units add
on average becomes a part of the next layer's bias. The last layer is then fitted anew to the outputs of the whole
network, by ridge regression.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from nfkd.data import Batch
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork, Norm, affine

_RIDGE = 1e-3  # of the mean of the diagonal of the features' covariance
_CHUNK = 16  # examples whose features are in memory at once


def network_inputs(flow: Flow, batch: Batch) -> dict[CouplingNetwork, Tensor]:
    """Return what each coupling network of a flow sees of a batch, on the CPU; the flow may be on another device."""
    inputs: dict[CouplingNetwork, Tensor] = {}

    def keep(network: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[cast("CouplingNetwork", network)] = arguments[0].detach().cpu()

    hooks: list[RemovableHandle] = [
        module.register_forward_pre_hook(keep) for module in flow.modules() if isinstance(module, CouplingNetwork)
    ]
    try:
        parameter = next(flow.parameters())
        moved = batch.to(parameter.device)
        with torch.no_grad():
            flow.encode(moved.x.to(parameter.dtype), moved.context)
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


@torch.no_grad()
def prune_network(student: CouplingNetwork, teacher: CouplingNetwork, inputs: Tensor) -> None:
    """Set a network to the best of another network's hidden units.

    Parameters
    ----------
    student
        With the same layers as the teacher, but fewer hidden units; changed in place, on the CPU.
    teacher
        The network to prune.
    inputs
        (B, inputs, …) what the teacher's network sees of some examples.
    """
    teacher = copy.deepcopy(teacher).cpu()
    hidden = _activations(teacher, inputs)
    kept_before: Tensor | None = None
    for layer, activations in enumerate(hidden):
        kept = _best_units(activations, _outgoing(teacher, layer), student.weights[layer].shape[0])
        weight, norm, target = teacher.weights[layer][kept], _norm(teacher, layer), _norm(student, layer)
        bias = norm.bias[kept]
        if kept_before is not None:
            bias = bias + _mean_of_removed(weight, hidden[layer - 1], kept_before)
            weight = weight[:, kept_before]
        student.weights[layer].copy_(weight)
        target.bias.copy_(bias)
        target.log_scale.copy_(norm.log_scale[kept])
        kept_before = kept
    student.last.log_scale.copy_(teacher.last.log_scale)
    _fit_last(student, _activations(student, inputs)[-1], teacher, hidden[-1])


def _activations(network: CouplingNetwork, x: Tensor) -> list[Tensor]:
    """Return the output of each hidden layer, (B, units, …)."""
    found = []
    for layer, weight in enumerate(network.weights):
        x = functional.relu(affine(x, *_norm(network, layer).fold(weight)))
        found.append(x)
    return found


def _norm(network: CouplingNetwork, layer: int) -> Norm:
    return cast("Norm", network.norms[layer])


def _outgoing(network: CouplingNetwork, layer: int) -> Tensor:
    """Return the norm of each unit's weights in the next layer, with that layer's scale, (units,)."""
    if layer + 1 < len(network.weights):
        weight = _norm(network, layer + 1).fold(network.weights[layer + 1])[0]
    else:
        last = cast("Tensor", network.last.weight)
        weight = last * network.last.scale().view(-1, *[1] * (last.dim() - 1))
    return weight.transpose(0, 1).flatten(1).norm(dim=1)


def _best_units(activations: Tensor, outgoing: Tensor, count: int) -> Tensor:
    """Return the indices of the units to keep, in order."""
    deviation = activations.transpose(0, 1).flatten(1).std(dim=1, correction=0)
    return (deviation * outgoing).topk(count).indices.sort().values


def _mean_of_removed(weight: Tensor, activations: Tensor, kept: Tensor) -> Tensor:
    """Return what the removed units add to the next layer on average, (next units,)."""
    mean = activations.transpose(0, 1).flatten(1).mean(1)
    mean[kept] = 0
    return weight.flatten(2).sum(2) @ mean if weight.dim() > 2 else weight @ mean


def _fit_last(student: CouplingNetwork, inputs: Tensor, teacher: CouplingNetwork, teacher_inputs: Tensor) -> None:
    """Fit the last layer to the teacher's outputs by ridge regression; the bias is not penalised."""
    weight = cast("Tensor", student.last.weight)
    scale = student.last.scale().double()
    sums: list[Tensor] = []
    count = 0
    for x, target in zip(inputs.split(_CHUNK), teacher_inputs.split(_CHUNK), strict=True):
        features = _features(x, weight).double()
        outputs = _rows(teacher.last(target)).double() / scale
        both = torch.cat([features, outputs], dim=1)
        parts = [both.sum(0), features.T @ both]
        sums = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
        count += len(features)
    means, moments = (total / count for total in sums)
    size = weight[0].numel()
    covariance = moments - means[:size, None] * means
    gram = covariance[:, :size]
    ridge = _RIDGE * gram.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
    fitted = torch.linalg.solve(gram + ridge * torch.eye(size, dtype=gram.dtype), covariance[:, size:]).T
    weight.copy_(fitted.reshape(weight.shape))
    student.last.bias.copy_(means[size:] - fitted @ means[:size])


def _features(x: Tensor, weight: Tensor) -> Tensor:
    """Return the inputs of a layer for each output pixel as rows, in the order of the flattened weights."""
    if weight.dim() == 2:
        return x
    size = weight.shape[-1]
    return _rows(functional.unfold(x, size, padding=size // 2))


def _rows(x: Tensor) -> Tensor:
    """Return (B, channels, …) with a row for each pixel of each example."""
    return x.movedim(1, -1).flatten(0, -2)
