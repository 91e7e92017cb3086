"""TarFlow written plainly in PyTorch, after the paper (arXiv 2412.06329), without anything of NFKD."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainLayer(nn.Module):
    """A pre-norm transformer layer with torch's own attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, count, channels = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, count, channels))
        return x + self.mlp(self.norm2(x))


class PlainBlock(nn.Module):
    """All tokens go through the network; its outputs are shifted by one token."""

    def __init__(self, tokens: int, width: int, channels: int, layers: int, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.inputs = nn.Linear(width, channels)
        self.positions = nn.Parameter(0.01 * torch.randn(tokens, channels))
        self.layers = nn.Sequential(*(PlainLayer(channels) for _ in range(layers)))
        self.outputs = nn.Linear(channels, 2 * width)
        nn.init.zeros_(self.outputs.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flip(1) if self.reverse else x
        positions = self.positions.flip(0) if self.reverse else self.positions
        h = self.outputs(self.layers(self.inputs(x) + positions))
        a, b = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1).chunk(2, dim=-1)
        z = (x - b) * (-a).exp()
        return (z.flip(1) if self.reverse else z), -a.sum((1, 2))


class PlainTarFlow(nn.Module):
    """Log-density of images in [0, 1), (B,) nats."""

    def __init__(self, shape: tuple[int, int, int], patch: int, channels: int, blocks: int, layers: int) -> None:
        super().__init__()
        self.patch, self.numbers = patch, math.prod(shape)
        width = shape[0] * patch**2
        tokens = self.numbers // width
        self.blocks = nn.ModuleList(
            [PlainBlock(tokens, width, channels, layers, reverse=index % 2 == 1) for index in range(blocks)]
        )

    def forward(self, x: Tensor) -> Tensor:
        z = functional.unfold(2 * x - 1, self.patch, stride=self.patch).mT
        log_det = self.numbers * math.log(2)
        for block in self.blocks:
            z, change = block(z)
            log_det = log_det + change
        return log_det - 0.5 * (z.square().sum((1, 2)) + self.numbers * math.log(2 * math.pi))
