"""Keeps torch from importing its compiler, which takes 1.3 s of CPU time, in processes that compile nothing.

torch imports `torch._dynamo` at the first optimizer and at the first operation on the meta device, only to exclude some
of its functions from compilation (`torch._compile._disable_dynamo`). Before the compiler is imported, nothing is
compiled, and these functions can be called as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from inspect import getclosurevars, unwrap
from typing import Any

import torch
from torch._compile import _disable_dynamo
from torch._decomp import decompositions
from torch._refs import linalg, special
from torch._refs.nn import functional

_COMPILER = "torch._dynamo"
_EXCLUDED = "__dynamo_disable"  # where torch keeps the function that it calls instead


@cache
def import_compiler_when_used() -> None:
    """Let torch import its compiler when something imports it for another reason, and exclude the functions then.

    Where another version of torch is built differently, the compiler is imported as before.
    """
    wrapper = getattr(_disable_dynamo(lambda: None), "__code__", None)
    seen: set[int] = set()
    for namespace in (sys.modules["torch._refs"], functional, linalg, special, decompositions, torch.optim.Optimizer):
        for value in list(vars(namespace).values()):
            for function in _with_wrapped(value, seen):
                if getattr(function, "__code__", None) is wrapper:
                    _postpone(function)


def optimizer_step(optimizer: torch.optim.Optimizer) -> None:
    """Make a step of an optimizer without importing the compiler, which `Optimizer.step` does."""
    if _COMPILER in sys.modules:
        optimizer.step()
        return
    setattr(optimizer, "_opt_called", True)  # noqa: B010 - schedules of the learning rate look for it
    with torch.no_grad():
        unwrap(type(optimizer).step)(optimizer)


def _with_wrapped(function: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a function and those that it wraps, each once."""
    if not hasattr(function, "__closure__") or id(function) in seen:
        return
    seen.add(id(function))
    yield function
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            yield from _with_wrapped(cell.cell_contents, seen)


def _postpone(excluded: Callable[..., Any]) -> None:
    function: Any = getclosurevars(excluded).nonlocals.get("fn")
    if function is None or hasattr(function, _EXCLUDED):
        return

    def call(*args: Any, **kwargs: Any) -> Any:
        if _COMPILER not in sys.modules:
            return function(*args, **kwargs)
        if getattr(function, _EXCLUDED, None) is call:
            delattr(function, _EXCLUDED)
        return excluded(*args, **kwargs)  # torch excludes the function

    setattr(function, _EXCLUDED, call)
