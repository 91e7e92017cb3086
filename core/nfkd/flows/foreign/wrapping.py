"""A foreign flow as a `Flow`, after finding out what it can serve."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nfkd.flows.flow import Capability, Entry, Flow, Latents, Pass, Split
from nfkd.flows.foreign.normflows_flows import is_normflows, normflows_parts
from nfkd.flows.foreign.parts import (
    PROBES,
    ForeignLayer,
    Parts,
    close,
    dtype_of,
    origin,
    per_example,
    probe_context,
)
from nfkd.flows.foreign.units import Affine, Rescale, TeacherUnits, checked_units
from nfkd.flows.foreign.zuko_flows import is_zuko, zuko_parts
from nfkd.flows.isolation import isolated

_SEED = 20_250_621
_LEADS_BACK = 1e-2  # relative: inverses by iteration, of which both libraries have some, stop at about 1e-3


class ForeignFlow(Flow):
    """A flow of another library, frozen.

    Attributes
    ----------
    origin
        Whose it is, such as ``zuko MAF``.
    units
        Those that the flow was trained in, as given to `wrap_teacher`. The flow itself takes and gives these; a run
        puts the map from its scaled values in front, by `rescaled`.
    """

    def __init__(self, module: nn.Module, parts: Parts, entries: Sequence[Entry]) -> None:
        layers = [part.layer for part in parts.stack]
        super().__init__(parts.event_shape, entries, layers, context_features=parts.context_features)
        # It holds no number, but says in which type and where the flow computes: a flow may have buffers alone.
        self._like = nn.Parameter(torch.empty(0, dtype=dtype_of(module)), requires_grad=False)
        self.origin = origin(module)
        self.units: TeacherUnits = "scaled"
        self._base, self._parts = parts.base, parts
        self._context_map: Rescale | None = None
        self._source = (module,)  # in a tuple: it is no second owner of the weights
        self._initialized.fill_(1)

    def source_state(self) -> dict[str, Tensor]:
        """Return the weights under the names that the other library gives them."""
        return self._source[0].state_dict()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the weights: names, types, shapes and bytes."""
        digest = hashlib.sha256()
        for name, value in sorted(self.source_state().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def rescaled(self, values: Affine | None, context: Affine | None) -> ForeignFlow:
        """Return the flow on other values, which an affine map takes to those that it was trained on.

        The map is the first layer, ``units``; the weights are shared with this flow.

        Parameters
        ----------
        values, context
            Centre and width of the map z·width + centre; None leaves them as they are.
        """
        parts, entries = self._parts, self._entries
        if values is not None:
            layer = Rescale(*values, dtype_of(self._source[0]))
            parts = replace(parts, stack=[ForeignLayer("units", "units", layer), *parts.stack])
            entries = [Entry("units", "units", "units", self.event_shape), *entries]
        flow = ForeignFlow(self._source[0], parts, entries)
        flow.unsupported.update(self.unsupported)
        flow.units = self.units
        if context is not None:
            flow._context_map = Rescale(*context, dtype_of(self._source[0]))
        return flow.train(self.training)

    def forward(self, x: Tensor, context: Tensor | None = None, *, trace: bool = False) -> Pass:
        """Take data to latents in one pass, as `Flow.forward`."""
        return super().forward(x, self._mapped(context), trace=trace)

    def decode_trace(self, latents: Latents, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the examples of some latents, and what the way back passes through, as `Flow.decode_trace`."""
        return super().decode_trace(latents, self._mapped(context))

    def synthesize(self, noise: Sequence[Tensor], temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Return the samples of a noise, as `Flow.synthesize`."""
        return super().synthesize(noise, temperature, self._mapped(context))

    def _mapped(self, context: Tensor | None) -> Tensor | None:
        """Return a context in the units of the flow; a wrong one is left for `Flow` to refuse."""
        fits = context is not None and context.dim() == 2 and context.shape[1] == self.context_features
        return self._context_map(context)[0] if fits and self._context_map is not None else context

    def _last_log_prob(self, z: Tensor, context: Tensor | None) -> Tensor:
        if self._base is None:
            return super()._last_log_prob(z, context)
        return per_example(self._base(z, context), z)


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
        ``NormalizingFlow``, ``ConditionalNormalizingFlow`` or ``MultiscaleFlow``. It is copied: yours stays as it is.
    event_shape
        Shape of one example; left out, the base tells it.
    context_features
        Length of each example's context; left out, it is found by trying.
    units
        What the module was trained on:

        ``"scaled"``
            The values that NFKD's own flows see: vectors and contexts as ``data.scaling`` makes them, images as
            (level + u)/levels in [0, 1).
        ``"data"``
            The data's own units: vectors and contexts as they are in the file, images as dequantized levels in
            [0, levels). Not with ``data.scaling = "quantile"``, which cannot be undone everywhere.
        ``(low, high)``
            Images whose levels 0 to *levels* were scaled to this range, such as (0, 1), (-1, 1) or (-0.5, 0.5).

        The run puts the map from its scaled values in front, as the first layer, and counts its log-determinant. It
        notes the units beside the fingerprint.

    Returns
    -------
    ForeignFlow
        Frozen, in evaluation mode. What it cannot serve is in its ``unsupported``.

    Raises
    ------
    TypeError
        When the module is neither, or the units are neither a string nor two numbers.
    ValueError
        When it cannot be taken apart into layers (the message says why), or the units are unknown.
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
    take_apart = normflows_parts if is_normflows(module) else zuko_parts
    with torch.no_grad():
        torch.default_generator.manual_seed(_SEED)  # not `torch.manual_seed`, which seeds every device
        own = copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False)
        parts = take_apart(own, None if event_shape is None else tuple(event_shape), context_features)
        flow = _assembled(own, parts)
    flow.units = checked_units(units, flow.event_shape)
    return flow


def _assembled(module: nn.Module, parts: Parts) -> ForeignFlow:
    _mark_a_step(parts.stack)
    unsupported: dict[Capability, str] = {}
    if parts.why:
        unsupported["latents"] = unsupported["synthesis"] = (
            f"{parts.why}, so that a student's latents have another scale"
        )
    x = torch.randn(PROBES, *parts.event_shape, dtype=dtype_of(module))
    context = probe_context(parts.context_features, x)
    shapes: list[tuple[int, ...]] = []
    try:
        drawn, shapes = _from_latents(parts, x, context)
        x = drawn if drawn.isfinite().all() else x
    except Exception as error:  # noqa: BLE001 - a flow that lacks a direction says so in its own way
        unsupported["synthesis"] = _no_way("from latents to data", error)
    if tuple(x.shape[1:]) != parts.event_shape:
        msg = f"{origin(module)} makes examples of shape {tuple(x.shape[1:])}, not {parts.event_shape}"
        raise ValueError(msg)
    try:
        _, shapes = _to_latents(parts, x, context)
    except Exception as error:  # noqa: BLE001 - as above
        unsupported["log_prob"] = unsupported["latents"] = _no_way("from data to latents", error)
    if any(part.left not in {(), shape} for part, shape in zip(parts.stack, shapes, strict=False)):
        msg = f"{origin(module)} splits its latents into unequal parts, which NFKD's flows do not"
        raise ValueError(msg)
    if not shapes:
        msg = f"{origin(module)} cannot be taken apart: {'; '.join(unsupported.values())}"
        raise ValueError(msg)
    flow = ForeignFlow(module, parts, _entries(parts.stack, shapes)).eval()
    flow.unsupported.update(unsupported)
    _compare(flow, parts, x, context)
    return flow


def _compare(flow: ForeignFlow, parts: Parts, x: Tensor, context: Tensor | None) -> None:
    """Hold the flow to the module's own density, and its two directions to each other."""
    if "log_prob" in flow.unsupported:
        return
    found = flow(x, context)
    theirs = per_example(parts.log_prob(x, context), x)
    if not close(found.log_prob, theirs):
        worst = float((found.log_prob - theirs).abs().max())
        msg = f"{flow.origin} cannot be taken apart: log_prob by layers differs from its own by {worst:.3g}"
        raise ValueError(msg)
    if "synthesis" not in flow.unsupported and not close(flow.decode(found.latents, context), x, _LEADS_BACK):
        error = float((flow.decode(found.latents, context) - x).abs().max())
        flow.unsupported["synthesis"] = f"its two directions are not inverse to each other: they differ by {error:.3g}"


def _no_way(words: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"it has no way {words} ({reason})"


def _mark_a_step(stack: list[ForeignLayer]) -> None:
    """Make the last layer a step where there is none: a matching needs one."""
    if any(part.kind == "step" for part in stack):
        return
    last = max(place for place, part in enumerate(stack) if not isinstance(part.layer, Split))
    stack[last] = ForeignLayer("step", stack[last].label, stack[last].layer)


def _from_latents(parts: Parts, like: Tensor, context: Tensor | None) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Return examples of random latents, and the shape of what comes out of each layer."""
    x, shapes = torch.randn(PROBES, *parts.last, dtype=like.dtype), []
    for part in reversed(parts.stack):
        shapes.append(tuple(x.shape[1:]))
        if isinstance(part.layer, Split):
            x = part.layer.inverse(x, torch.randn(PROBES, *part.left, dtype=like.dtype))
        else:
            x = part.layer.inverse(x, context)
    return x, shapes[::-1]


def _to_latents(parts: Parts, x: Tensor, context: Tensor | None) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Return the last latent of some examples, and the shape of what comes out of each layer."""
    shapes = []
    for part in parts.stack:
        x = part.layer(x)[0] if isinstance(part.layer, Split) else part.layer(x, context)[0]
        shapes.append(tuple(x.shape[1:]))
    return x, shapes


def _entries(stack: Sequence[ForeignLayer], shapes: Sequence[tuple[int, ...]]) -> list[Entry]:
    """Return the layers' names: steps are counted, within each level where there are several."""
    levels = 1 + sum(part.kind == "split" for part in stack)
    level, counts, entries = 1, dict[str, int](), []
    for part, shape in zip(stack, shapes, strict=True):
        counts[part.kind] = counts.get(part.kind, 0) + 1
        number = str(counts[part.kind]) if part.kind not in {"split", "squeeze", "base"} else ""
        prefix, words = (f"level{level}.", f"level {level} ") if levels > 1 else ("", "")
        if part.kind == "base":
            prefix = words = ""
        kind = f"{part.kind} {number}".strip()
        own = "" if part.label.lower() == part.kind else f" ({part.label})"
        entries.append(Entry(f"{prefix}{part.kind}{number}", f"{words}{kind}{own}", part.kind, shape))
        if part.kind == "split":
            level, counts = level + 1, {}
    return entries
