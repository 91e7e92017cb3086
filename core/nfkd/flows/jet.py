"""The coupling of Jet: a vision transformer over the tokens of an image (Kolesnikov et al. 2024, arXiv 2412.15129).

The authors' code is google-research/big_vision, ``models/proj/jet``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from nfkd.flows.layer import Conditioned, sum_each
from nfkd.flows.precision import in_precision
from nfkd.flows.transformer import Linear, Tokens, TokenTransformer
from nfkd.flows.transforms import Elementwise

Split = Literal["channels", "checkerboard", "rows", "columns"]


def token_split(
    kind: Split, grid: tuple[int, int], width: int, *, parity: int, generator: torch.Generator | None
) -> Tensor:
    """Return which numbers of the tokens a coupling changes, (T, D) booleans.

    Parameters
    ----------
    kind
        *channels*: a random half of the numbers of every token (of an odd number, the larger part). Else whole tokens:
        every second one in both directions (*checkerboard*), every second row, or every second column.
    grid
        Rows and columns of tokens.
    width
        D.
    parity
        Of whole tokens: 0 changes the first one, 1 does not.
    generator
        Of the random half, on the CPU.
    """
    rows, columns = grid
    if kind == "channels":
        changed = torch.randperm(width, generator=generator) >= width // 2
        return changed.expand(rows * columns, width).contiguous()
    row, column = torch.arange(rows)[:, None], torch.arange(columns)[None]
    place = {"checkerboard": row + column, "rows": row + 0 * column, "columns": 0 * row + column}[kind]
    return (place % 2 == parity).flatten()[:, None].expand(rows * columns, width).contiguous()


class TokenVision(TokenTransformer):
    """A vision transformer from the tokens and the context to the parameters of every number, zeros at first.

    A linear layer, learned positions, layers of attention and perceptron, a norm, and a zero-initialised last layer.

    Parameters
    ----------
    tokens
        Of the examples.
    outputs
        P, parameters of each number.
    channels, layers
        Of the transformer.
    context_features, generator
        As for `TokenTransformer`.
    """

    def __init__(
        self,
        tokens: Tokens,
        outputs: int,
        channels: int,
        layers: int,
        *,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(
            tokens.width,
            tokens.count,
            channels,
            layers,
            deviation=1 / math.sqrt(channels),
            causal=False,
            context_features=context_features,
            generator=generator,
        )
        self._parameters_each = outputs
        self.norm = nn.LayerNorm(channels)
        self.outputs = Linear(channels, outputs * tokens.width, generator, bias=False, zero=True)
        self.bias = nn.Parameter(torch.zeros(outputs * tokens.width))

    @in_precision
    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters, (B, T, D, P), of tokens, (B, T, D)."""
        outputs = self.outputs(self.norm(self.hidden(tokens, context))) + self.bias
        return outputs.unflatten(-1, (-1, self._parameters_each))


class TokenCoupling(Conditioned):
    """A part of the numbers of an image's tokens is transformed, with parameters from the other numbers.

    Each direction is one pass. The network sees all tokens, with zeros in place of the numbers that change. (The
    authors' network sees the other half only, with the tokens of a spatial split cut in two.)

    Parameters
    ----------
    tokens
        Of the examples.
    changed
        (T, D) as `token_split` returns it; saved with the weights.
    network
        The parameters of every number.
    transform
        Of a number.
    """

    changed: Tensor

    def __init__(self, tokens: Tokens, changed: Tensor, network: TokenVision, transform: Elementwise) -> None:
        super().__init__()
        self._tokens, self._transform = tokens, transform
        self.register_buffer("changed", changed)
        self.network = network

    def parameters_of(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the parameters of every number, (B, T, D, P)."""
        return self.network(self._tokens.split(x) * ~self.changed, context)

    def transformed(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image with transformed numbers, and the log-determinant."""
        tokens = self._tokens.split(x)
        y, slopes = self._transform.forward(tokens, parameters)
        return self._tokens.join(torch.where(self.changed, y, tokens)), sum_each(slopes * self.changed)

    def restored(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Return the image before the coupling."""
        tokens = self._tokens.split(y)
        return self._tokens.join(torch.where(self.changed, self._transform.inverse(tokens, parameters), tokens))
