"""Flows of other libraries, built for a config of ours: the same steps, widths, depths and bins.

Their first weights and their bounds of scales differ; that does not change the amount of work. nflows and FrEIA are
only in the environment of `make bench-peers`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfkd.config.flows import FlowConfig, Glow1DConfig, GlowConfig, IAFConfig, MAFConfig, NSFConfig


class LogProb(nn.Module):
    """A flow of any library as a module from examples to log-densities, (B,) nats."""

    def __init__(self, flow: nn.Module, log_prob: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.flow = flow
        self._log_prob = log_prob

    def forward(self, x: Tensor) -> Tensor:
        return self._log_prob(x)


# --- zuko ------------------------------------------------------------------------------------------------------------


def of_zuko(flow: nn.Module) -> LogProb:
    return LogProb(flow, lambda x: flow().log_prob(x))


def zuko_maf(config: FlowConfig, features: int) -> LogProb:
    import zuko

    assert isinstance(config, MAFConfig)
    hidden = (config.hidden,) * config.depth
    return of_zuko(zuko.flows.MAF(features, transforms=config.steps, hidden_features=hidden))


def zuko_nsf(config: FlowConfig, features: int) -> LogProb:
    import zuko

    assert isinstance(config, NSFConfig)
    assert config.tail_bound == 5.0  # zuko has no other
    coupling = config.transform == "coupling"
    flow = zuko.flows.NSF(
        features,
        transforms=config.steps,
        hidden_features=(config.hidden,) * config.depth,
        bins=config.bins,
        passes=2 if coupling else None,
        residual=coupling,
    )
    return of_zuko(flow)


def zuko_realnvp(config: FlowConfig, features: int) -> LogProb:
    import zuko

    assert isinstance(config, Glow1DConfig)
    hidden = (config.hidden,) * config.depth
    return of_zuko(zuko.flows.RealNVP(features, transforms=config.steps, hidden_features=hidden))


# --- normflows -------------------------------------------------------------------------------------------------------


def of_normflows(layers: list[nn.Module], features: int) -> LogProb:
    import normflows

    base = normflows.distributions.DiagGaussian(features, trainable=False)
    flow = normflows.NormalizingFlow(base, layers)
    return LogProb(flow, flow.log_prob)


def normflows_maf(config: FlowConfig, features: int) -> LogProb:
    """MADE's density direction of normflows is its `inverse`, as of all its flows."""
    import normflows

    assert isinstance(config, MAFConfig)
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        # One layer before the blocks: as many hidden layers as ours.
        layer = normflows.flows.MaskedAffineAutoregressive(
            features, config.hidden, num_blocks=config.depth - 1, use_residual_blocks=False
        )
        layers += [_Reversed(layer), normflows.flows.Permute(features, mode="swap")]
    return of_normflows(layers[:-1], features)


class _Reversed(nn.Module):
    """A flow of normflows with its directions exchanged."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor) -> Any:
        return cast("Any", self.flow).inverse(z)

    def inverse(self, z: Tensor) -> Any:
        return self.flow(z)


def normflows_iaf(config: FlowConfig, features: int) -> LogProb:
    import normflows

    assert isinstance(config, IAFConfig)
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        # The same number of ReLU layers as ours; its first layer has no ReLU.
        layer = normflows.flows.MaskedAffineAutoregressive(
            features, config.hidden, num_blocks=config.depth, use_residual_blocks=False
        )
        layers += [layer, normflows.flows.Permute(features, mode="swap")]
    return of_normflows(layers[:-1], features)


def normflows_nsf(config: FlowConfig, features: int) -> LogProb:
    import normflows

    assert isinstance(config, NSFConfig)
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        layer = normflows.flows.CoupledRationalQuadraticSpline(
            features, config.depth, config.hidden, num_bins=config.bins, tail_bound=config.tail_bound
        )
        layers += [layer, normflows.flows.LULinearPermute(features)]
    return of_normflows(layers, features)


def normflows_glow1d(config: FlowConfig, features: int) -> LogProb:
    import normflows

    assert isinstance(config, Glow1DConfig)
    passes = features - features // 2
    widths = [passes, *[config.hidden] * config.depth, 2 * (features - passes)]
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        network = normflows.nets.MLP(widths, init_zeros=True)
        layers += [
            normflows.flows.AffineCouplingBlock(network, scale_map="sigmoid"),
            normflows.flows.InvertibleAffine(features, use_lu=True),
            normflows.flows.ActNorm((features,)),
        ]
    return of_normflows(layers, features)


def normflows_glow(config: FlowConfig, features: int) -> LogProb:
    """One level on 8×8 grey images; with more levels, normflows' splits have no conditional prior."""
    assert isinstance(config, GlowConfig)
    assert (config.levels, features) == (1, 1)
    flow = normflows_multiscale_glow(config, (1, 8, 8))
    return LogProb(flow, lambda x: flow.log_prob(x, None))


def normflows_multiscale_glow(config: GlowConfig, shape: tuple[int, int, int]) -> Any:
    """Return a `MultiscaleFlow`; its levels go from the last latent to the data, as its own Glow example does."""
    import normflows

    channels, height, width = shape
    bases: list[nn.Module] = []
    levels: list[list[nn.Module]] = []
    for number in range(config.levels):
        channels, height, width = 4 * channels, height // 2, width // 2
        steps = [normflows.flows.GlowBlock(channels, config.hidden, net_actnorm=True) for _ in range(config.steps)]
        levels.insert(0, [*steps, normflows.flows.Squeeze()])
        if number < config.levels - 1:
            channels //= 2
        bases.insert(0, normflows.distributions.DiagGaussian((channels, height, width), trainable=False))
    merges = [normflows.flows.Merge() for _ in range(config.levels - 1)]
    return normflows.MultiscaleFlow(bases, levels, merges, class_cond=False)


# --- nflows ----------------------------------------------------------------------------------------------------------


def nflows_maf(config: FlowConfig, features: int) -> LogProb:
    assert isinstance(config, MAFConfig)
    # One layer before the blocks, none of them residual: as many hidden layers as ours.
    flow = import_module("nflows.flows").MaskedAutoregressiveFlow(
        features, config.hidden, config.steps, num_blocks_per_layer=config.depth - 1, use_residual_blocks=False
    )
    return LogProb(flow, flow.log_prob)


def nflows_nsf(config: FlowConfig, features: int) -> LogProb:
    """As in the paper's code: LU mixing, residual networks, splines of the other half that depend on no input."""
    transforms, residual = import_module("nflows.transforms"), import_module("nflows.nn.nets").ResidualNet
    assert isinstance(config, NSFConfig)
    mask = torch.arange(features) % 2
    layers: list[nn.Module] = []
    for step in range(config.steps):
        layers += [
            transforms.LULinear(features),
            transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask if step % 2 else 1 - mask,
                lambda inputs, outputs: residual(inputs, outputs, config.hidden, num_blocks=config.depth),
                num_bins=config.bins,
                tails="linear",
                tail_bound=config.tail_bound,
                apply_unconditional_transform=True,
            ),
        ]
    return _of_nflows(layers, features)


def nflows_glow1d(config: FlowConfig, features: int) -> LogProb:
    transforms = import_module("nflows.transforms")
    assert isinstance(config, Glow1DConfig)
    mask = (torch.arange(features) >= features - features // 2).long()
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        layers += [
            transforms.ActNorm(features),
            transforms.LULinear(features),
            transforms.AffineCouplingTransform(
                mask, lambda inputs, outputs: _WithoutContext(mlp(inputs, outputs, config.hidden, config.depth))
            ),
        ]
    return _of_nflows(layers, features)


class _WithoutContext(nn.Module):
    """A network as nflows calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        return self.network(x)


def _of_nflows(layers: list[nn.Module], features: int) -> LogProb:
    normal = import_module("nflows.distributions").StandardNormal([features])
    flow = import_module("nflows.flows").Flow(import_module("nflows.transforms").CompositeTransform(layers), normal)
    return LogProb(flow, flow.log_prob)


# --- FrEIA -----------------------------------------------------------------------------------------------------------


def freia_glow1d(config: FlowConfig, features: int) -> LogProb:
    """Its block has a fixed permutation in place of Glow's trained mixing."""
    assert isinstance(config, Glow1DConfig)
    flow = import_module("FrEIA.framework").SequenceINN(features)
    for _ in range(config.steps):
        flow.append(
            import_module("FrEIA.modules").AllInOneBlock,
            subnet_constructor=lambda inputs, outputs: mlp(inputs, outputs, config.hidden, config.depth),
        )
    return LogProb(flow, lambda x: _normal_log_prob(*flow(x)))


class FreiaGlow(nn.Module):
    """Levels of FrEIA's squeeze and blocks; half of the channels are split off after each level but the last.

    Its block has a fixed rotation of the channels in place of Glow's trained mixing.
    """

    def __init__(self, config: GlowConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        framework, modules = import_module("FrEIA.framework"), import_module("FrEIA.modules")
        channels, height, width = shape
        levels: list[nn.Module] = []
        for _ in range(config.levels):
            level = framework.SequenceINN(channels, height, width)
            level.append(modules.IRevNetDownsampling)
            for _ in range(config.steps):
                level.append(
                    modules.AllInOneBlock,
                    subnet_constructor=lambda inputs, outputs: cnn(inputs, outputs, config.hidden),
                    permute_soft=True,
                )
            levels.append(level)
            channels, height, width = 2 * channels, height // 2, width // 2
        self.levels = nn.ModuleList(levels)

    def log_prob(self, x: Tensor) -> Tensor:
        log_prob = x.new_zeros(len(x))
        for number, level in enumerate(self.levels, 1):
            x, log_det = level(x)
            split_off = x
            if number < len(self.levels):
                x, split_off = x.chunk(2, dim=1)
            log_prob = log_prob + _normal_log_prob(split_off, log_det)
        return log_prob


def _normal_log_prob(z: Tensor, log_det: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1) + log_det


def mlp(inputs: int, outputs: int, hidden: int, depth: int) -> nn.Module:
    """Return a perceptron with ReLU."""
    widths = [inputs, *[hidden] * depth]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def cnn(inputs: int, outputs: int, hidden: int) -> nn.Module:
    """Return Glow's network: convolutions of size 3, 1 and 3 with ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 1),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 3, padding=1),
    )
