"""The masked network of autoregressive flows: MADE (Germain et al. 2015, arXiv 1502.03509), with context."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.fused import fusible
from nfkd.flows.precision import in_precision, narrowed, rounds


class MADE(nn.Module):
    """Parameters for every element of a sequence, each from the elements before it and the context.

    A hidden unit of degree d depends on the elements before index d and on units of degree up to d; the parameters at
    index d depend on units of degree up to d. Every unit depends on the context. Degrees are spread evenly over the
    units in ascending order, so the units up to a degree are a prefix of each layer; `sequential` relies on this.
    Degree 0 exists only with a context.

    Hidden weights and biases start uniform within ±1/√n for a unit with n inputs, weights of the last layer within
    ±start/√n, and its biases at zero. Masked weights are stored and counted but not used.

    Parameters
    ----------
    features
        D, the length of the sequence.
    outputs
        P, parameters of each element.
    hidden, depth
        Units of a hidden layer, and hidden layers. With one element and no context the parameters are constants, and
        there is no hidden layer.
    start
        Size of the last layer's first weights; zero makes all parameters zero at first.
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
        self._ends = [sum(degree <= index for degree in degrees) for index in range(features)]
        self._masks: list[str] = []
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        if kinds:
            inputs = [*range(1, features + 1), *[0] * context_features]
            for layer in range(depth):
                self._hide(layer, _mask(degrees, degrees if layer else inputs))
                self.weights.append(nn.Parameter(self._uniform(layer, generator)))
                self.biases.append(nn.Parameter(self._uniform(layer, generator, columns=1)[:, 0]))
            self._hide(depth, _mask([index for index in range(features) for _ in range(outputs)], degrees))
            self.weights.append(nn.Parameter(start * self._uniform(depth, generator)))
        self.biases.append(nn.Parameter(torch.zeros(features * outputs)))

    def _hide(self, layer: int, mask: Tensor) -> None:
        self._masks.append(f"_mask{layer}")
        self.register_buffer(self._masks[-1], mask, persistent=False)  # it follows from the sizes

    def _uniform(self, layer: int, generator: torch.Generator | None, columns: int | None = None) -> Tensor:
        """Return numbers within ±1/√n for every unit, (units, columns); a column for each input by default."""
        mask = self._mask(layer)
        bound = 1 / mask.sum(1, keepdim=True).clamp(min=1).sqrt()
        return bound * (2 * torch.rand(len(mask), columns or mask.shape[1], generator=generator) - 1)

    def _mask(self, layer: int) -> Tensor:
        return self.get_buffer(self._masks[layer])

    @property
    def masks(self) -> list[Tensor]:
        """The mask of every matrix, (outputs, inputs), 1 where a weight is used; none with one element."""
        return [self._mask(layer) for layer in range(len(self._masks))]

    @in_precision
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all elements at once.

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
        """Return the sequence whose elements are computed one after the other, each from its parameters.

        Every hidden unit is computed once, as soon as its inputs are known, so all D steps together cost about as much
        arithmetic as one pass.

        Parameters
        ----------
        solve
            From an index and the parameters there, (B, P), to the element, (B,).
        like
            (B, …), of the batch's size.
        context
            (B, context features).

        Returns
        -------
        Tensor
            (B, D), in the sequence's order.
        """
        if len(self.weights) and not torch.is_grad_enabled() and not rounds(like):
            given = () if context is None else (context,)
            if fusible(like, *given, *self.weights, *self.biases):
                return self._sequential_rows(solve, like, context)
        hidden = [like.new_empty(len(like), 0) for _ in self.weights[1:]]
        last = self.biases[-1].view(self._features, self._outputs)
        values: list[Tensor] = []
        begin = 0
        for index, end in enumerate(self._ends):
            if end > begin:
                self._grow(hidden, slice(begin, end), values, context)
            begin = end
            if end:
                weight = self.weights[-1][index * self._outputs : (index + 1) * self._outputs, :end]
                parameters = self._product(hidden[-1], weight, last[index])
            else:
                parameters = last[index].expand(len(like), -1)
            values.append(solve(index, parameters))
        return torch.stack(values, dim=1)

    def _sequential_rows(self, solve: Callable[[int, Tensor], Tensor], like: Tensor, context: Tensor | None) -> Tensor:
        """Return the same without a graph: inputs and units are rows, (…, B), and each is written once, in place."""
        count, given = len(like), 0 if context is None else context.shape[1]
        inputs = like.new_empty(given + self._features, count)
        if context is not None:
            inputs[:given] = context.t()
        first = torch.cat([self.weights[0][:, self._features :], self.weights[0][:, : self._features]], dim=1)
        weights, biases = [first, *self.weights[1:]], [bias.unsqueeze(1) for bias in self.biases]
        hidden = [like.new_empty(len(weight), count) for weight in weights[:-1]]
        begin = 0
        for index, end in enumerate(self._ends):
            if end > begin:
                before, known = inputs, given + index
                for layer, units in enumerate(hidden):
                    bias, weight = biases[layer][begin:end], weights[layer][begin:end, :known]
                    torch.addmm(bias, weight, before[:known], out=units[begin:end])
                    units[begin:end].relu_()
                    before, known = units, end
                begin = end
            rows = slice(index * self._outputs, (index + 1) * self._outputs)
            parameters = torch.addmm(biases[-1][rows], weights[-1][rows, :end], hidden[-1][:end])
            inputs[given + index] = solve(index, parameters.t())
        return inputs[given:].t().contiguous()

    @in_precision
    def _product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Each product is narrowed separately, with the same result as in `forward`.
        return functional.linear(*narrowed(x, weight, bias))

    def _grow(self, hidden: list[Tensor], units: slice, values: list[Tensor], context: Tensor | None) -> None:
        """Append to every hidden layer the units whose inputs are the values known so far."""
        known = torch.stack(values, dim=1) if values else None
        inputs = [tensor for tensor in (known, context) if tensor is not None]
        first = self.weights[0][units]
        weight = torch.cat([first[:, : len(values)], first[:, self._features :]], dim=1)
        new = functional.relu(self._product(torch.cat(inputs, dim=1), weight, self.biases[0][units]))
        hidden[0] = torch.cat([hidden[0], new], dim=1)
        for layer in range(1, len(hidden)):
            weight = self.weights[layer][units, : units.stop]
            new = functional.relu(self._product(hidden[layer - 1], weight, self.biases[layer][units]))
            hidden[layer] = torch.cat([hidden[layer], new], dim=1)


def _mask(outputs: list[int], inputs: list[int]) -> Tensor:
    """Return (outputs, inputs): 1 where an output's degree is at least the input's, else 0."""
    return (torch.tensor(outputs)[:, None] >= torch.tensor(inputs)).to(torch.get_default_dtype())
