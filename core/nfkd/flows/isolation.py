"""Protects NFKD's computations from the caller's torch settings, and the caller's settings from NFKD.

A caller may have set another default dtype or device, or may call NFKD under `torch.no_grad`, `torch.inference_mode` or
`torch.autocast`. NFKD computes the same in all cases, and restores the caller's settings.

Gradient mode, inference mode, autocast and the default device are per thread. The default dtype is per process: it is
float32 while any thread is inside `plain_torch`, and the last one restores it. The number of threads is both: torch has
one for new threads, and OpenMP one for each thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_AUTOCASTS = ("cpu", "cuda", "mps")


class _Float32Default:
    """Makes float32 the default dtype while any thread is inside."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before = torch.float32

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._before = torch.get_default_dtype()
            self._users += 1
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    torch.set_default_dtype(self._before)


_float32_default = _Float32Default()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Use torch's defaults: float32, the CPU, with gradients, without autocast.

    The caller's modes and number of threads are restored at the end. Also a decorator.
    """
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        stack.enter_context(_float32_default())
        if torch.get_default_device().type != "cpu":  # even a default of "cpu" makes every call of torch slower
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCASTS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            yield
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)


@contextmanager
def isolated() -> Iterator[None]:
    """As `plain_torch`; also restores torch's global random state and the warning filters.

    NFKD has its own generators, but layers of torch and other libraries initialise weights from the global one, and
    libraries that are imported meanwhile change the filters. For calls in the user's own thread only: both are
    per process.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with plain_torch(), torch.random.fork_rng(devices), warnings.catch_warnings():
        yield
