"""In which precision the networks inside couplings and autoregressive layers compute.

Under ``networks_in("bf16")`` their matrix products and convolutions take inputs and weights rounded to bfloat16
(8 bits of mantissa, the exponents of float32; Kalamkar et al. 2019, arXiv 1905.12322), add up in float32 as the
hardware does, and what comes out of a network is float32 again. Bounds, transforms, log-determinants, mixings, norms
and priors never leave float32, and neither do weights and their gradients: mixed precision as in Micikevicius et al.
2018 (arXiv 1710.03740), without a scale for the loss, which bfloat16's exponents do not need.

A network must be the same function in both directions, or the inverse is none: whoever encodes under one precision
and decodes under another is off by bfloat16's rounding. So is, rarely, who stays under bfloat16: an input that
float32 has moved by its last bit may round to the other side. Training takes bfloat16; whatever is reported, drawn or
saved is computed in float32, where the flow that the user gets is the flow that was measured.

The choice belongs to the thread: a request that is answered beside a training stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

Precision = Literal["float32", "bf16"]
Method = TypeVar("Method", bound=Callable[..., Tensor])

_chosen: ContextVar[Precision] = ContextVar("precision of networks", default="float32")
_inside: ContextVar[bool] = ContextVar("inside a network in bf16", default=False)


@contextmanager
def networks_in(precision: Precision) -> Iterator[None]:
    """Let the networks of flows compute in a precision, in this thread; flows in float64 stay as they are."""
    token = _chosen.set(precision)
    try:
        yield
    finally:
        _chosen.reset(token)


def in_precision(network: Method) -> Method:
    """Mark a network's method, from a tensor to a tensor: inside it `narrowed` narrows; what it returns is widened."""

    @wraps(network)
    def run(self: Any, x: Tensor, *rest: Any) -> Tensor:
        if _chosen.get() == "float32":
            return network(self, x, *rest)
        token = _inside.set(True)
        try:
            return network(self, x, *rest).to(x.dtype)
        finally:
            _inside.reset(token)

    return cast("Method", run)


def narrowed(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the operands of a matrix product or a convolution in the precision of the network that they are in."""
    if not _inside.get() or torch.float64 in (x.dtype, weight.dtype):
        return x, weight, bias
    return x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16()
