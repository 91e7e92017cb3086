"""Builds flows from configs. Every module here lists its `Architecture` objects in ``ARCHITECTURES``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

from nfkd.config import ConfigProblem
from nfkd.config.flows import FlowConfig
from nfkd.flows.architecture import Architecture, FlowError
from nfkd.flows.compiler import import_compiler_when_used
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import plain_torch

__all__ = ["ARCHITECTURES", "FlowError", "build_flow", "flow_problems", "flow_summary", "meta_flow"]


import_compiler_when_used()


def _found() -> dict[str, Architecture[Any]]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {architecture.kind: architecture for module in modules for architecture in module.ARCHITECTURES}


ARCHITECTURES = _found()
"""Every architecture, by its config's kind."""


def flow_problems(config: FlowConfig, event_shape: Sequence[int]) -> list[ConfigProblem]:
    """Return the reasons why a flow cannot be built for examples of a shape; builds nothing."""
    return ARCHITECTURES[config.kind].problems(config, tuple(event_shape))


def flow_summary(config: FlowConfig) -> str:
    """Return a short description of a flow, such as ``Glow 8×2``: steps times levels."""
    return ARCHITECTURES[config.kind].summary(config)


@plain_torch()
def build_flow(
    config: FlowConfig,
    event_shape: Sequence[int],
    *,
    context_features: int = 0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Flow:
    """Build the flow of a config, in float32 whatever torch's default dtype.

    Parameters
    ----------
    config
        The architecture.
    event_shape
        Shape of one example: (channels, height, width) or (features,).
    context_features
        Length of each example's context; zero for an unconditional flow.
    generator
        For the first weights, on the CPU: the same state gives the same flow, bit for bit.
    device
        The CPU by default; ``"meta"`` builds the flow without storage.

    Raises
    ------
    FlowError
        With every problem, if the flow does not fit the shape.
    """
    problems = flow_problems(config, event_shape)
    if problems:
        raise FlowError(problems)
    on_meta = device is not None and torch.device(device).type == "meta"
    with torch.device("meta") if on_meta else nullcontext():
        architecture = ARCHITECTURES[config.kind]
        flow = architecture.build(config, tuple(event_shape), context_features, None if on_meta else generator)
    return flow if device is None or on_meta else flow.to(device)


@lru_cache(maxsize=8)
def meta_flow(config: FlowConfig, event_shape: tuple[int, ...], context_features: int) -> Flow:
    """Return the flow of a config on the meta device, the same for all callers, which must not change it.

    Errors as `build_flow`.
    """
    return build_flow(config, event_shape, context_features=context_features, device="meta")
