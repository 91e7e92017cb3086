"""The layers of a flow, in the order of a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from nfkd.flows.activations import Recomputed, layers_of_pass, recomputing
from nfkd.flows.fused_steps import StepRun, grouped
from nfkd.flows.layer import Layer, Prior, Split


class LayerStack(nn.Module):
    """The layers of a flow and its prior.

    Parameters
    ----------
    layers
        In order from data to latents.
    prior
        Of the last latent; the standard normal if None.
    """

    def __init__(self, layers: Sequence[Layer | Split], prior: Prior | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.prior = prior
        self._grouped: tuple[list[Layer | Split], list[Layer | Split | StepRun]] = ([], [])

    def _stack(self) -> list[Layer | Split]:
        return cast("list[Layer | Split]", list(self.layers))

    def _pass(
        self, x: Tensor, context: Tensor | None, *, every: bool
    ) -> Iterator[Layer | Split | StepRun | Recomputed]:
        """Yield the layers of a pass of x, some as one: equal steps as one operation, or layers that are recomputed.

        Parameters
        ----------
        x, context
            (B, *event_shape), and (B, context features) if any.
        every
            Whether the output of each layer is needed; a `StepRun` returns those of its steps.
        """
        layers = self._stack()
        if recomputing():
            yield from layers_of_pass(layers, every=every)
            return
        if layers != self._grouped[0]:
            self._grouped = layers, grouped(layers)
        for layer in self._grouped[1]:
            if isinstance(layer, StepRun) and not layer.fits(x, context):
                yield from layer.steps
            else:
                yield layer
