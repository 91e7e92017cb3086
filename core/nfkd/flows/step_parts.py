"""The parts of equal steps of a flow: their parameters, linear layers, network and transform."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from nfkd.flows.autoregressive import MaskedAutoregressive
from nfkd.flows.bijections import ActNormPermutation, LUMixing
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.fused import hooks_of
from nfkd.flows.fused_networks import LinearSteps, NetworkSteps, PerceptronSteps, ResidualSteps
from nfkd.flows.fused_splines import SplineRows
from nfkd.flows.fused_transforms import AffineRows, ShiftScaleRows, TransformRows
from nfkd.flows.layer import Layer
from nfkd.flows.made import MADE
from nfkd.flows.networks import LOG_SCALE_FACTOR, CouplingNetwork, Norm, ResidualBlock, ResidualNetwork, ZeroLast
from nfkd.flows.splines import Spline
from nfkd.flows.stacked import LU, Bare, Constant, Masked, Normed, Ordered, StackedLinear, StackedMixing
from nfkd.flows.transforms import Affine, Elementwise, ShiftScale


class StepParts(ABC):
    """The parts of equal steps.

    Attributes
    ----------
    transform
        Of the features that a step changes.
    half
        How many features come before the changed ones; None where all are changed, and all go to the network.
    images
        Whether the steps are for images.
    names
        Of the parameters in a step, in the order of its layers.

    Parameters
    ----------
    steps
        The steps.
    sources
        Where the parameters of each step are, in that order.
    """

    transform: TransformRows
    half: int | None
    images: bool = False

    def __init__(self, steps: Sequence[Layer], sources: Sequence[Sequence[_Source]]) -> None:
        paths = {module: path for path, module in steps[0].named_modules()}
        self.names = [f"{paths[module]}.{name}" for module, name in sources[0]]
        self._sources = [(vars(module)["_parameters"], name) for each in sources for module, name in each]
        modules = [module for step in steps for module in step.modules()]
        self._hooks = [hooks for module in modules for hooks in hooks_of(module)]
        self._children = [vars(module)["_modules"] for module in modules]
        self._modules = list(_values(self._children))

    def parameters(self) -> list[Tensor]:
        """Return the parameters of the first step in the order of its layers, then of the second, and so on."""
        return [parameters[name] for parameters, name in self._sources]

    def unchanged(self) -> bool:
        """Return whether the steps have their modules still, without hooks, and with parameters.

        Inside a functional call, and with parametrizations, other tensors are in the place of parameters.
        """
        if any(self._hooks) or list(_values(self._children)) != self._modules:
            return False
        return {type(parameters.get(name)) for parameters, name in self._sources} == {nn.Parameter}

    @abstractmethod
    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers of a step: the mixing if there is one, those of the network, and constants if any."""

    @abstractmethod
    def constants(self) -> Sequence[Tensor]:
        """Return the tensors other than parameters that `linears` depends on."""

    @abstractmethod
    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps, LinearSteps | None]:
        """Return the mixing, the network, and the parameters for the features before; None where there is none."""


_Source = tuple[nn.Module, str]
"""A module and the name of a parameter in it."""


def _values(mappings: Iterable[Mapping[str, nn.Module | None]]) -> Iterator[nn.Module | None]:
    return chain.from_iterable(each.values() for each in mappings)


class CouplingParts(StepParts):
    """Of `FlowStep`s with a norm."""

    def __init__(self, steps: Sequence[FlowStep]) -> None:
        coupling = cast("Coupling", steps[0].coupling)
        networks = [cast("Coupling", step.coupling).network for step in steps]
        layers = [list(_network_layers(network)) for network in networks]
        mixings = [_mixing_sources(step.mixing) for step in steps]
        sources = [[*mixing, *chain(*each)] for mixing, each in zip(mixings, layers, strict=True)]
        self._constant = coupling.first is not None
        if self._constant:
            for step, own in zip(steps, sources, strict=True):
                own.append((step.coupling, "first"))
        super().__init__(steps, sources)
        self._mixings = [step.mixing for step in steps]
        self._buffers = [
            (vars(mixing)["_buffers"], name)
            for mixing in self._mixings
            for name, _ in mixing.named_buffers(recurse=False)
        ]
        transform = coupling.transform
        self.transform, self.half = cast("TransformRows", rows_of(transform)), coupling.channels // 2
        self.images = isinstance(networks[0], CouplingNetwork) and networks[0].convolves
        residual = isinstance(networks[0], ResidualNetwork)
        self._network = ResidualSteps if residual else PerceptronSteps
        self._layers = [Normed() if len(layer) == Normed.count else Bare() for layer in layers[0][:-1]]
        self._layers.append(Normed(LOG_SCALE_FACTOR, transform.parameters, self.transform.offset))

    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers."""
        return [self.mixing(), *self._layers, *([Constant()] if self._constant else [])]

    def constants(self) -> Sequence[Tensor]:
        """Return the buffers of the mixings."""
        return [buffers[name] for buffers, name in self._buffers]

    def mixing(self) -> StackedMixing:
        """Return the mixings, stacked."""
        if isinstance(self._mixings[0], LUMixing):
            mixings = cast("list[LUMixing]", self._mixings)
            return LU(torch.stack([each.permutation for each in mixings]), torch.stack([each.sign for each in mixings]))
        orders = [cast("Tensor", cast("ActNormPermutation", each).order) for each in self._mixings]
        return Ordered(torch.stack(orders))

    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps, LinearSteps | None]:
        """Return mixing, network and constants."""
        mixing, *rest = layers
        constant = rest.pop() if self._constant else None
        return mixing, self._network(rest), constant


def _mixing_sources(mixing: Layer) -> list[_Source]:
    norm = cast("Norm", cast("LUMixing", mixing).norm)
    names = ("lower", "upper", "log_diagonal") if isinstance(mixing, LUMixing) else ()
    return [*((mixing, name) for name in names), (norm, "bias"), (norm, "log_scale")]


def _network_layers(network: nn.Module) -> Iterator[tuple[_Source, ...]]:
    """Yield the parameters of each layer of a coupling's network."""
    if isinstance(network, CouplingNetwork):
        for number, norm in enumerate(network.norms):
            yield (network.weights, str(number)), (norm, "bias"), (norm, "log_scale")
    elif isinstance(network, ResidualNetwork):
        yield (network, "first"), (network.norm, "bias"), (network.norm, "log_scale")
        for block in cast("list[ResidualBlock]", list(network.blocks)):
            yield (block, "first"), (block.norm, "bias"), (block.norm, "log_scale")
            yield (block, "second"), (block, "bias")
    last = cast("CouplingNetwork", network).last
    yield (last, "weight"), (last, "bias"), (last, "log_scale")


class _AutoregressiveParts(StepParts):
    """Of `MaskedAutoregressive` layers."""

    half = None

    def __init__(self, steps: Sequence[MaskedAutoregressive]) -> None:
        networks = [step.network for step in steps]
        layers = range(len(networks[0].weights))
        super().__init__(
            steps,
            [[(part, str(i)) for i in layers for part in (each.weights, each.biases)] for each in networks],
        )
        self._steps, self._made = list(steps), networks[0]
        self.transform = cast("TransformRows", rows_of(steps[0].transform))

    def linears(self) -> Sequence[StackedLinear]:
        """Return the layers, with inputs and outputs in the order of the data."""
        orders = torch.stack([step.order for step in self._steps])
        own, masks = orders.argsort(1), self._made.masks
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

    def constants(self) -> Sequence[Tensor]:
        """Return the orders and the masks."""
        return [*(step.order for step in self._steps), *self._made.masks]

    def layers(self, layers: Sequence[LinearSteps]) -> tuple[LinearSteps | None, NetworkSteps, LinearSteps | None]:
        """Return the network alone."""
        return None, PerceptronSteps(layers), None


def rows_of(transform: Elementwise) -> TransformRows | None:
    """Return a transform with a gradient by hand; None if it has none, as subclasses."""
    kind = type(transform)
    if isinstance(transform, ShiftScale) and kind is ShiftScale and transform.bound in ("sigmoid", "tanh"):
        return ShiftScaleRows(transform.bound == "tanh")
    if isinstance(transform, Spline) and kind is Spline:
        return SplineRows(transform.bins, transform.bound)
    return AffineRows() if kind is Affine else None


_FUSED = {
    *(FlowStep, Coupling, LUMixing, ActNormPermutation, Norm, MaskedAutoregressive, MADE),
    *(CouplingNetwork, ResidualNetwork, ResidualBlock, ZeroLast, nn.ModuleList, nn.ParameterList),
}
"""Modules with fused parts; subclasses may compute something else."""


def kind_of(layer: object) -> object:
    """Return what layers must have in common to be one run of equal steps; None for layers without fused parts."""
    if not isinstance(layer, Layer) or not _FUSED.issuperset(map(type, layer.modules())):
        return None
    if isinstance(layer, FlowStep) and isinstance(layer.coupling, Coupling):
        coupling, mixing = layer.coupling, layer.mixing
        network, transform = coupling.network, rows_of(coupling.transform)
        mixes = isinstance(mixing, LUMixing) or (isinstance(mixing, ActNormPermutation) and mixing.order is not None)
        if transform is None or not mixes or cast("LUMixing", mixing).norm is None:
            return None
        if coupling.first is not None and not isinstance(transform, SplineRows):
            return None  # only splines take parameters that all examples share
        vectors = isinstance(network, (CouplingNetwork, ResidualNetwork)) and network.last.kernel is None
        return (type(mixing), type(network), transform, _shapes(layer)) if vectors or _for_images(layer) else None
    if isinstance(layer, MaskedAutoregressive) and len(layer.network.weights):
        transform = rows_of(layer.transform)
        # The last layer of a masked network folds no offset.
        return None if transform is None or transform.offset else (transform, _shapes(layer))
    return None


def _for_images(step: FlowStep) -> bool:
    """Return whether a step has the layers of Glow for images, without a context."""
    network, channels = step.coupling.network, cast("Coupling", step.coupling).channels
    if not isinstance(step.mixing, LUMixing) or not isinstance(network, CouplingNetwork) or not network.convolves:
        return False
    return isinstance(step.coupling.transform, ShiftScale) and network.weights[0].shape[1] == channels // 2


def _shapes(layer: Layer) -> tuple[torch.Size, ...]:
    return tuple(parameter.shape for parameter in layer.parameters())


def parts_of(steps: Sequence[Layer]) -> StepParts:
    """Return the parts of layers of the same kind."""
    if isinstance(steps[0], FlowStep):
        return CouplingParts(cast("Sequence[FlowStep]", steps))
    return _AutoregressiveParts(cast("Sequence[MaskedAutoregressive]", steps))
