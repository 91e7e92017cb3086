"""Inspection of a flow: what each layer costs, and whether inverse and log-determinant are right.

A flow is invertible on paper; in floating point its inverse can fail where its layers stretch strongly, above all on
inputs unlike its data (Behrmann et al. 2020, arXiv 2006.09347). Each flow is therefore tried on its data (or noise in
its place), on wide noise, on constant inputs and on far outliers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig
from nfkd.evaluation.iterations import count_iterations
from nfkd.flows.architectures import flow_summary
from nfkd.flows.cost import FlowCost, flow_cost
from nfkd.flows.flow import Flow, evaluating
from nfkd.protocol.records import BlockSolve
from nfkd.protocol.requests import LayerInfo

_EXACT, _EXPLODES = 1e-3, 1e-1  # largest relative error that is exact; that is inexact
_LOG_DET_TOLERANCE = 1e-5
MAX_JACOBIAN_DIMENSIONS = 256
"""Beyond, autograd's Jacobian takes too long."""
_JACOBIAN_ROWS = 32  # of the Jacobian in one pass
_FEW, _MANY, _LARGE = 4, 16, 1024  # examples of a flow above and up to so many dimensions
_SEED = 20_200_616
Judgement = Literal["exact", "inexact", "explodes"]


@dataclass(frozen=True)
class Trial:
    """Result of encoding some inputs and decoding them again.

    Attributes
    ----------
    name
        Description of the inputs.
    usual
        Whether they are the data, or noise in place of the data.
    float32, float64
        max |decode(encode(x)) − x| / max(1, max |x|) over the inputs, in single and in double precision; infinite
        where the decoded values are not finite.
    """

    name: str
    usual: bool
    float32: float
    float64: float

    @property
    def judgement(self) -> Judgement:
        """Judgement of float32, the precision of training: *exact* up to 0.001, *inexact* up to 0.1."""
        if not self.float32 <= _EXPLODES:
            return "explodes"
        return "exact" if self.float32 <= _EXACT else "inexact"


@dataclass(frozen=True)
class Inspection:
    """Result of inspecting a flow.

    Attributes
    ----------
    name
        Such as ``teacher: Glow 8×2``.
    layers
        Names, kinds and shapes, in the order of ``cost.layers``.
    cost
        Of the flow; memory is for a batch of `batch_size`.
    trials
        The usual inputs come first.
    log_det_error
        max |log-determinant − autograd's| / max(1, |autograd's|) over a few usual inputs in double precision; None for
        a flow of more than 256 dimensions, which is not compared.
    iterations
        Jacobi iterations of each autoregressive block, for as many samples; empty for other flows.
    """

    name: str
    layers: tuple[LayerInfo, ...]
    cost: FlowCost
    batch_size: int
    trials: tuple[Trial, ...]
    log_det_error: float | None
    iterations: tuple[BlockSolve, ...] = ()

    @property
    def verdict(self) -> str:
        """The result in a sentence or two, from "Sound", "Inexact" to "Unsound"."""
        usual = self.trials[0]
        if self.log_det_error is not None and not self.log_det_error <= _LOG_DET_TOLERANCE:
            return (
                f"Unsound: the log-determinant differs from autograd's by {self.log_det_error:.2g} (relative), so the "
                "likelihoods are wrong."
            )
        if usual.judgement == "explodes":
            return (
                f"Unsound: the inverse explodes on {usual.name}{_rounding_hint(usual)}. Do not trust samples or "
                "reconstructions."
            )
        first = "Sound" if usual.judgement == "exact" else f"Inexact{_rounding_hint(usual)}"
        findings = [f"{first} on {usual.name}"]
        if explodes := self._unusual("explodes"):
            findings.append(f"the inverse explodes on {_listed(explodes)}: do not trust its results there")
        if inexact := self._unusual("inexact"):
            findings.append(f"the inverse is inexact on {_listed(inexact)}")
        if len(findings) == 1:
            findings.append("the inverse is exact on every other tested input")
        return f"{'; '.join(findings)}."

    def _unusual(self, judgement: Judgement) -> list[str]:
        return [trial.name for trial in self.trials if not trial.usual and trial.judgement == judgement]


def _rounding_hint(trial: Trial) -> str:
    return " in single precision (it is exact in double)" if trial.float64 <= _EXACT else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def inspect_flow(
    flow: Flow,
    config: FlowConfig,
    x: Tensor,
    context: Tensor | None = None,
    *,
    source: str = "data",
    name: str = "",
    batch_size: int = 1,
) -> Inspection:
    """Measure a flow's layers, and test its inverse and its log-determinant.

    Parameters
    ----------
    flow
        In float32; not changed.
    config
        Config of the flow.
    x
        (B, *event_shape) usual inputs; at most 16 are used.
    context
        (B, context_features) for a conditional flow.
    source
        Description of x.
    name
        Of the flow; by default a summary of its config.
    batch_size
        For the estimate of memory.
    """
    count = min(len(x), _FEW if math.prod(flow.event_shape) > _LARGE else _MANY)
    x, context = x[:count].cpu(), None if context is None else context[:count].cpu()
    single = copy.deepcopy(flow).cpu().requires_grad_(requires_grad=False)
    double = copy.deepcopy(single).double()
    with evaluating(single), evaluating(double):
        trials = tuple(
            Trial(
                label, label == source, _inverse_error(single, values, context), _inverse_error(double, values, context)
            )
            for label, values in ({source: x} | _unusual_inputs(x)).items()
        )
        error = _log_det_error(double, x[:_FEW], context)
        names = {layer.label: layer.name for layer in single.layer_info()}  # the table of layers has names
        blocks = count_iterations(single, x, context)
        iterations = tuple(msgspec.structs.replace(block, name=names[block.name]) for block in blocks)
    return Inspection(
        name=name or flow_summary(config),
        layers=tuple(flow.layer_info()),
        cost=flow_cost(config, flow.event_shape, batch_size, flow.context_features),
        batch_size=batch_size,
        trials=trials,
        log_det_error=error,
        iterations=iterations,
    )


def _unusual_inputs(x: Tensor) -> dict[str, Tensor]:
    """Return inputs unlike the data, each of the shape of x."""
    generator = torch.Generator().manual_seed(_SEED)
    dimensions = 0 if x.dim() == 2 else tuple(range(x.dim()))  # each feature has its own scale; pixels share one
    mean = x.mean(dimensions)
    deviation = x.std(dimensions, unbiased=False) + 1e-6
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    levels = torch.linspace(-1, 2, len(x), dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    low, high = x.amin(), x.amax()
    return {
        "noise ten times as wide": mean + 10 * deviation * noise,
        "constant inputs": (low + (high - low) * levels).expand_as(x).contiguous(),
        "far outliers": mean + 100 * deviation * noise,
    }


@torch.no_grad()
def _inverse_error(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    like = next(flow.parameters())
    x, context = x.to(like), None if context is None else context.to(like)
    decoded = flow.decode(flow.encode(x, context), context)
    error = (decoded - x).double().abs().max() / x.double().abs().max().clamp(min=1)
    return float(error) if bool(decoded.isfinite().all()) else math.inf


def _log_det_error(flow: Flow, x: Tensor, context: Tensor | None) -> float | None:
    if math.prod(flow.event_shape) > MAX_JACOBIAN_DIMENSIONS:
        return None
    return max((error if math.isfinite(error) else math.inf for error in log_det_errors(flow, x, context)), default=0.0)


def log_det_errors(flow: Flow, x: Tensor, context: Tensor | None) -> Iterator[float]:
    """Yield |log-determinant − autograd's| / max(1, |autograd's|) of each example, for a flow in double precision."""
    for row in range(len(x)):
        example = x[row : row + 1].double()
        its_context = None if context is None else context[row : row + 1].double()
        with torch.no_grad():
            actual = float(flow.encode(example, its_context).log_det)
        expected = _autograd_log_det(flow, example, its_context)
        yield abs(actual - expected) / max(1.0, abs(expected))


def _autograd_log_det(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """Return log |det ∂z/∂x| of one example.

    A pass takes many equal rows: the gradient of row i is that of latent i alone.
    """
    size, parts = math.prod(flow.event_shape), list[Tensor]()
    for start in range(0, size, _JACOBIAN_ROWS):
        count = min(_JACOBIAN_ROWS, size - start)
        rows = x.expand(count, *flow.event_shape).clone().requires_grad_()
        contexts = None if context is None else context.expand(count, -1)
        with torch.enable_grad():
            latents = flow.encode(rows, contexts).flat().diagonal(start)
            parts += torch.autograd.grad(latents.sum(), rows)
    return float(torch.linalg.slogdet(torch.cat(parts).flatten(1))[1])
