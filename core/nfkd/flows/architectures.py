"""From a config to a flow: one builder for each architecture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from nfkd.config import Fault, Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.bijections import GaussianSplit, Squeeze
from nfkd.flows.coupling import GlowStep
from nfkd.flows.flow import Entry, Flow, Layer, Split
from nfkd.flows.networks import CouplingNetwork


class FlowError(ValueError):
    """A flow that cannot be built for this data.

    Attributes
    ----------
    faults
        What does not fit; the paths are relative to the flow, such as ``levels``.
    """

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(str(fault) for fault in faults))


def flow_faults(config: FlowConfig, event_shape: Sequence[int]) -> list[Fault]:
    """Return what keeps a flow from being built for examples of a shape; nothing is built."""
    shape = tuple(event_shape)
    if isinstance(config, GlowConfig):
        return _glow_faults(config, shape)
    if len(shape) != 1:
        return [Fault("kind", f"Glow for vectors takes features, not examples of shape {_words(shape)}: choose glow")]
    if shape[0] < 2:
        return [Fault("kind", "a coupling needs at least two features, and the data has one")]
    return []


def _glow_faults(config: GlowConfig, shape: tuple[int, ...]) -> list[Fault]:
    if len(shape) != 3:
        message = f"Glow takes images, not examples of shape {_words(shape)}: choose glow1d"
        return [Fault("kind", message)]
    channels, height, width = shape
    for level in range(1, config.levels + 1):
        if height % 2 or width % 2:
            message = f"level {level} cannot squeeze {channels}×{height}×{width}: use at most {level - 1} levels"
            if level == 1:
                message = f"an image of {channels}×{height}×{width} cannot be squeezed: its sides must be even"
            return [Fault("levels", message)]
        channels, height, width = 4 * channels // (1 if level == config.levels else 2), height // 2, width // 2
    return []


def _words(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)


def build_flow(
    config: FlowConfig,
    event_shape: Sequence[int],
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Flow:
    """Build the flow of a config.

    Parameters
    ----------
    config
        The architecture.
    event_shape
        Shape of one example: (channels, height, width) or (features,).
    generator
        For the first weights, on the CPU: the same state gives the same flow, bit for bit.
    device
        Where it is put; ``"meta"`` builds it without storage.

    Raises
    ------
    FlowError
        When the flow does not fit the shape, with every fault.
    """
    faults = flow_faults(config, event_shape)
    if faults:
        raise FlowError(faults)
    on_meta = device is not None and torch.device(device).type == "meta"
    with torch.device("meta") if on_meta else nullcontext():
        builder = _Builder(None if on_meta else generator)
        if isinstance(config, GlowConfig):
            builder.glow(config, tuple(event_shape))
        else:
            builder.glow_1d(config, event_shape[0])
        flow = Flow(event_shape, builder.entries, builder.layers)
    return flow if device is None or on_meta else flow.to(device)


class _Builder:
    """Collects named layers."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator
        self.entries: list[Entry] = []
        self.layers: list[Layer | Split] = []

    def _add(self, name: str, words: str, kind: str, shape: tuple[int, ...], layer: Layer | Split) -> None:
        self.entries.append(Entry(name, words, kind, shape))
        self.layers.append(layer)

    def glow(self, config: GlowConfig, shape: tuple[int, ...]) -> None:
        for level in range(1, config.levels + 1):
            channels, height, width = 4 * shape[0], shape[1] // 2, shape[2] // 2
            shape = (channels, height, width)
            self._add(f"level{level}.squeeze", f"level {level} squeeze", "squeeze", shape, Squeeze())
            for step in range(1, config.steps + 1):
                layer = GlowStep(channels, self._convolutions(channels, config.hidden), self._generator)
                self._add(f"level{level}.step{step}", f"level {level} step {step}", "step", shape, layer)
            if level < config.levels:
                shape = (channels // 2, height, width)
                self._add(f"level{level}.split", f"level {level} split", "split", shape, GaussianSplit(channels))

    def glow_1d(self, config: Glow1DConfig, features: int) -> None:
        for step in range(1, config.steps + 1):
            network = CouplingNetwork(
                features // 2,
                config.hidden,
                2 * (features - features // 2),
                kernels=(None,) * config.depth,
                last_kernel=None,
                generator=self._generator,
            )
            layer = GlowStep(features, network, self._generator)
            self._add(f"step{step}", f"step {step}", "step", (features,), layer)

    def _convolutions(self, channels: int, hidden: int) -> CouplingNetwork:
        return CouplingNetwork(
            channels // 2, hidden, channels, kernels=(3, 1), last_kernel=3, generator=self._generator
        )
