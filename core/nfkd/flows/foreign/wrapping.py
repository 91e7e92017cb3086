"""Wraps a foreign flow as a `Flow`, after checking what it supports."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nfkd.flows.flow import Capability, Entry, Flow, Latents, Pass
from nfkd.flows.foreign.layers import (
    PROBES,
    ForeignLayer,
    ForeignStack,
    close,
    dtype_of,
    origin,
    per_example,
    probe_context,
)
from nfkd.flows.foreign.normflows_flows import is_normflows, normflows_stack
from nfkd.flows.foreign.units import AffineMap, Rescale, TeacherUnits, checked_units
from nfkd.flows.foreign.zuko_flows import is_zuko, zuko_stack
from nfkd.flows.isolation import isolated
from nfkd.flows.layer import Split

_SEED = 20_250_621
_INVERSE_TOLERANCE = 1e-2  # relative; iterative inverses in both libraries stop at about 1e-3


class ForeignFlow(Flow):
    """A flow of another library, frozen.

    Attributes
    ----------
    origin
        Library and class, such as ``zuko MAF``.
    units
        Those that the flow was trained in, as given to `wrap_teacher`. The flow takes and returns values in these
        units; a run calls `rescaled` to map its scaled values to them.
    """

    def __init__(self, module: nn.Module, stack: ForeignStack, entries: Sequence[Entry]) -> None:
        layers = [layer.layer for layer in stack.layers]
        super().__init__(stack.event_shape, entries, layers, context_features=stack.context_features)
        # Empty; carries the dtype and device of a flow that may have no other parameter.
        self._like = nn.Parameter(torch.empty(0, dtype=dtype_of(module)), requires_grad=False)
        self.origin = origin(module)
        self.units: TeacherUnits = "scaled"
        self._foreign_stack = stack
        self._context_map: Rescale | None = None
        self._source = (module,)  # in a tuple, so that the weights are not registered twice
        self._initialized.fill_(1)

    def source_state(self) -> dict[str, Tensor]:
        """Return the weights under the names of the other library."""
        return self._source[0].state_dict()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the weights: names, types, shapes and bytes."""
        digest = hashlib.sha256()
        for name, value in sorted(self.source_state().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def rescaled(self, values: AffineMap | None, context: AffineMap | None) -> ForeignFlow:
        """Return the same flow for scaled values, with an affine map to its units as the first layer, ``units``.

        The weights are shared with this flow.

        Parameters
        ----------
        values, context
            Centre and width of the map z·width + centre; None for no map.
        """
        stack, entries = self._foreign_stack, self._entries
        if values is not None:
            layer = Rescale(*values, dtype_of(self._source[0]))
            stack = replace(stack, layers=[ForeignLayer("units", "units", layer), *stack.layers])
            entries = [Entry("units", "units", "units", self.event_shape), *entries]
        flow = ForeignFlow(self._source[0], stack, entries)
        flow.unsupported.update(self.unsupported)
        flow.units = self.units
        if context is not None:
            flow._context_map = Rescale(*context, dtype_of(self._source[0]))
        return flow.train(self.training)

    def forward(self, x: Tensor, context: Tensor | None = None, *, trace: bool = False) -> Pass:
        """Map data to latents, as `Flow.forward`."""
        return super().forward(x, self._mapped(context), trace=trace)

    def decode_trace(self, latents: Latents, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the examples of latents, and each layer's output on the way back, as `Flow.decode_trace`."""
        return super().decode_trace(latents, self._mapped(context))

    def synthesize(self, noise: Sequence[Tensor], temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Return the samples that noise is mapped to, as `Flow.synthesize`."""
        return super().synthesize(noise, temperature, self._mapped(context))

    def noise_of(self, x: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """Return the noise that `synthesize` maps to x, as `Flow.noise_of`."""
        return super().noise_of(x, self._mapped(context))

    def _mapped(self, context: Tensor | None) -> Tensor | None:
        """Return a context in the units of the flow; `Flow` refuses a wrong one."""
        fits = context is not None and context.dim() == 2 and context.shape[1] == self.context_features
        return self._context_map(context)[0] if fits and self._context_map is not None else context

    def _last_log_prob(self, z: Tensor, context: Tensor | None, standard: Tensor | None) -> Tensor:
        base = self._foreign_stack.base
        return super()._last_log_prob(z, context, standard) if base is None else per_example(base(z, context), z)


@isolated()
def wrap_teacher(
    module: nn.Module,
    event_shape: Sequence[int] | None = None,
    *,
    context_features: int | None = None,
    units: TeacherUnits = "scaled",
) -> ForeignFlow:
    """Make a flow of zuko or normflows a teacher.

    Parameters
    ----------
    module
        A ``zuko.flows.Flow`` (or another lazy distribution with ``transform`` and ``base``), or a normflows
        ``NormalizingFlow``, ``ConditionalNormalizingFlow`` or ``MultiscaleFlow``. It is copied and not changed.
    event_shape
        Shape of one example; taken from the base if None.
    context_features
        Length of each example's context; found by trial if None.
    units
        What the module was trained on:

        ``"scaled"``
            The values of NFKD's own flows: vectors and contexts after ``data.scaling``, images as (level + u)/levels in
            [0, 1).
        ``"data"``
            The data's units: vectors and contexts as in the file, images as dequantized levels in [0, levels). Not
            with ``data.scaling = "quantile"``, which is not invertible everywhere.
        ``(low, high)``
            Images whose levels 0 to *levels* were scaled to this range, such as (0, 1), (-1, 1) or (-0.5, 0.5).

        A run adds a first layer that maps its scaled values to these units, with its log-determinant. It notes the
        units beside the fingerprint.

    Returns
    -------
    ForeignFlow
        Frozen, in evaluation mode; its ``unsupported`` lists what it cannot do.

    Raises
    ------
    TypeError
        When the module is another one, or the units are not a string or two numbers.
    ValueError
        When it cannot be split into layers, or the units are unknown.
    """
    if not isinstance(module, nn.Module) or not (is_zuko(module) or is_normflows(module)):
        msg = (
            f"{type(module).__name__} is neither a flow of zuko (with transform and base) nor of normflows (with q0 "
            "and flows): it cannot be made a teacher"
        )
        raise TypeError(msg)
    if any(value.is_meta for value in module.state_dict().values()):
        msg = f"{origin(module)} has no weights, because it was built on the device meta: build it on the CPU"
        raise ValueError(msg)
    make_stack = normflows_stack if is_normflows(module) else zuko_stack
    with torch.no_grad():
        torch.default_generator.manual_seed(_SEED)  # `torch.manual_seed` would seed every device
        own = copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False)
        stack = make_stack(own, None if event_shape is None else tuple(event_shape), context_features)
        flow = _assemble(own, stack)
    flow.units = checked_units(units, flow.event_shape)
    return flow


def _assemble(module: nn.Module, stack: ForeignStack) -> ForeignFlow:
    _require_step(stack.layers)
    unsupported: dict[Capability, str] = {}
    if stack.reason:
        unsupported["latents"] = unsupported["synthesis"] = (
            f"{stack.reason}, so that a student's latents have another scale"
        )
    x = torch.randn(PROBES, *stack.event_shape, dtype=dtype_of(module))
    context = probe_context(stack.context_features, x)
    shapes: list[tuple[int, ...]] = []
    try:
        drawn, shapes = _decode_probe(stack, x, context)
        x = drawn if drawn.isfinite().all() else x
    except Exception as error:  # noqa: BLE001 - a flow without this direction may raise anything
        unsupported["synthesis"] = _no_direction("from latents to data", error)
    if tuple(x.shape[1:]) != stack.event_shape:
        msg = f"{origin(module)} makes examples of shape {tuple(x.shape[1:])}, not {stack.event_shape}"
        raise ValueError(msg)
    try:
        shapes = _encode_probe(stack, x, context)
    except Exception as error:  # noqa: BLE001 - as above
        unsupported["log_prob"] = unsupported["latents"] = _no_direction("from data to latents", error)
    if any(layer.split_off not in {(), shape} for layer, shape in zip(stack.layers, shapes, strict=False)):
        msg = f"{origin(module)} splits its latents into unequal parts, which NFKD does not support"
        raise ValueError(msg)
    if not shapes:
        msg = f"{origin(module)} cannot be split into layers: {'; '.join(unsupported.values())}"
        raise ValueError(msg)
    flow = ForeignFlow(module, stack, _entries(stack.layers, shapes)).eval()
    flow.unsupported.update(unsupported)
    _compare(flow, stack, x, context)
    return flow


def _compare(flow: ForeignFlow, stack: ForeignStack, x: Tensor, context: Tensor | None) -> None:
    """Compare the flow with the module's own density, and its decode with its encode."""
    if "log_prob" in flow.unsupported:
        return
    found = flow(x, context)
    expected = per_example(stack.log_prob(x, context), x)
    if not close(found.log_prob, expected):
        error = float((found.log_prob - expected).abs().max())
        msg = f"{flow.origin} cannot be split into layers: log_prob by layers differs from its own by {error:.3g}"
        raise ValueError(msg)
    if "synthesis" in flow.unsupported:
        return
    decoded = flow.decode(found.latents, context)
    if not close(decoded, x, _INVERSE_TOLERANCE):
        error = float((decoded - x).abs().max())
        flow.unsupported["synthesis"] = f"its two directions are not inverse to each other: they differ by {error:.3g}"


def _no_direction(direction: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"it has no transform {direction} ({reason})"


def _require_step(layers: list[ForeignLayer]) -> None:
    """Make the last layer a step if there is none, because a matching needs one."""
    if not any(layer.kind == "step" for layer in layers):
        last = max(index for index, layer in enumerate(layers) if not isinstance(layer.layer, Split))
        layers[last] = replace(layers[last], kind="step")


def _decode_probe(stack: ForeignStack, like: Tensor, context: Tensor | None) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Return examples of random latents, and the output shape of each layer."""
    x, shapes = torch.randn(PROBES, *stack.last, dtype=like.dtype), []
    for layer in reversed(stack.layers):
        shapes.append(tuple(x.shape[1:]))
        if isinstance(layer.layer, Split):
            x = layer.layer.inverse(x, torch.randn(PROBES, *layer.split_off, dtype=like.dtype))
        else:
            x = layer.layer.inverse(x, context)
    return x, shapes[::-1]


def _encode_probe(stack: ForeignStack, x: Tensor, context: Tensor | None) -> list[tuple[int, ...]]:
    """Return the output shape of each layer."""
    shapes = []
    for layer in stack.layers:
        x = layer.layer(x)[0] if isinstance(layer.layer, Split) else layer.layer(x, context)[0]
        shapes.append(tuple(x.shape[1:]))
    return shapes


def _entries(layers: Sequence[ForeignLayer], shapes: Sequence[tuple[int, ...]]) -> list[Entry]:
    """Return the layers' entries; steps are numbered within each level."""
    levels = 1 + sum(layer.kind == "split" for layer in layers)
    level, counts, entries = 1, dict[str, int](), []
    for layer, shape in zip(layers, shapes, strict=True):
        counts[layer.kind] = counts.get(layer.kind, 0) + 1
        number = str(counts[layer.kind]) if layer.kind not in {"split", "squeeze", "base"} else ""
        in_level = levels > 1 and layer.kind != "base"
        prefix, label_prefix = (f"level{level}.", f"level {level} ") if in_level else ("", "")
        kind = f"{layer.kind} {number}".strip()
        own = "" if layer.label.lower() == layer.kind else f" ({layer.label})"
        entries.append(Entry(f"{prefix}{layer.kind}{number}", f"{label_prefix}{kind}{own}", layer.kind, shape))
        if layer.kind == "split":
            level, counts = level + 1, {}
    return entries
