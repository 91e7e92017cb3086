"""Protects NFKD's computations from the caller's torch settings, and the caller's settings from NFKD.

A caller may have set another default dtype or device, or may call NFKD under `torch.no_grad`, `torch.inference_mode` or
`torch.autocast`. NFKD computes the same in all cases, and restores the caller's settings.

Gradient mode, inference mode, autocast and the default device are per thread. The default dtype is per process: it is
float32 while any thread is inside `plain_torch`, and the last one restores it; so is TF32 on NVIDIA GPUs, which is off
unless a training step allows it. The number of threads is both: torch has one for new threads, and OpenMP one for each
thread. The current CUDA device is per thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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


class _Tf32:
    """TF32 in matrix products and convolutions of NVIDIA GPUs: on while any thread allows it, else off inside NFKD."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = {True: 0, False: 0}
        self._before: tuple[bool, bool] | None = None

    @contextmanager
    def __call__(self, *, allowed: bool) -> Iterator[None]:
        self._change(allowed, 1)
        try:
            yield
        finally:
            self._change(allowed, -1)

    def _change(self, allowed: bool, by: int) -> None:
        with self._lock, suppress(RuntimeError):  # where the caller mixes torch's old and new settings: they stay
            if not any(self._users.values()):
                self._before = bool(torch.backends.cuda.matmul.allow_tf32), torch.backends.cudnn.allow_tf32
            self._users[allowed] += by
            used = self._before if not any(self._users.values()) else (self._users[True] > 0,) * 2
            if used is not None:
                torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = used


_float32_default = _Float32Default()
tf32 = _Tf32()
"""Context manager that allows TF32, or keeps it off unless another thread allows it."""


@contextmanager
def plain_torch() -> Iterator[None]:
    """Use torch's defaults: float32, the CPU, with gradients, without autocast and TF32.

    The caller's modes, number of threads and CUDA device are restored at the end. Also a decorator.
    """
    threads, device = torch.get_num_threads(), torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    with ExitStack() as stack:
        stack.enter_context(_float32_default())
        stack.enter_context(tf32(allowed=False))
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
            if torch.cuda.is_initialized() and torch.cuda.current_device() != device:
                torch.cuda.set_device(device)


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
