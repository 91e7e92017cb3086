"""Torch's modes and the process's global state around NFKD's own computations.

A caller may have chosen another default dtype or device, or may call NFKD under `torch.no_grad`,
`torch.inference_mode` or `torch.autocast`. NFKD computes the same whatever the caller has chosen, and leaves the
caller's choice as it was.

Gradients, inference mode, autocast and the default device belong to a thread. The default dtype belongs to the process:
it is float32 while any thread is inside `plain_torch`, and the last one that leaves restores it. The number of threads
belongs to both: torch keeps one for new threads, and OpenMP one for each thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_AUTOCASTS = ("cpu", "cuda", "mps")


class _Float32Default:
    """Makes float32 the default dtype while any thread needs it."""

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
    """Compute as torch does by default: in float32, on the CPU, with gradients and without autocast.

    The modes of the caller and its number of threads are restored at the end. Serves as a decorator, too.
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
    """As `plain_torch`; also restores torch's global random numbers and the filters of warnings.

    NFKD draws from generators of its own, but the layers of torch and of other libraries draw their first weights from
    the global one. The filters are changed by libraries that are imported meanwhile. For calls in the user's own
    thread: random numbers and filters belong to the process.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with plain_torch(), torch.random.fork_rng(devices), warnings.catch_warnings():
        yield
