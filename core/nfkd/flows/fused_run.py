"""Equal steps of a flow as one operation: what vectors and images have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from nfkd.flows.fused import FusedOperation
from nfkd.flows.layer import Layer, standard_normal
from nfkd.flows.precision import Precision, chosen_precision, networks_in
from nfkd.flows.step_parts import StepParts


class Run(FusedOperation):
    """The steps as an operation: from x, the context if any, and all parameters, to changes and states.

    Changes are those of the log-determinant, (K, B), or their sum over the steps, (B,), with `sums`.

    Parameters
    ----------
    steps
        The K steps.
    parts
        What a step consists of.
    data
        How many inputs come before the parameters.
    every
        Whether to return the state after every step, or after the last one.

    Attributes
    ----------
    sums
        Whether changes are added up over the steps.
    densities
        Whether the log-densities of the last states under the standard normal, (B,) nats, are a last output.
    """

    sums: bool = False
    densities: bool = False

    def __init__(self, steps: Sequence[Layer], parts: StepParts, data: int, *, every: bool) -> None:
        self.steps, self.parts, self.data, self.every = steps, parts, data, every
        self._precision: Precision = chosen_precision()

    def plain(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs of the modules with these parameters."""
        (x, *context), parameters = inputs[: self.data], inputs[self.data :]
        changes, states, names = [], [], self.parts.names
        for number, step in enumerate(self.steps):
            own = dict(zip(names, parameters[number * len(names) :], strict=False))
            with networks_in(self._precision):  # a gradient may be computed outside the setting
                x, change = functional_call(step, own, (x, *context))
            changes.append(change)
            states.append(x)
        stacked = torch.stack(changes)
        density = [standard_normal(x)] if self.densities else []
        return (stacked.sum(0) if self.sums else stacked, *(states if self.every else states[-1:]), *density)
