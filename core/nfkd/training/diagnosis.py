"""Finds the first layer with values that are not finite when training diverges."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch

from nfkd.data import Batch
from nfkd.flows.flow import Flow
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.roles import Role, the_role


class DivergedError(RuntimeError):
    """The loss or its gradient is not finite any more.

    Attributes
    ----------
    info
        Names the stage, the step and the first bad layer.
    """

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(f"{info.title}: {info.cause}")


@torch.no_grad()
def first_bad_layer(flow: Flow, batch: Batch) -> str | None:
    """Return the label of the first layer whose gradient, output or log-determinant is not finite for a batch."""
    infos = flow.layer_info()
    labels = {layer.name: layer.label for layer in infos}
    for name, (value, log_det) in flow.trace(batch.x, batch.context).items():
        if not (torch.isfinite(value).all() and torch.isfinite(log_det).all()):
            return labels[name]
    # Gradients flow from the last layer to the first, so all layers before the bad one are bad too.
    for info, layer in zip(reversed(infos), reversed(flow.layers), strict=True):
        gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            return f"the gradient of {info.label}"
    return None


def divergence(
    stage: Role, step: int, flow: Flow, batch: Batch, values: dict[str, float], sampled: Collection[str] = ()
) -> DivergedError:
    """Return the error for a step whose loss or gradient is not finite.

    Parameters
    ----------
    stage, step
        Where training diverged.
    flow, batch
        The flow in training and the batch of the step.
    values
        Total, terms and norm of the gradient.
    sampled
        Terms that are computed on samples instead of the batch.
    """
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    terms = [name for name in bad if name.startswith("train/") and name != "train/total"]
    of_samples = bool(terms) and {name.removeprefix("train/") for name in terms} <= set(sampled)
    layer = None if of_samples else first_bad_layer(flow, batch)
    if layer:
        where = f"it began at {layer}"
    elif sampled:
        where = "it began in the samples"
    else:
        where = "the gradient of each layer alone is finite"
    stage_name = the_role(stage)
    return DivergedError(
        ErrorInfo(
            title=f"{stage_name[:1].upper()}{stage_name[1:]} diverged at step {step}",
            cause=f"Not finite: {', '.join(map(_label, bad))}; {where}.",
            action="Lower the learning rate, lengthen the warm-up or clip the gradient harder. "
            "The last good weights are kept.",
        )
    )


def _label(name: str) -> str:
    """Return the label of a value, such as *the term forward kl*."""
    known = {"train/total": "the loss", "gradient_norm": "the norm of the gradient"}
    return known.get(name, f"the term {name.removeprefix('train/').replace('_', ' ')}")
