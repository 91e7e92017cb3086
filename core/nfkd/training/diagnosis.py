"""Where did it go wrong? Finds the first layer that gives numbers that are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.flows.flow import Flow
from nfkd.protocol.events import ErrorInfo, Role


class DivergedError(RuntimeError):
    """The loss or its gradient is not finite any more.

    Attributes
    ----------
    info
        Names the stage, the step and the layer where it began.
    """

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(f"{info.title}: {info.cause}")


@torch.no_grad()
def first_bad_layer(flow: Flow, x: Tensor) -> str | None:
    """Return the words of the first layer whose gradient, output or log-determinant is not finite for `x`."""
    words = {layer.name: layer.words for layer in flow.layer_info()}
    for name, (value, log_det) in flow.trace(x).items():
        if not (torch.isfinite(value).all() and torch.isfinite(log_det).all()):
            return words.get(name, name)
    return _bad_gradient(flow)


def _bad_gradient(flow: Flow) -> str | None:
    for name, parameter in flow.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"the gradient of {name}"
    return None


def divergence(stage: Role, step: int, flow: Flow, x: Tensor, values: dict[str, float]) -> DivergedError:
    """Return the error for a step whose loss or gradient is not finite."""
    layer = first_bad_layer(flow, x)
    bad = [name for name, value in values.items() if not torch.isfinite(torch.tensor(value))]
    where = (
        f"it began at {layer}" if layer else "every layer is finite on the data: it began in the synthesized samples"
    )
    return DivergedError(
        ErrorInfo(
            title=f"The {stage} diverged at step {step}",
            cause=f"Not finite: {', '.join(bad)}; {where}.",
            action="Lower the learning rate, lengthen the warm-up or clip the gradient harder. "
            "The last good weights are kept.",
        )
    )
