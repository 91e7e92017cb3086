"""Guidance of autoregressive blocks during sampling (TarFlow, Zhai et al. 2024, arXiv 2412.06329).

A block computes its parameters twice, and moves them away from those of a weaker prediction: c + g·(c − u). With
classes u has the mean of all classes in place of the class (classifier-free guidance, Ho & Salimans 2022, arXiv
2207.12598; train with ``label_dropping``). Without classes, u divides the logits of the attention by a temperature.
The weight grows with the tokens: g·i/(T − 1) at token i, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.flows.layer import Layer


@dataclass(frozen=True)
class Guidance:
    """How much the parameters move away from a weaker prediction.

    Attributes
    ----------
    weight
        g.
    attention_temperature
        Of the weaker prediction; None for a prediction without the class.
    """

    weight: float
    attention_temperature: float | None = None

    def weaker(self, context: Tensor | None) -> tuple[Tensor | None, float]:
        """Return context and attention temperature of the weaker prediction."""
        if self.attention_temperature is not None:
            return context, self.attention_temperature
        return None if context is None else torch.full_like(context, 1 / context.shape[1]), 1.0


_active: ContextVar[Guidance | None] = ContextVar("guidance of sampling", default=None)


def active_guidance() -> Guidance | None:
    """Return the guidance of this thread; None outside `guided`."""
    return _active.get()


def takes_guidance(layers: Iterable[torch.nn.Module]) -> bool:
    """Return whether one of the layers takes guidance."""
    parts = (part for layer in layers for part in layer.modules())
    return any(isinstance(part, Layer) and part.takes_guidance for part in parts)


@contextmanager
def guided(
    layers: Iterable[torch.nn.Module], weight: float, attention_temperature: float | None, context: Tensor | None
) -> Iterator[None]:
    """Guide these layers of a flow inside a ``with`` block, in this thread.

    Parameters
    ----------
    layers
        Of the flow.
    weight
        g, from 0.
    attention_temperature
        Above 0; None for guidance by classes.
    context
        Of the samples: classes in one-hot code, for guidance by classes.

    Raises
    ------
    TypeError, ValueError
        When the flow takes no guidance, there are no classes to guide by, or a number is out of range; the message
        says what to write.
    """
    _check_number("guidance", weight, zero=True)
    if attention_temperature is not None:
        _check_number("attention_temperature", attention_temperature, zero=False)
    if not takes_guidance(layers):
        msg = "this flow takes no guidance: only TarFlow does, so give guidance = 0"
        raise ValueError(msg)
    if attention_temperature is None and not _are_classes(context):
        reason = "this flow has no context" if context is None else "the context is not a class in one-hot code"
        msg = f"guidance needs classes, and {reason}: give attention_temperature, such as 0.3, to guide without classes"
        raise ValueError(msg)
    chosen = Guidance(float(weight), None if attention_temperature is None else float(attention_temperature))
    token = _active.set(chosen)
    try:
        yield
    finally:
        _active.reset(token)


def _are_classes(context: Tensor | None) -> bool:
    return context is not None and bool((((context == 0) | (context == 1)).all(1) & (context.sum(1) == 1)).all())


def _check_number(name: str, value: Any, *, zero: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        msg = f"{name} is {value!r} ({type(value).__name__}): give a number, such as 0.3"
        raise TypeError(msg)
    if not (0 < value < math.inf or (zero and value == 0)):
        msg = f"{name} is {value}: give a number {'from' if zero else 'above'} 0"
        raise ValueError(msg)
