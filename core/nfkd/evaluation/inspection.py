"""A look at a flow: what each layer costs, and whether inverse and log-determinant are what they should be.

A flow is invertible on paper; in floating point its inverse can lose everything where its layers stretch far, above
all on inputs unlike its data (Behrmann et al. 2020, arXiv 2006.09347). So it is tried on its data, or noise in its
place, and on wide noise, constant inputs and far outliers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import flow_summary
from nfkd.flows.cost import FlowCost, flow_cost
from nfkd.flows.flow import Flow, evaluating
from nfkd.protocol.requests import LayerInfo

EXACT, EXPLODES = 1e-3, 1e-1
LOG_DET = 1e-5
MOST_DIMENSIONS = 256
_FEW, _MANY, _LARGE = 4, 16, 1024
_SEED = 20_200_616
Judgement = Literal["exact", "inexact", "explodes"]


@dataclass(frozen=True)
class Trial:
    """Some inputs through a flow and back.

    Attributes
    ----------
    name
        What they are.
    usual
        Whether they are the data, or what stands for it.
    float32, float64
        max |decode(encode(x)) − x| / max(1, max |x|) over the inputs, in the flow's own precision and in double; not
        finite where what comes back is not.
    """

    name: str
    usual: bool
    float32: float
    float64: float

    @property
    def judgement(self) -> Judgement:
        """Of float32, in which flows are trained: *exact* up to 0.001, *inexact* up to 0.1, else it *explodes*."""
        if not self.float32 <= EXPLODES:
            return "explodes"
        return "exact" if self.float32 <= EXACT else "inexact"


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes
    ----------
    name
        Of the flow, such as ``teacher: Glow 8×2``.
    layers
        Names, kinds and shapes; the costs of the layers are in ``cost.layers``, in the same order.
    cost
        Of the flow, memory for a batch of `batch_size`.
    trials
        The usual inputs first.
    log_det_error
        max |log-determinant − autograd's| / max(1, |autograd's|) over a few of the usual inputs in double precision;
        None where the flow has more than `MOST_DIMENSIONS` dimensions, whose Jacobian takes too long.
    """

    name: str
    layers: tuple[LayerInfo, ...]
    cost: FlowCost
    batch_size: int
    trials: tuple[Trial, ...]
    log_det_error: float | None

    @property
    def sound(self) -> bool:
        """Whether the log-determinant is right and the inverse does not explode on the usual inputs."""
        return self._log_det_holds and not any(trial.usual and trial.judgement == "explodes" for trial in self.trials)

    @property
    def _log_det_holds(self) -> bool:
        return self.log_det_error is None or self.log_det_error <= LOG_DET

    @property
    def verdict(self) -> str:
        """The findings in a sentence or two."""
        usual = next(trial for trial in self.trials if trial.usual)
        if not self._log_det_holds:
            return (
                f"Unsound: the log-determinant is off by {self.log_det_error:.2g} of what autograd finds, so that the "
                "likelihoods are wrong."
            )
        if usual.judgement == "explodes":
            return (
                f"Unsound: the inverse explodes on {usual.name}. Latents do not lead back{_by_rounding(usual)}: trust "
                "neither samples nor reconstructions."
            )
        strange = {
            judgement: [trial.name for trial in self.trials if not trial.usual and trial.judgement == judgement]
            for judgement in ("explodes", "inexact")
        }
        first = "Sound" if usual.judgement == "exact" else f"Inexact{_by_rounding(usual)}"
        words = [f"{first} on {usual.name}"]
        if strange["explodes"]:
            words.append(f"the inverse explodes on {_listed(strange['explodes'])}: trust nothing that it says of those")
        if strange["inexact"]:
            words.append(f"it is inexact on {_listed(strange['inexact'])}")
        if len(words) == 1:
            words.append("the inverse holds on every other input that was tried")
        return f"{'; '.join(words)}."


def _by_rounding(trial: Trial) -> str:
    return " in single precision, though in double they do" if trial.float64 <= EXACT else ""


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
    """Measure a flow's layers and try its inverse and its log-determinant.

    Parameters
    ----------
    flow
        In float32; it is left as it is.
    config
        What it was built by.
    x
        (B, *event_shape) usual inputs; a few of them are taken.
    context
        (B, context_features) for a conditional flow.
    source
        What x is, in words.
    name
        Of the flow; left out, its config's words.
    batch_size
        For the memory.
    """
    count = min(len(x), _FEW if math.prod(flow.event_shape) > _LARGE else _MANY)
    x, context = x[:count].cpu(), None if context is None else context[:count].cpu()
    single = copy.deepcopy(flow).cpu().requires_grad_(requires_grad=False)
    double = copy.deepcopy(single).double()
    with evaluating(single), evaluating(double):
        inputs = {source: x} | _strange(x)
        trials = tuple(
            Trial(
                words, words == source, _inverse_error(single, values, context), _inverse_error(double, values, context)
            )
            for words, values in inputs.items()
        )
        error = _log_det_error(double, x[:_FEW], context)
    return Inspection(
        name=name or flow_summary(config),
        layers=tuple(flow.layer_info()),
        cost=flow_cost(config, flow.event_shape, batch_size, flow.context_features),
        batch_size=batch_size,
        trials=trials,
        log_det_error=error,
    )


def _strange(x: Tensor) -> dict[str, Tensor]:
    """Return inputs unlike the usual ones, as many."""
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
    back = flow.decode(flow.encode(x, context), context)
    error = (back - x).double().abs().max() / x.double().abs().max().clamp(min=1)
    return float(error) if bool(back.isfinite().all()) else math.inf


def _log_det_error(flow: Flow, x: Tensor, context: Tensor | None) -> float | None:
    if math.prod(flow.event_shape) > MOST_DIMENSIONS:
        return None
    worst = 0.0
    for number in range(len(x)):
        one = x[number : number + 1].double()
        given = None if context is None else context[number : number + 1].double()
        with torch.no_grad():
            found = float(flow.encode(one, given).log_det)
        expected = _autograds(flow, one, given)
        error = abs(found - expected) / max(1.0, abs(expected))
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def _autograds(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    def latents(value: Tensor) -> Tensor:
        return flow.encode(value, context).flat()[0]

    jacobian: Any = torch.autograd.functional.jacobian(latents, x)
    return float(torch.linalg.slogdet(jacobian.flatten(1))[1])
