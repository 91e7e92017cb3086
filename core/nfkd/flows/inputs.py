"""Checks of what callers give to a flow, with messages that say what to write; and conversion of arrays and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_examples(x: Any, event_shape: Sequence[int], like: Tensor) -> None:
    """Check a batch of examples.

    Parameters
    ----------
    x
        What the caller gave.
    event_shape
        Of an example.
    like
        A tensor of the flow's dtype and device.

    Raises
    ------
    TypeError
        If x is no tensor, or has another dtype.
    ValueError
        If x has another shape, or is on another device.
    """
    _require_tensor("x", x)
    shape = tuple(x.shape)
    if shape[1:] != tuple(event_shape) or not shape:
        msg = f"x has shape {shape}; this flow takes (B, {', '.join(map(str, event_shape))}){_suggest(x, event_shape)}"
        raise ValueError(msg)
    _check_like("x", x, like)


def check_context(context: Any, features: int, count: int, like: Tensor) -> None:
    """Check the contexts of `count` examples, for a flow with a context of `features`; errors as `check_examples`."""
    if context is None and features:
        msg = f"this flow is conditional: it takes a context of shape ({count}, {features})"
        raise ValueError(msg)
    if context is None:
        return
    if not features:
        msg = "this flow is not conditional and takes no context: leave it out"
        raise ValueError(msg)
    _require_tensor("context", context)
    if tuple(context.shape) != (count, features):
        msg = f"the context has shape {tuple(context.shape)}; this flow takes ({count}, {features})"
        if tuple(context.shape) == (features,):
            msg += f": for one context for all, give context.expand({count}, -1)"
        raise ValueError(msg)
    _check_like("context", context, like)


def check_parts(parts: Any, shapes: Sequence[tuple[int, ...]], name: str) -> None:
    """Check latents or their noise: a tensor of (B, *shape) for each of the shapes; errors as `check_examples`."""
    wanted = ", ".join(f"(B, {', '.join(map(str, shape))})" for shape in shapes)
    if isinstance(parts, Tensor) or not isinstance(parts, (list, tuple)):
        msg = f"{name} is a {describe_type(parts)}: give a list of tensors of the shapes {wanted}"
        raise TypeError(msg)
    for part in parts:
        _require_tensor(f"a tensor of {name}", part)
    if [tuple(part.shape[1:]) for part in parts] != list(shapes) or len({len(part) for part in parts}) != 1:
        found = ", ".join(str(tuple(part.shape)) for part in parts) or "none"
        msg = f"{name} has tensors of the shapes {found}; this flow takes {wanted}"
        raise ValueError(msg)


def check_sampling(n: Any, temperature: Any, generator: Any) -> None:
    """Check the number of samples, their temperature and the generator of their noise.

    Raises
    ------
    TypeError
        If one of them has another type; the message says what to write.
    ValueError
        If n is negative or the generator is not on the CPU.
    """
    if isinstance(n, bool) or not hasattr(type(n), "__index__"):
        msg = f"n is {n!r} ({describe_type(n)}): give a whole number of samples, such as 100"
        raise TypeError(msg)
    if n < 0:
        msg = f"n is {n}: give a whole number of samples from 0"
        raise ValueError(msg)
    if not isinstance(temperature, (int, float, np.number, Tensor)):
        msg = f"temperature is {temperature!r} ({describe_type(temperature)}): give a number, such as 0.7"
        raise TypeError(msg)
    if generator is not None and not isinstance(generator, torch.Generator):
        seed = generator if isinstance(generator, (int, np.integer)) else 0
        msg = f"generator is a {describe_type(generator)}: give torch.Generator().manual_seed({seed})"
        raise TypeError(msg)
    if generator is not None and generator.device.type != "cpu":
        msg = f"generator is on {generator.device}: give one on the CPU, torch.Generator()"
        raise ValueError(msg)


def as_tensor(name: str, value: Any, device: torch.device) -> Tensor:
    """Return a tensor, array, table or nested list of numbers as a tensor on a device; its dtype stays.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If a list has rows of different lengths, or an array has masked values.
    """
    if isinstance(value, Tensor):
        if value.is_complex():
            msg = f"{name} holds complex numbers: give {name}.real"
            raise TypeError(msg)
        return value.to(device)
    if np.ma.isMaskedArray(value) and np.ma.is_masked(value):
        msg = f"{name} has masked values: fill them in or leave these rows out"
        raise ValueError(msg)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        msg = f"{name} cannot be read as an array of numbers: give rows of equal length; tensors by torch.stack({name})"
        raise ValueError(msg) from error
    if array.dtype.kind not in "fiub":
        msg = f"{name} is a {describe_type(value)} of {array.dtype}: give a tensor, array or list of real numbers"
        raise TypeError(msg)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.require(native, requirements=["C", "W"])).to(device)


def describe_type(value: object) -> str:
    """Return the type of a value, for a message."""
    return "NumPy array" if isinstance(value, np.ndarray) else type(value).__name__


def _require_tensor(name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        return
    way = "torch.from_numpy" if isinstance(value, np.ndarray) else "torch.tensor"
    inner = name.rpartition(" ")[2]
    msg = f"{name} is a {describe_type(value)}: give {way}({inner}).float()"
    raise TypeError(msg)


def _check_like(name: str, value: Tensor, like: Tensor) -> None:
    if value.dtype != like.dtype:
        msg = f"{name} is {value.dtype}; this flow computes in {like.dtype}: give {name}.to({like.dtype})"
        raise TypeError(msg)
    if value.device != like.device:
        msg = f"{name} is on {value.device}, and this flow on {like.device}: give {name}.to({str(like.device)!r})"
        raise ValueError(msg)


def _suggest(x: Tensor, event_shape: Sequence[int]) -> str:
    """Return what to write for examples that only have another layout; else empty."""
    wanted, shape = tuple(event_shape), tuple(x.shape)
    if shape == wanted:
        return ": for one example, give x[None]"
    if len(wanted) == 3 and len(shape) == 4 and (shape[3], *shape[1:3]) == wanted:
        return ": channels come first, give x.permute(0, 3, 1, 2)"
    if len(shape) > 1 and x[0].numel() == np.prod(wanted):
        return f": give x.reshape(-1, {', '.join(map(str, wanted))})"
    return ""
