"""Jet, written plainly after the authors' code (google-research/big_vision, ``models/proj/jet``), for comparison.

A spatial coupling sees the tokens of one half only, each cut into two.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainCoupling(nn.Module):
    """One coupling, by channels (a random order) or by the squares of a checkerboard of tokens."""

    def __init__(self, rows: int, columns: int, width: int, hidden: int, depth: int, parity: int | None) -> None:
        super().__init__()
        count = rows * columns
        self._by_tokens = parity is not None
        if parity is None:
            self._order = torch.randperm(width)
        else:
            squares = (torch.arange(rows)[:, None] + torch.arange(columns)).flatten() % 2
            self._order = (squares == parity).long().argsort(stable=True)
        half = width // 2
        self.inputs = nn.Linear(half, hidden)
        self.positions = nn.Parameter(torch.randn(count, hidden) / math.sqrt(hidden))
        heads = max(1, hidden // 64)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(hidden, heads, 4 * hidden, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(hidden)
        self.outputs = nn.Linear(hidden, 2 * half)
        nn.init.zeros_(self.outputs.weight)
        nn.init.zeros_(self.outputs.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, D) after the coupling, and the log-determinant."""
        axis = 1 if self._by_tokens else 2
        first, second = x.index_select(axis, self._order).chunk(2, dim=axis)
        shape = second.shape
        halves = (len(x), x.shape[1], x.shape[2] // 2)
        h = self.inputs(first.reshape(halves)) + self.positions
        for layer in self.layers:
            h = layer(h)
        shift, raw = self.outputs(self.norm(h)).chunk(2, dim=-1)
        second = (second.reshape(halves) + shift) * 2 * raw.sigmoid()
        y = torch.cat([first, second.reshape(shape)], dim=axis).index_select(axis, self._order.argsort())
        return y, (functional.logsigmoid(raw) + math.log(2)).sum((1, 2))


class PlainJet(nn.Module):
    """Couplings of patches; every third one splits the tokens."""

    def __init__(self, shape: tuple[int, int, int], patch: int, hidden: int, steps: int, depth: int) -> None:
        super().__init__()
        self._patch = patch
        rows, columns, width = shape[1] // patch, shape[2] // patch, shape[0] * patch**2
        self.couplings = nn.ModuleList(
            PlainCoupling(rows, columns, width, hidden, depth, None if step % 3 else step // 3 % 2)
            for step in range(1, steps + 1)
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of images in [0, 1)."""
        z = functional.pixel_unshuffle(2 * x - 1, self._patch).flatten(2).mT
        log_det = x.new_full((len(x),), x[0].numel() * math.log(2))
        for coupling in cast("list[PlainCoupling]", list(self.couplings)):
            z, change = coupling(z)
            log_det = log_det + change
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum((1, 2))
