"""The terms of the student's loss: a module for each, named like its field in `DistillationConfig`."""

from __future__ import annotations

from importlib import import_module
from inspect import isabstract

from nfkd.config import TERMS
from nfkd.distillation.objective import AnyObjective, Objective
from nfkd.flows.flow import Flow

__all__ = ["OBJECTIVES", "Objective", "unsupported_terms"]


def _objective(name: str) -> type[AnyObjective]:
    module = import_module(f"{__name__}.{name}")
    [objective] = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Objective) and not isabstract(member)
    ]
    return objective


OBJECTIVES = {name: _objective(name) for name in TERMS}
"""Every term by the name of its field in `DistillationConfig`, in the order of the fields."""


def unsupported_terms(teacher: Flow) -> dict[str, str]:
    """Return the terms that a teacher cannot serve, each with the reason."""
    return {
        name: teacher.unsupported[capability]
        for name, objective in OBJECTIVES.items()
        for capability in objective.asks
        if capability in teacher.unsupported
    }
