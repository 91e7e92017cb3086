"""Measures what training uses of the machine, once a second, for the curves."""

from __future__ import annotations

import psutil
import torch

from nfkd.protocol.records import SYSTEM

_INTERVAL = 1.0
"""Seconds between two measurements, at least."""
_MEBIBYTE = 1 << 20


class SystemUsage:
    """Measures CPU, memory and speed of this process, and use and memory of its CUDA device.

    Parameters
    ----------
    device
        The device of the flow in training.
    step, elapsed
        Steps of the stage so far, and seconds that it has taken without pauses.
    """

    def __init__(self, device: torch.device, step: int, elapsed: float) -> None:
        self._device = device
        self._process = psutil.Process()
        self._step, self._elapsed, self._cpu = step, elapsed, self._cpu_seconds()
        self._has_use = device.type == "cuda"

    def measure(self, step: int, elapsed: float) -> dict[str, float]:
        """Return values by the names of their curves; none if the last measurement is less than a second old.

        CPU and speed are means since the last measurement.
        """
        since = elapsed - self._elapsed
        if since < _INTERVAL:
            return {}
        cpu = self._cpu_seconds()
        values = {
            "cpu": 100 * (cpu - self._cpu) / since,
            "memory": self._process.memory_info().rss / _MEBIBYTE,
            "steps_per_second": (step - self._step) / since,
        }
        self._step, self._elapsed, self._cpu = step, elapsed, cpu
        return {f"{SYSTEM}{name}": value for name, value in (values | self._measure_gpu()).items()}

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def _measure_gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        free, total = torch.cuda.mem_get_info(self._device)
        values = {"gpu_memory": (total - free) / _MEBIBYTE}
        if self._has_use:
            try:
                values["gpu"] = float(torch.cuda.utilization(self._device))
            except (ImportError, RuntimeError):  # torch needs nvidia-ml-py and a driver that reports it
                self._has_use = False
        return values
