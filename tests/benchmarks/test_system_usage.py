"""What the curves about the machine cost: a measurement, and a step without one."""

from __future__ import annotations

import time

import pytest
import torch

from nfkd.training.system_usage import SystemUsage

pytestmark = pytest.mark.benchmark

SHARE, STEP = 0.001, 1e-5
"""Largest share of a second that a measurement may take, and seconds added to a step."""


def seconds_of(calls: int) -> float:
    """Return the least mean time of a call over five rounds; every call comes a second after the one before."""
    usage, rounds = SystemUsage(torch.device("cpu"), 0, 0.0), []
    for number in range(5):
        started = time.perf_counter()
        for call in range(calls):
            usage.measure(call, float(number * calls + call + 1))
        rounds.append((time.perf_counter() - started) / calls)
    return min(rounds)


def test_a_measurement_and_a_step_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = seconds_of(500)
    monkeypatch.setattr("nfkd.training.system_usage._INTERVAL", float("inf"))
    step = seconds_of(20_000)
    print(f"\na measurement: {1000 * measurement:.3f} ms; a step without one: {1000 * step:.5f} ms")
    assert measurement < SHARE
    assert step < STEP
