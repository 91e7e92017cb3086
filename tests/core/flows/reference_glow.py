"""Glow as its paper's code lays it out, written plainly: one operation at a time, nothing folded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class ReferenceActNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))


class ReferenceConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.actnorm = ReferenceActNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) + self.actnorm.bias) * self.actnorm.logs.exp()


class ReferenceZeros(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.logs = nn.Parameter(torch.zeros(outputs, 1, 1))
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * (3 * self.logs).exp()


class ReferenceMixing(nn.Module):
    p: Tensor
    sign_s: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.register_buffer("p", permutation)
        self.register_buffer("sign_s", upper.diagonal().sign())
        self.lower = nn.Parameter(lower)  # with its diagonal of ones, as in that code
        self.upper = nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(upper.diagonal().abs().log())

    def matrix(self) -> Tensor:
        mask = torch.ones_like(self.lower).tril(-1)
        diagonal = torch.diag(self.sign_s * self.log_s.exp())
        return self.p @ (self.lower * mask + torch.eye(len(mask))) @ (self.upper * mask.T + diagonal)


class ReferenceStep(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.actnorm = ReferenceActNorm(channels)
        self.invconv = ReferenceMixing(channels)
        self.block = nn.Sequential(
            ReferenceConv(channels // 2, hidden, 3),
            nn.ReLU(),
            ReferenceConv(hidden, hidden, 1),
            nn.ReLU(),
            ReferenceZeros(hidden, channels),
        )

    def shift_and_scale(self, first: Tensor) -> tuple[Tensor, Tensor]:
        h = self.block(first)
        return h[:, 0::2], torch.sigmoid(h[:, 1::2] + 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pixels = x.shape[2] * x.shape[3]
        x = (x + self.actnorm.bias) * self.actnorm.logs.exp()
        matrix = self.invconv.matrix()
        x = torch.einsum("ij,bjhw->bihw", matrix, x)
        first, second = x.chunk(2, 1)
        shift, scale = self.shift_and_scale(first)
        log_det = pixels * (self.actnorm.logs.sum() + torch.linalg.slogdet(matrix)[1]) + scale.log().sum((1, 2, 3))
        return torch.cat([first, (second + shift) * scale], 1), log_det

    def inverse(self, y: Tensor) -> Tensor:
        first, second = y.chunk(2, 1)
        shift, scale = self.shift_and_scale(first)
        x = torch.cat([first, second / scale - shift], 1)
        x = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self.invconv.matrix()), x)
        return x * (-self.actnorm.logs).exp() - self.actnorm.bias


class ReferenceSplit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ReferenceZeros(channels // 2, channels)

    def prior(self, first: Tensor) -> tuple[Tensor, Tensor]:
        h = self.conv(first)
        return h[:, 0::2], h[:, 1::2]


class ReferenceSqueeze(nn.Module):
    """Channels in the order (c, row, column), pixel by pixel."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        y = x.new_zeros(batch, 4 * channels, height // 2, width // 2)
        for c in range(channels):
            for row in range(2):
                for column in range(2):
                    y[:, 4 * c + 2 * row + column] = x[:, c, row::2, column::2]
        return y

    def inverse(self, y: Tensor) -> Tensor:
        batch, channels, height, width = y.shape
        x = y.new_zeros(batch, channels // 4, 2 * height, 2 * width)
        for c in range(channels // 4):
            for row in range(2):
                for column in range(2):
                    x[:, c, row::2, column::2] = y[:, 4 * c + 2 * row + column]
        return x


class ReferenceGlow(nn.Module):
    def __init__(self, shape: tuple[int, int, int], levels: int, steps: int, hidden: int, prior: bool = True) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        for level in range(levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            layers += [ReferenceSqueeze(), *(ReferenceStep(channels, hidden) for _ in range(steps))]
            if level < levels - 1:
                layers.append(ReferenceSplit(channels))
                channels //= 2
        self.flow = nn.Module()
        self.flow.layers = nn.ModuleList(layers)
        self.stack: list[Any] = list(layers)
        if prior:
            self.register_buffer("prior_h", torch.zeros(1, 2 * channels, height, width))

    def log_prob(self, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for layer in self.stack:
            if isinstance(layer, ReferenceSqueeze):
                x = layer(x)
            elif isinstance(layer, ReferenceSplit):
                x, left = x.chunk(2, 1)
                total = total + gaussian(left, *layer.prior(x))
            else:
                x, change = layer(x)
                total = total + change
        return total + gaussian(x, torch.zeros_like(x), torch.zeros_like(x))

    def sample(self, noise: list[Tensor], temperature: float) -> Tensor:
        *left, last = noise
        x = temperature * last
        for layer in reversed(self.stack):
            if isinstance(layer, ReferenceSplit):
                mean, logs = layer.prior(x)
                x = torch.cat([x, mean + temperature * logs.exp() * left.pop()], 1)
            else:
                x = layer.inverse(x)
        return x


def gaussian(x: Tensor, mean: Tensor, logs: Tensor) -> Tensor:
    density = -0.5 * (2 * logs + (x - mean) ** 2 / (2 * logs).exp() + math.log(2 * math.pi))
    return density.sum((1, 2, 3))
