"""A step of an image flow as one operation: mixing of the channels, network, scale, shift and log-determinant.

With small images most of a step's time is the overhead of its many small operations and of their derivatives. Here the
derivatives are written by hand, the second half of the channels is changed in place, and the gradients are written to
where the next product needs them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from nfkd.flows.convolutions import (
    Convolutions,
    Saved,
    convolve_plainly,
    differentiable,
    gather,
    run,
    run_backward,
)
from nfkd.flows.layer import sum_each
from nfkd.flows.transforms import Bound


def image_step(
    x: Tensor, weight: Tensor, bias: Tensor | None, layers: Convolutions, bound: Bound, *, narrow: bool
) -> tuple[Tensor, Tensor]:
    """Return (a, (b + t)·exp(ℓ)) of (a, b) = W·x + bias, and Σℓ, where a network of a gives t and ℓ.

    Parameters
    ----------
    x
        (B, C, H, W).
    weight, bias
        (C, C) and (C,).
    layers, narrow
        As for `convolve`; even outputs are t, odd ones s.
    bound
        ℓ as a function of s.

    Returns
    -------
    tuple[Tensor, Tensor]
        (B, C, H, W), and the log-determinant of the coupling, (B,) nats.
    """
    parameters = [value for layer in layers for value in layer[:3]]
    options = [layer.factor for layer in layers], bound, narrow
    return cast("tuple[Tensor, Tensor]", _Step.apply(x, options, weight, bias, *parameters))


class _Step(Function):
    """`image_step`; its backward pass is made of torch's operations where it is differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, options: tuple[list[float], Bound, bool], weight: Tensor, bias: Tensor | None, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        factors, bound, narrow = options
        images = x.permute(0, 2, 3, 1)
        rows = images.reshape(-1, x.shape[1])
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        y = y.view(images.shape)
        half = x.shape[1] // 2
        outputs, saved = run(y[..., :half], gather(rest, factors), narrow=narrow)
        shift, raw = outputs.to(x.dtype).unflatten(-1, (-1, 2)).unbind(-1)
        log_scale = bound.value(raw)
        y[..., half:].add_(shift).mul_(log_scale.exp())
        ctx.save_for_backward(x, weight, bias, *rest, y, log_scale, *saved)
        ctx.options = options
        return y.permute(0, 3, 1, 2), sum_each(log_scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, *rest = ctx.saved_tensors
        parameters, [y, log_scale, *saved] = rest[:9], rest[9:]
        (factors, bound, narrow), needs = ctx.options, ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _gradients_of_plain(ctx, gradients, x, weight, bias, parameters)
        by_y, by_log_det = gradients
        by_y = by_y.permute(0, 2, 3, 1)
        half, scale = x.shape[1] // 2, log_scale.exp()
        batch, height, width, changed = log_scale.shape
        border = y.new_zeros(batch, height + 2, width + 2, changed, 2, dtype=saved[0].dtype)
        by_shift, by_raw = border[:, 1:-1, 1:-1].unbind(-1)
        by_b = torch.mul(by_y[..., half:], scale)
        by_shift.copy_(by_b)
        slopes = torch.addcmul(by_log_det.view(-1, 1, 1, 1), by_y[..., half:], y[..., half:])
        torch.mul(slopes, bound.slope(log_scale, scale), out=by_raw)
        by_a, by_parameters = run_backward(
            y[..., :half],
            gather(parameters, factors),
            Saved(*saved),
            border.flatten(3),
            inputs=True,
            parameters=any(needs[4:]),
        )
        mixed = torch.empty_like(y)
        torch.add(by_y[..., :half], cast("Tensor", by_a), out=mixed[..., :half])
        mixed[..., half:] = by_b
        mixed = mixed.flatten(0, 2)
        by_x = (mixed @ weight).view(y.shape).permute(0, 3, 1, 2) if needs[0] else None
        by_weight = mixed.t() @ x.permute(0, 2, 3, 1).reshape(mixed.shape) if needs[2] else None
        return (by_x, None, by_weight, mixed.sum(0) if needs[3] else None, *by_parameters)


def _gradients_of_plain(
    ctx: Any, gradients: Any, x: Tensor, weight: Tensor, bias: Tensor | None, parameters: list[Tensor]
) -> tuple[Tensor | None, ...]:
    factors, bound, narrow = ctx.options
    needs = ctx.needs_input_grad

    def plain(x: Tensor, weight: Tensor, bias: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        mixed = torch.einsum("oc,bchw->bohw", weight, x) + bias.view(-1, 1, 1)
        a, b = mixed.tensor_split([len(weight) // 2], dim=1)
        outputs = convolve_plainly(a, gather(parameters, factors), narrow=narrow).to(x.dtype)
        shift, raw = outputs.unflatten(1, (-1, 2)).unbind(2)
        log_scale = bound.value(raw)
        return torch.cat([a, (b + shift) * log_scale.exp()], dim=1), sum_each(log_scale)

    bias = x.new_zeros(len(weight)) if bias is None else bias
    by_x, *found = differentiable(plain, [x, weight, bias, *parameters], gradients, [needs[0], *needs[2:]])
    return (by_x, None, *found)
