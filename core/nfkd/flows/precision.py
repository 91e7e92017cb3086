"""The precision of the networks inside couplings and autoregressive layers.

Under ``networks_in("bf16")`` the inputs and weights of their matrix products and convolutions are rounded to bfloat16
(8 bits of mantissa, float32's exponents; Kalamkar et al. 2019, arXiv 1905.12322), sums are float32, and the outputs of
a network are float32. Everything else stays float32: transforms, log-determinants, mixings, norms, priors, weights and
gradients. This is mixed precision as in Micikevicius et al. 2018 (arXiv 1710.03740), without a loss scale, which
bfloat16 does not need.

Encoding in one precision and decoding in the other has an error of bfloat16's rounding. Rarely, so does staying in
bfloat16, where a difference in float32's last bit may round to another number. So only training uses bfloat16; reports,
samples and saved weights use float32.

The setting is per thread: requests during training stay in float32.

Under ``networks_in("tf32")`` NVIDIA GPUs since Ampere round the operands of all float32 matrix products and
convolutions to TF32 (10 bits of mantissa), not only those of networks. torch has this setting per process: a request
that computes during a training step may be rounded, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from nfkd.flows.isolation import tf32

Precision = Literal["float32", "tf32", "bf16"]
Method = TypeVar("Method", bound=Callable[..., Tensor])

_chosen: ContextVar[Precision] = ContextVar("precision of networks", default="float32")
_inside: ContextVar[bool] = ContextVar("inside a network in bf16", default=False)


@contextmanager
def networks_in(precision: Precision) -> Iterator[None]:
    """Set the precision of the networks of flows in this thread; does not affect flows in float64."""
    token = _chosen.set(precision)
    try:
        with tf32(allowed=True) if precision == "tf32" else nullcontext():
            yield
    finally:
        _chosen.reset(token)


def chosen_precision() -> Precision:
    """Return the precision of the networks of flows in this thread."""
    return _chosen.get()


def rounds(like: Tensor) -> bool:
    """Return whether the networks in this thread round numbers like these to bfloat16; float64 is not rounded."""
    return _chosen.get() == "bf16" and like.dtype != torch.float64


def in_precision(network: Method) -> Method:
    """Decorate a network's method: inside it `narrowed` has an effect, and its result gets the input's dtype."""

    @wraps(network)
    def run(self: Any, x: Tensor, *rest: Any) -> Tensor:
        if _chosen.get() != "bf16":
            return network(self, x, *rest)
        token = _inside.set(True)
        try:
            return network(self, x, *rest).to(x.dtype)
        finally:
            _inside.reset(token)

    return cast("Method", run)


def narrows(*operands: Tensor) -> bool:
    """Return whether a bf16 network rounds these operands: float64 is not rounded."""
    return _inside.get() and all(operand.dtype != torch.float64 for operand in operands)


def narrowed(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the operands of a matrix product or a convolution, rounded to bfloat16 inside a bf16 network."""
    if not narrows(x, weight):
        return x, weight, bias
    return x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16()
