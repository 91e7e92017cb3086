"""Fixtures of the benchmarks."""

from __future__ import annotations

from tests.gui.conftest import do, loop, ready, studio, until

__all__ = ["do", "loop", "ready", "studio", "until"]
