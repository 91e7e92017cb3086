"""The block of TarFlow: tokens are transformed one after another, by a causal transformer of those before.

Zhai et al. 2024, arXiv 2412.06329; the authors' code is apple/ml-tarflow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.flows.guidance import active_guidance
from nfkd.flows.jacobi import SequentialLayer
from nfkd.flows.layer import sum_each
from nfkd.flows.precision import in_precision
from nfkd.flows.transformer import KeyValueCache, Linear, Tokens, TokenTransformer


class TokenNetwork(TokenTransformer):
    """Parameters (a, b) for every token but the first, each from the tokens before it and the context.

    Parameters
    ----------
    tokens
        Of the examples.
    channels, layers
        Of the transformer.
    context_features, generator
        As for `TokenTransformer`.
    """

    def __init__(
        self,
        tokens: Tokens,
        channels: int,
        layers: int,
        *,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(
            tokens.width,
            tokens.count - 1,
            channels,
            layers,
            deviation=0.01,
            causal=True,
            context_features=context_features,
            generator=generator,
        )
        self.outputs = Linear(channels, 2 * tokens.width, generator, zero=True)

    @in_precision
    def forward(
        self,
        tokens: Tensor,
        context: Tensor | None = None,
        temperature: float = 1.0,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Return a and b of the tokens after the given ones, (B, S, 2·D).

        Parameters
        ----------
        tokens
            (B, S, D) in the block's order: the first ones, or with a cache those that follow the tokens in it.
        context
            (B, context features).
        temperature, cache
            As for `Transformer`.
        """
        return self.outputs(self.hidden(tokens, context, temperature, cache))


class TokenAutoregressive(SequentialLayer):
    """z = (x − b)·exp(−a) for each token, with a and b from the tokens before it; log|det| = −Σa.

    Density takes one pass, the inverse x = z·exp(a) + b one token after another. The first token in the block's order
    is not changed. The order is undone at the output.

    Parameters
    ----------
    tokens
        Of the examples; at least two.
    reverse
        Whether the last token comes first.
    channels, layers, context_features, generator
        Of the network; see `TokenNetwork`.
    """

    passes = (1, 2)
    takes_guidance = True

    def __init__(
        self,
        tokens: Tokens,
        *,
        reverse: bool,
        channels: int,
        layers: int,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self._tokens, self._reverse = tokens, reverse
        self.network = TokenNetwork(tokens, channels, layers, context_features=context_features, generator=generator)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, in one pass."""
        tokens = self._ordered(x)
        a, b = self.network(tokens[:, :-1], context).chunk(2, dim=-1)
        z = torch.cat([tokens[:, :1], (tokens[:, 1:] - b) * (-a).exp()], dim=1)
        return self._unordered(z), -sum_each(a)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x, token by token or by Jacobi iteration."""
        return self._unordered(self.solve(self._ordered(y), context))

    @property
    def tokens(self) -> int:
        """T."""
        return self._tokens.count

    def solve_exactly(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Return x of z, (B, T, D), both in the block's order."""
        first, *rest = y.split(1, dim=1)
        tokens, caches = [first], (KeyValueCache(), KeyValueCache())
        for z in rest:
            a, b = self._guided(tokens[-1], context, caches).chunk(2, dim=-1)
            tokens.append(torch.addcmul(b, z, a.exp()))
        return torch.cat(tokens, dim=1)

    def iterate(self, y: Tensor, x: Tensor, context: Tensor | None, segment: slice) -> Tensor:
        """Return z·exp(a) + b for a segment of z, with a and b from x; all (B, T, D), in the block's order."""
        begin = max(segment.start, 1)
        first, z = y[:, segment.start : begin], y[:, begin : segment.stop]
        if not z.shape[1]:
            return first
        a, b = self._guided(x[:, : segment.stop - 1], context)[:, begin - 1 :].chunk(2, dim=-1)
        return torch.cat([first, torch.addcmul(b, z, a.exp())], dim=1)

    def _guided(
        self, tokens: Tensor, context: Tensor | None, caches: tuple[KeyValueCache, KeyValueCache] | None = None
    ) -> Tensor:
        """Return the network's outputs, guided if guidance is active; the second cache is for the weaker prediction."""
        own, other = caches or (None, None)
        start = 0 if own is None else len(own)
        outputs = self.network(tokens, context, 1.0, own)
        guidance = active_guidance()
        if guidance is None:
            return outputs
        weaker = self.network(tokens, *guidance.weaker(context), other)
        numbers = torch.arange(start + 1, start + tokens.shape[1] + 1, device=outputs.device)
        shares = numbers.to(outputs.dtype) / (self.tokens - 1)
        return outputs + guidance.weight * shares[:, None] * (outputs - weaker)

    def _ordered(self, x: Tensor) -> Tensor:
        tokens = self._tokens.split(x)
        return tokens.flip(1) if self._reverse else tokens

    def _unordered(self, tokens: Tensor) -> Tensor:
        return self._tokens.join(tokens.flip(1) if self._reverse else tokens)
