"""Jacobian: squared difference of Jacobian-vector products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nfkd.config import ConfigProblem
from nfkd.config.terms import JacobianConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.flows.flow import Flow, evaluating
from nfkd.flows.foreign import ForeignFlow
from nfkd.transfer import to_device


class Jacobian(Objective[JacobianConfig]):
    """E_v ‖J_S(x) v − J_T(x) v‖² / D for the Jacobians of x → all latents, with random signs as entries of v.

    The mean over v is ‖J_S − J_T‖² / D (Frobenius). Each product is one more pass, by forward-mode differentiation; no
    Jacobian is formed. Batch norm takes its running means. Srinivas & Fleuret 2018, arXiv 1803.00443.
    """

    asks = ("latents",)
    recomputes = False
    same_latents = True

    def needs(self) -> Needs:
        """Return a random direction; the term makes its own passes."""
        return Needs(student=False, teacher=False, random={"jacobian": _signs}, extra_encodes=(6.0, 2.0))

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the mean over the latents, (B,)."""
        batch, (student, teacher) = require(passes.batch), require(passes.flows)
        [direction], x = passes.random["jacobian"], batch.x.detach()
        with evaluating(student):
            products = [_product(_latents(flow, batch.context), x, direction) for flow in (student, teacher)]
        return (products[0] - products[1]).square().mean(1)

    def problems(self, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
        """Return a problem for a teacher without forward-mode derivatives."""
        problems = []
        if isinstance(teacher, ForeignFlow) and "latents" not in teacher.unsupported:
            like = next(teacher.parameters())
            x = torch.zeros(2, *teacher.event_shape).to(like)
            context = torch.zeros(2, teacher.context_features).to(like) if teacher.context_features else None
            try:
                _product(_latents(teacher, context), x, torch.ones_like(x))
            except Exception:  # noqa: BLE001 - another library's layer may raise anything
                message = f"the teacher, {teacher.origin}, has no forward-mode derivatives: set the weight to 0"
                problems.append(ConfigProblem("weight", message))
        return problems


def _signs(_: Flow, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
    signs = 2 * torch.randint(2, batch.x.shape, generator=generator) - 1
    return (to_device(signs, batch.x.device, batch.x.dtype),)


def _latents(flow: Flow, context: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda x: flow(x, context).latents.flat()


def _product(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    return torch.func.jvp(function, (x,), (direction,))[1]
