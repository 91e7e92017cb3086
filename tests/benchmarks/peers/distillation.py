"""A step of distillation, NLL + LKD + ILKD, beside the same step built on normflows.

Ours is what the trainer does: the terms, the check for values that are not finite, the clipped gradient, Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nfkd.config import DistillationConfig, Glow1DConfig, GlowConfig, TwoMoonsConfig
from nfkd.config.flows import FlowConfig
from nfkd.config.matching import MatchingConfig
from nfkd.data import Batch, load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.matching import match_layers
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair
from nfkd.training.generators import Generators
from tests.benchmarks.peers.case import Case, Work, count_parameters, timed
from tests.benchmarks.peers.libraries import normflows_glow1d, normflows_multiscale_glow
from tests.benchmarks.peers.steps import adam, normal_examples, own_adam, own_flow
from tests.benchmarks.peers.timing import Action

CLIP = 30.0

NLL, LKD, ILKD = 0.9, 0.05, 0.05
TERMS = DistillationConfig.model_validate(
    {"nll": {"weight": NLL}, "lkd": {"weight": LKD}, "ilkd": {"weight": ILKD}, "skd": {"weight": 0.0}}
)


@dataclass(frozen=True)
class Traced:
    """What a pass of normflows gives: log-density, latents, and the output of every step by our layer's name."""

    log_prob: Tensor
    latents: Tensor
    outputs: Mapping[str, Tensor]


def trace_glow(flow: Any, x: Tensor) -> Traced:
    """Return the pass of a `MultiscaleFlow` of normflows, from data to latents."""
    log_prob, latents, outputs = x.new_zeros(len(x)), list[Tensor](), dict[str, Tensor]()
    for level in reversed(range(len(flow.flows))):
        for number, layer in enumerate(reversed(flow.flows[level])):
            x, log_det = layer.inverse(x)
            log_prob = log_prob + log_det
            if number:  # the first layer squeezes
                outputs[f"level{len(flow.flows) - level}.step{number}"] = x
        z = x
        if level:
            (x, z), _ = flow.merges[level - 1].inverse(x)
        log_prob = log_prob + flow.q0[level].log_prob(z)
        latents.append(z.flatten(1))
    return Traced(log_prob, torch.cat(latents, dim=1), outputs)


def trace_vectors(flow: Any, x: Tensor) -> Traced:
    """Return the pass of a `NormalizingFlow` of normflows with three layers a step, from data to latents."""
    log_prob, outputs = x.new_zeros(len(x)), dict[str, Tensor]()
    for number, layer in enumerate(reversed(flow.flows), 1):
        x, log_det = layer.inverse(x)
        log_prob = log_prob + log_det
        outputs[f"step{number // 3}"] = x
    return Traced(log_prob + flow.q0.log_prob(x), x, outputs)


def _normflows_step(
    student: nn.Module,
    teacher: nn.Module,
    trace: Callable[[Any, Tensor], Traced],
    pairs: Sequence[LayerPair],
    x: Tensor,
) -> Action:
    """Return a step as one would write it with normflows, with the same terms as ours."""
    teacher.requires_grad_(requires_grad=False)
    optimizer = adam(student.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            target = trace(teacher, x)
        found = trace(student, x)
        errors = [(found.outputs[pair.student] - target.outputs[pair.teacher]).square().mean() for pair in pairs]
        loss = -NLL * found.log_prob.mean() / x[0].numel()
        loss = loss + LKD * (found.latents - target.latents).square().mean() + ILKD * torch.stack(errors).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), CLIP)
        optimizer.step()

    return step


def _own_step(student: Flow, teacher: Flow, pairs: Sequence[LayerPair], x: Tensor) -> Action:
    """Return a step of our trainer: the loss with its check for values that are not finite, clipping and Adam."""
    distiller = Distiller(TERMS, teacher, pairs, load_dataset(TwoMoonsConfig()))  # of the data, only the unit
    optimizer, generators, batch = own_adam(student.parameters()), Generators(0, "student"), Batch(x)

    def step() -> None:
        loss = distiller.backward(student, batch, generators)
        if float(loss.gradient_norm) > CLIP:
            nn.utils.clip_grads_with_norm_(student.parameters(), CLIP, loss.gradient_norm)
        optimizer.step()

    return step


def _glow(steps: int) -> GlowConfig:
    return GlowConfig(levels=3, steps=steps, hidden=128)


def _normflows_glow(config: FlowConfig) -> Any:
    assert isinstance(config, GlowConfig)
    return normflows_multiscale_glow(config, (3, 32, 32))


def _vectors(steps: int) -> Glow1DConfig:
    return Glow1DConfig(steps=steps, hidden=64)


def _normflows_vectors(config: FlowConfig) -> nn.Module:
    return normflows_glow1d(config, 63).flow


def _distill(
    config: Callable[[int], FlowConfig],
    theirs: Callable[[FlowConfig], Any],
    trace: Callable[[Any, Tensor], Traced],
    x: Tensor,
) -> Work:
    student, teacher = (own_flow(config(steps), x) for steps in (4, 16))
    pairs = match_layers(MatchingConfig(), student.layer_info(), teacher.layer_info())
    torch.manual_seed(0)
    other_student, other_teacher = (theirs(config(steps)) for steps in (4, 16))
    with torch.no_grad():
        assert trace(other_teacher, x).outputs.keys() >= {pair.teacher for pair in pairs}
        assert trace(other_student, x).outputs.keys() >= {pair.student for pair in pairs}
    return Work(
        _own_step(student, teacher, pairs, x),
        {"normflows": _normflows_step(other_student, other_teacher, trace, pairs, x)},
        {
            "our student": count_parameters(student),
            "normflows' student": count_parameters(other_student),
            "matched layers": len(pairs),
        },
    )


CASES = (
    Case(
        "step of distillation, Glow 16×3 → 4×3, width 128, 3×32×32, batch 8",
        {"normflows": 0.7},
        timed(partial(_distill, _glow, _normflows_glow, trace_glow, normal_examples(8, 3, 32, 32))),
    ),
    Case(
        "step of distillation, Glow-1D 16 → 4, width 64, D = 63, batch 1,024",
        {"normflows": 0.7},
        timed(partial(_distill, _vectors, _normflows_vectors, trace_vectors, normal_examples(1024, 63))),
    ),
)
