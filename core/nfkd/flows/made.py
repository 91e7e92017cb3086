"""The masked network of autoregressive flows: MADE (Germain et al. 2015, arXiv 1502.03509), with context."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.precision import in_precision, narrowed


class MADE(nn.Module):
    """Parameters for every place of a sequence, each from the places before it and the context.

    A hidden unit of degree d sees the places before place d (counted from 0) and the units of degrees up to d; the
    parameters of place d see the units of degrees up to d. The context is seen by every unit. Degrees are spread
    evenly over the units, in ascending order, so that what a degree needs is a prefix of every layer: that is what
    `sequential` works on. Degree 0 exists only where there is a context to be seen.

    Hidden weights and biases begin uniform within ±1/√n for a unit that sees n others, weights of the last layer within
    ±start/√n, and its biases at zero. What a mask hides is stored and counted, but never used.

    Parameters
    ----------
    features
        D, places in the sequence.
    outputs
        P, parameters a place.
    hidden, depth
        Units of a hidden layer, and hidden layers. A sequence of one place without context has nothing to look at: its
        parameters are constants, and there is no hidden layer.
    start
        Size of the last layer's first weights; with zero all parameters are zero at first.
    context_features
        Length of the context; zero for none.
    generator
        For the first weights, on the CPU.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        hidden: int,
        depth: int,
        start: float = 0.0,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self._features, self._outputs = features, outputs
        lowest = 0 if context_features else 1
        kinds = features - lowest
        degrees = [lowest + unit * kinds // hidden for unit in range(hidden)] if kinds else []
        self._ends = [sum(degree <= place for degree in degrees) for place in range(features)]
        self._masks: list[str] = []
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        if kinds:
            seen = [*[place + 1 for place in range(features)], *[0] * context_features]
            for layer in range(depth):
                self._hide(layer, _mask(degrees, degrees if layer else seen))
                self.weights.append(nn.Parameter(self._uniform(layer, generator)))
                self.biases.append(nn.Parameter(self._uniform(layer, generator, columns=1)[:, 0]))
            self._hide(depth, _mask([place for place in range(features) for _ in range(outputs)], degrees))
            self.weights.append(nn.Parameter(start * self._uniform(depth, generator)))
        self.biases.append(nn.Parameter(torch.zeros(features * outputs)))

    def _hide(self, layer: int, mask: Tensor) -> None:
        self._masks.append(f"_mask{layer}")
        self.register_buffer(self._masks[-1], mask, persistent=False)  # it follows from the sizes

    def _uniform(self, layer: int, generator: torch.Generator | None, columns: int | None = None) -> Tensor:
        """Return numbers within ±1/√n for every unit of a layer, (units, columns); as many as it has inputs."""
        mask = self._mask(layer)
        bound = 1 / mask.sum(1, keepdim=True).clamp(min=1).sqrt()
        return bound * (2 * torch.rand(len(mask), columns or mask.shape[1], generator=generator) - 1)

    def _mask(self, layer: int) -> Tensor:
        return self.get_buffer(self._masks[layer])

    @in_precision
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all places at once.

        Parameters
        ----------
        x
            (B, D), in the sequence's order.
        context
            (B, context features).

        Returns
        -------
        Tensor
            (B, D, P).
        """
        h = x if context is None else torch.cat([x, context], dim=1)
        for layer, weight in enumerate(self.weights):
            h = functional.linear(*narrowed(h, weight * self._mask(layer), self.biases[layer]))
            if layer < len(self.weights) - 1:
                h = functional.relu(h)
        if not len(self.weights):
            h = self.biases[0].expand(len(x), -1)
        return h.unflatten(1, (self._features, self._outputs))

    def sequential(self, solve: Callable[[int, Tensor], Tensor], like: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the sequence whose places are found one after the other, each from its parameters.

        Every hidden unit is computed once, as soon as the places that it sees are known, so that all D steps together
        cost about as much arithmetic as one pass.

        Parameters
        ----------
        solve
            From a place and its parameters, (B, P), to its value, (B,).
        like
            (B, …), of the batch's size.
        context
            (B, context features).

        Returns
        -------
        Tensor
            (B, D), in the sequence's order.
        """
        hidden = [like.new_empty(len(like), 0) for _ in self.weights[1:]]
        last = self.biases[-1].view(self._features, self._outputs)
        values: list[Tensor] = []
        begin = 0
        for place, end in enumerate(self._ends):
            if end > begin:
                self._grow(hidden, slice(begin, end), values, context)
            begin = end
            if end:
                weight = self.weights[-1][place * self._outputs : (place + 1) * self._outputs, :end]
                parameters = self._product(hidden[-1], weight, last[place])
            else:
                parameters = last[place].expand(len(like), -1)
            values.append(solve(place, parameters))
        return torch.stack(values, dim=1)

    @in_precision
    def _product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Each product narrows as `forward` does; between them the values are as exact in float32 as they were.
        return functional.linear(*narrowed(x, weight, bias))

    def _grow(self, hidden: list[Tensor], units: slice, values: list[Tensor], context: Tensor | None) -> None:
        """Append to every hidden layer the units that need the values known so far and no more."""
        known = torch.stack(values, dim=1) if values else None
        seen = [part for part in (known, context) if part is not None]
        first = self.weights[0][units]
        weight = torch.cat([first[:, : len(values)], first[:, self._features :]], dim=1)
        new = functional.relu(self._product(torch.cat(seen, dim=1), weight, self.biases[0][units]))
        hidden[0] = torch.cat([hidden[0], new], dim=1)
        for layer in range(1, len(hidden)):
            weight = self.weights[layer][units, : units.stop]
            new = functional.relu(self._product(hidden[layer - 1], weight, self.biases[layer][units]))
            hidden[layer] = torch.cat([hidden[layer], new], dim=1)


def _mask(outputs: list[int], inputs: list[int]) -> Tensor:
    """Return (outputs, inputs): 1 where an output's degree is at least the input's, else 0."""
    degrees, seen = torch.tensor(outputs), torch.tensor(inputs)
    return (degrees[:, None] >= seen).to(torch.get_default_dtype())
