"""The parts of equal steps of a flow for vectors: their parameters, linear layers, network and transform."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from nfkd.flows.autoregressive import MaskedAutoregressive
from nfkd.flows.bijections import ActNormPermutation, LUMixing
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.fused_networks import LinearSteps, NetworkSteps, PerceptronSteps, ResidualSteps
from nfkd.flows.fused_transforms import TransformRows, rows_of
from nfkd.flows.layer import Layer
from nfkd.flows.networks import LOG_SCALE_FACTOR, CouplingNetwork, Norm, ResidualBlock, ResidualNetwork
from nfkd.flows.stacked import LU, Bare, Masked, Normed, Ordered, StackedLinear, StackedMixing


class StepParts(ABC):
    """The parts of equal steps.

    Attributes
    ----------
    transform
        Of the features that a step changes.
    half
        How many features come before the changed ones; None where all are changed, and all go to the network.
    names
        Of the parameters in a step, in the order of its layers.
    """

    transform: TransformRows
    half: int | None
    names: list[str]

    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """Return the parameters of the first step in the order of its layers, then of the second, and so on."""

    @abstractmethod
    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers of a step: the mixing if there is one, then those of the network."""

    @abstractmethod
    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps]:
        """Return the mixing, if there is one, and the network that these folded layers make."""


def _names(step: Layer, parameters: Sequence[Tensor]) -> list[str]:
    """Return the names of the first step's parameters."""
    names = {id(parameter): name for name, parameter in step.named_parameters()}
    return [names[id(parameter)] for parameter in parameters[: len(names)]]


class _CouplingParts(StepParts):
    """Of `FlowStep`s with a norm."""

    def __init__(self, steps: Sequence[FlowStep]) -> None:
        self._mixings = [step.mixing for step in steps]
        self._norms = [cast("Norm", cast("LUMixing", mixing).norm) for mixing in self._mixings]
        self._networks = [cast("Coupling", step.coupling).network for step in steps]
        self._network_parts = [list(_network_parts(network)) for network in self._networks]
        transform = cast("Coupling", steps[0].coupling).transform
        self.transform, self.half = cast("TransformRows", rows_of(transform)), len(self._norms[0].bias) // 2
        groups = transform.parameters
        self._last = Normed(LOG_SCALE_FACTOR, groups)
        residual = isinstance(self._networks[0], ResidualNetwork)
        self._network = ResidualSteps if residual else PerceptronSteps
        hidden = len(self._network_parts[0])
        self._hidden = [Bare() if residual and layer and layer % 2 == 0 else Normed() for layer in range(hidden - 1)]
        self.names = _names(steps[0], self.parameters())

    def parameters(self) -> list[Tensor]:
        """Return the parameters."""
        found: list[Tensor] = []
        for mixing, norm, layers in zip(self._mixings, self._norms, self._network_parts, strict=True):
            if isinstance(mixing, LUMixing):
                found += (mixing.lower, mixing.upper, mixing.log_diagonal)
            found += (norm.bias, norm.log_scale)
            for read in layers:
                found += read()
        return found

    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers."""
        return [self._mixing(), *self._hidden, self._last]

    def _mixing(self) -> StackedMixing:
        if isinstance(self._mixings[0], LUMixing):
            mixings = cast("list[LUMixing]", self._mixings)
            return LU(torch.stack([each.permutation for each in mixings]), torch.stack([each.sign for each in mixings]))
        orders = [cast("Tensor", cast("ActNormPermutation", each).order) for each in self._mixings]
        return Ordered(torch.stack(orders))

    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps]:
        """Return mixing and network."""
        return layers[0], self._network(layers[1:])


def _network_parts(network: object) -> Iterator[Callable[[], tuple[Tensor, ...]]]:
    """Yield functions that return the parameters of each layer of a coupling's network."""
    if isinstance(network, CouplingNetwork):
        for number, norm in enumerate(cast("list[Norm]", list(network.norms))):
            yield lambda number=number, norm=norm: (network.weights[number], norm.bias, norm.log_scale)
    elif isinstance(network, ResidualNetwork):
        yield lambda norm=network.norm: (network.first, norm.bias, norm.log_scale)
        for block in cast("list[ResidualBlock]", list(network.blocks)):
            yield lambda block=block, norm=block.norm: (block.first, norm.bias, norm.log_scale)
            yield lambda block=block: (block.second, block.bias)
    last = cast("CouplingNetwork", network).last
    yield lambda: (cast("Tensor", last.weight), last.bias, last.log_scale)


class _AutoregressiveParts(StepParts):
    """Of `MaskedAutoregressive` layers."""

    half = None

    def __init__(self, steps: Sequence[MaskedAutoregressive]) -> None:
        self._steps, self._networks = list(steps), [step.network for step in steps]
        self.transform = cast("TransformRows", rows_of(steps[0].transform))
        self.names = _names(steps[0], self.parameters())

    def parameters(self) -> list[Tensor]:
        """Return the parameters."""
        return [
            each
            for network in self._networks
            for pair in zip(network.weights, network.biases, strict=True)
            for each in pair
        ]

    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers, with inputs and outputs in the order of the data."""
        orders = torch.stack([step.order for step in self._steps])
        own, masks = orders.argsort(1), self._networks[0].masks
        columns = [own]
        features, inputs = own.shape[1], masks[0].shape[1]
        if inputs > features:
            context = torch.arange(features, inputs, device=own.device).expand(len(own), -1)
            columns = [own, context]
        kinds = self._steps[0].transform.parameters
        rows = (own.unsqueeze(1) * kinds + torch.arange(kinds, device=own.device).unsqueeze(1)).flatten(1)
        first, last = torch.cat(columns, 1), len(masks) - 1
        return [
            Masked(mask, first if layer == 0 else None, rows if layer == last else None)
            for layer, mask in enumerate(masks)
        ]

    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps]:
        """Return no mixing, and the network."""
        return None, PerceptronSteps(layers)


def kind_of(layer: object) -> object:
    """Return what layers must have in common to be one run of equal steps; None for layers without fused parts."""
    if type(layer) is FlowStep and type(layer.coupling) is Coupling:
        coupling, mixing = layer.coupling, layer.mixing
        network, transform = coupling.network, rows_of(coupling.transform)
        mixes = isinstance(mixing, LUMixing) or (isinstance(mixing, ActNormPermutation) and mixing.order is not None)
        if transform is None or not mixes or cast("LUMixing", mixing).norm is None or coupling.first is not None:
            return None
        vectors = isinstance(network, (CouplingNetwork, ResidualNetwork)) and network.last.kernel is None
        return (type(mixing), type(network), transform, _shapes(layer)) if vectors else None
    if type(layer) is MaskedAutoregressive and len(layer.network.weights):
        transform = rows_of(layer.transform)
        return None if transform is None else (transform, _shapes(layer))
    return None


def _shapes(layer: Layer) -> tuple[torch.Size, ...]:
    return tuple(parameter.shape for parameter in layer.parameters())


def parts_of(steps: Sequence[Layer]) -> StepParts:
    """Return the parts of layers of the same kind."""
    if isinstance(steps[0], FlowStep):
        return _CouplingParts(cast("Sequence[FlowStep]", steps))
    return _AutoregressiveParts(cast("Sequence[MaskedAutoregressive]", steps))
