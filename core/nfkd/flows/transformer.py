"""Transformers over the tokens of an example: layers with attention, a cache of keys and values, and patches.

The layers are those of TarFlow (Zhai et al. 2024, arXiv 2412.06329) and of vision transformers (Dosovitskiy et al.
2020, arXiv 2010.11929): ``x += attention(norm(x)); x += mlp(norm(x))``.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.networks import drawing
from nfkd.flows.precision import narrowed

HEAD_WIDTH = 64
_EXPANSION = 4  # width of the perceptron in each layer, in units of the channels


def head_problem(channels: int) -> str:
    """Return why the channels cannot be divided into heads of attention; empty if they can."""
    if channels <= HEAD_WIDTH or channels % HEAD_WIDTH == 0:
        return ""
    near = HEAD_WIDTH * (channels // HEAD_WIDTH)
    return (
        f"{channels} channels cannot be divided into heads of {HEAD_WIDTH}: use {near}, {near + HEAD_WIDTH} or "
        f"at most {HEAD_WIDTH}"
    )


class Tokens:
    """The tokens of an example: patches of an image, or groups of features.

    Parameters
    ----------
    shape
        Of an example: (channels, height, width) or (features,).
    size
        Side of a patch, or features of a token; it divides the sides or the features.

    Attributes
    ----------
    count, width
        T and D: tokens of an example, in rows from the top left, and numbers of a token, (channels, row, column).
    """

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        self._shape, self._size = shape, size
        self.width = shape[0] * size**2 if len(shape) == 3 else size
        self.count = math.prod(shape) // self.width

    def split(self, x: Tensor) -> Tensor:
        """Return the tokens of examples, (B, T, D)."""
        if len(self._shape) == 1:
            return x.unflatten(1, (self.count, self.width))
        channels, height, width = self._shape
        size = self._size
        patches = x.reshape(-1, channels, height // size, size, width // size, size)
        return patches.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.count, self.width)

    def join(self, tokens: Tensor) -> Tensor:
        """Return the examples of tokens: the inverse of `split`."""
        if len(self._shape) == 1:
            return tokens.flatten(1)
        channels, height, width = self._shape
        size = self._size
        patches = tokens.reshape(-1, height // size, width // size, channels, size, size)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(-1, *self._shape)


class KeyValueCache:
    """Keys and values of the tokens that a `Transformer` has seen, for every layer; differentiable."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        """Return the number of tokens."""
        return self._seen[0][0].shape[-2] if self._seen else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of further tokens, (B·heads, S, width) each; return those of all tokens."""
        if layer in self._seen:
            seen = self._seen[layer]
            keys, values = torch.cat([seen[0], keys], dim=-2), torch.cat([seen[1], values], dim=-2)
        self._seen[layer] = keys, values
        return keys, values


class Linear(nn.Module):
    """A linear layer whose weights and biases start uniform within ±1/√n for n inputs, as torch's.

    Parameters
    ----------
    inputs, outputs
        Features.
    generator
        For the first weights, on the CPU.
    bias
        Whether there are biases.
    zero
        Whether the weights, but not the biases, start at zero.
    """

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator | None, *, bias: bool = True, zero: bool = False
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = torch.zeros(outputs, inputs) if zero else _uniform((outputs, inputs), bound, generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(_uniform((outputs,), bound, generator)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (…, outputs)."""
        return functional.linear(*narrowed(x, self.weight, self.bias))


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
    return bound * (2 * torch.rand(shape, generator=generator) - 1) if drawing() else torch.empty(shape)


def embedding(shape: tuple[int, ...], generator: torch.Generator | None, deviation: float = 0.01) -> nn.Parameter:
    """Return embeddings that start as N(0, deviation²)."""
    return nn.Parameter(deviation * torch.randn(shape, generator=generator) if drawing() else torch.empty(shape))


class Attention(nn.Module):
    """Multi-head attention with heads of width 64, or one head where there are fewer channels.

    Parameters
    ----------
    channels
        At most 64, or a multiple of 64.
    generator
        For the first weights, on the CPU.

    Notes
    -----
    The product of queries and keys, the softmax and the product with the values are separate operations: torch's fused
    kernels have no second and no forward derivatives, which terms of the loss need.
    """

    def __init__(self, channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self._width = min(channels, HEAD_WIDTH)
        self.inputs = Linear(channels, 3 * channels, generator)
        self.outputs = Linear(channels, channels, generator)

    def forward(
        self, x: Tensor, mask: Tensor | None, temperature: float, cache: KeyValueCache | None, layer: int
    ) -> Tensor:
        """Return the outputs, (B, S, channels); arguments as `Transformer.forward`."""
        batch, count, channels = x.shape
        heads = self.inputs(x).view(batch, count, 3, -1, self._width).permute(2, 0, 3, 1, 4).flatten(1, 2)
        queries, keys, values = heads.unbind(0)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        scale = 1 / (temperature * math.sqrt(self._width))
        if mask is None:
            logits = scale * torch.bmm(queries, keys.mT)
        else:
            logits = torch.baddbmm(mask.to(queries.dtype), queries, keys.mT, alpha=scale)
        shares = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).to(values.dtype)
        attended = torch.bmm(shares, values).view(batch, -1, count, self._width)
        return self.outputs(attended.transpose(1, 2).reshape(batch, count, channels))


class TransformerLayer(nn.Module):
    """Attention and a perceptron of width 4·channels with GELU, each after a layer norm and added to its input.

    The sums and norms stay in float32 (or float64) where the matrix products are in bfloat16.
    """

    def __init__(self, channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, generator)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp_inputs = Linear(channels, _EXPANSION * channels, generator)
        self.mlp_outputs = Linear(_EXPANSION * channels, channels, generator)

    def forward(
        self, x: Tensor, mask: Tensor | None, temperature: float, cache: KeyValueCache | None, layer: int
    ) -> Tensor:
        """Return the outputs, (B, S, channels); arguments as `Transformer.forward`."""
        x = x + self.attention(self.attention_norm(x), mask, temperature, cache, layer)
        return x + self.mlp_outputs(functional.gelu(self.mlp_inputs(self.mlp_norm(x))))


class Transformer(nn.Module):
    """A stack of layers, without a norm at the end.

    Parameters
    ----------
    channels
        At most 64, or a multiple of 64.
    layers
        Number of layers.
    causal
        Whether a token sees only itself and those before it.
    generator
        For the first weights, on the CPU.

    Notes
    -----
    Call it inside a method with `in_precision`, else bf16 has no effect.
    """

    def __init__(self, channels: int, layers: int, *, causal: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        self._causal = causal
        self.layers = nn.ModuleList([TransformerLayer(channels, generator) for _ in range(layers)])

    def forward(self, x: Tensor, temperature: float = 1.0, cache: KeyValueCache | None = None) -> Tensor:
        """Return the outputs, (B, S, channels).

        Parameters
        ----------
        x
            (B, S, channels): all tokens, or with a cache those that follow the tokens in it.
        temperature
            The logits of the attention are divided by it.
        cache
            Keys and values of the tokens before; those of these tokens are appended.
        """
        mask = None
        if self._causal and x.shape[1] > 1:
            before, count = 0 if cache is None else len(cache), x.shape[1]
            mask = x.new_full((count, before + count), -math.inf).triu(before + 1)
        for number, layer in enumerate(cast("list[TransformerLayer]", list(self.layers))):
            x = layer(x, mask, temperature, cache, number)
        return x


class TokenTransformer(nn.Module):
    """A transformer of tokens: h = linear(x) + positions + linear(context), then layers of attention and perceptron.

    Parameters
    ----------
    width
        D, numbers of a token.
    count
        T, positions.
    channels, layers, causal
        Of the `Transformer`.
    deviation
        Standard deviation of the positions at first.
    context_features
        Length of the context; zero for none. Its linear map is added to every token: of a class in one-hot code, it is
        an embedding.
    generator
        For the first weights, on the CPU.
    """

    def __init__(
        self,
        width: int,
        count: int,
        channels: int,
        layers: int,
        *,
        deviation: float,
        causal: bool,
        context_features: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.inputs = Linear(width, channels, generator)
        self.positions = embedding((count, channels), generator, deviation)
        self.context = embedding((channels, context_features), generator) if context_features else None
        self.transformer = Transformer(channels, layers, causal=causal, generator=generator)

    def hidden(
        self, tokens: Tensor, context: Tensor | None, temperature: float = 1.0, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return the transformer's outputs, (B, S, channels).

        Parameters
        ----------
        tokens
            (B, S, D): the first ones, or with a cache those that follow the tokens in it.
        context
            (B, context features).
        temperature, cache
            As for `Transformer`.
        """
        start = 0 if cache is None else len(cache)
        h = self.inputs(tokens) + self.positions[start : start + tokens.shape[1]]
        if self.context is not None and context is not None:
            h = h + functional.linear(context, self.context)[:, None]
        return self.transformer(h, temperature, cache)
